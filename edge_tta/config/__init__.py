"""Methods and presets: every choice of an adaptation run as one checked record of nested tables."""

from edge_tta.config.methods import (
    HOSTS,
    METHODS,
    REFERENCE_BATCHES,
    affine_only,
    calibrating,
    make_config,
    with_fields,
    with_host,
)
from edge_tta.config.presets import PRESETS
from edge_tta.config.tables import (
    CalibrationConfig,
    LayersConfig,
    LossConfig,
    MethodConfig,
    OptimizerConfig,
    ViewsConfig,
)

SAVED = ("stock", "float32", "float16", "int8")
"""Precisions of what is saved for the backward pass, see `edge_tta.Adapter`."""

__all__ = [
    "HOSTS",
    "METHODS",
    "PRESETS",
    "REFERENCE_BATCHES",
    "SAVED",
    "CalibrationConfig",
    "LayersConfig",
    "LossConfig",
    "MethodConfig",
    "OptimizerConfig",
    "ViewsConfig",
    "affine_only",
    "calibrating",
    "make_config",
    "with_fields",
    "with_host",
]
