"""Methods by their defining fields, and the configuration of a method by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge_tta.config.fields import from_fields, to_fields
from edge_tta.config.presets import PRESETS, check_names, load_preset
from edge_tta.config.tables import MethodConfig
from edge_tta.errors import ConfigError

# Each batch's own statistics, and the gradient through them; a step a batch.
_BY_BATCH: dict[str, Any] = {
    "smoothing": 0.0,
    "gradient": "calibrated",
    "accumulation": 1,
    "weighting": "mean",
}
_SGD: dict[str, Any] = {"optimizer": "sgd", "learning_rate": 2.5e-4}

# Learning rates are as published: tent's for CIFAR, the others' for ImageNet (eata's for CIFAR-10
# is 5e-3).
_UNTRAINED: dict[str, dict[str, Any]] = {
    "source": {"calibration": "source"},
    "norm": {"smoothing": 0.0},
    "alpha-bn": {"calibration": "mixed"},
}
_TRAINED: dict[str, dict[str, Any]] = {  # by module of `edge_tta.method.hosts`
    "tent": {**_BY_BATCH, "optimizer": "adam", "learning_rate": 1e-3},
    "eata": {**_BY_BATCH, **_SGD},
    "sar": {**_BY_BATCH, **_SGD},
    "delta": {
        **_BY_BATCH,
        **_SGD,
        "calibration": "renormalised",
        "gradient": "renormalised",
        "smoothing": 0.95,
        "initial": "first",
    },
}

HOSTS = ("norm", *_TRAINED)
"""What NanoAdapt can wrap: `norm`, which trains nothing, or a module of `edge_tta.method.hosts`."""

METHODS = (*_UNTRAINED, *_TRAINED, "nanoadapt")

REFERENCE_BATCHES = {"tent": 200, "eata": 64, "sar": 16, "delta": 64}
"""Frames in a batch that each baseline's published learning rate is for.

sar's is published for 64 too, but its authors take 1 / 16 of it at N = 1 (ResNets), not 1 / 64.
"""


def make_config(
    method: str = "nanoadapt",
    host: str = "tent",
    preset: str | Path = "edge",
    **overrides: Any,
) -> MethodConfig:
    """Return the configuration of a method: the baseline's own, or NanoAdapt's from a preset.

    Args:
        method: one of METHODS, or "nanoadapt:HOST".
        host: one of HOSTS; what NanoAdapt wraps.
        preset: `edge`, `paper`, or the path of a TOML file with tables of `MethodConfig`.
        overrides: single fields that win over the preset, by the names of
            `edge_tta.config.fields.PLACES`; None is left out.

    Raises:
        ConfigError: an unknown method, host, preset or field, or a value out of range.
    """
    if ":" in method:
        method, host = method.split(":", 1)
    if method not in METHODS:
        expected = ", ".join((*METHODS, "nanoadapt:HOST"))
        raise ConfigError(f"unknown method {method!r}; expected one of {expected}")
    if method == "nanoadapt":
        fields = load_preset(preset)
    else:
        fields = dict((_UNTRAINED | _TRAINED)[method])
        host = method if method in HOSTS else "norm"
    if host not in HOSTS:
        raise ConfigError(f"unknown host {host!r}; expected one of {', '.join(HOSTS)}")
    if host == "norm":
        # No gradient flows, so nothing shifts the statistics and views have nothing to carry.
        fields |= {"views": 0, "taylor": "none"}
    fields |= {name: value for name, value in overrides.items() if value is not None}
    check_names(fields, "option")
    return from_fields({"method": method, "host": host, **fields})


def with_host(method: str, host: str | None) -> str:
    """Return the name of a method that wraps a host, `nanoadapt:HOST`; other methods wrap none.

    Raises ConfigError if the name has another host already, or there is no such host.
    """
    if host is None:
        return method
    if host not in HOSTS:
        hint = f" (a preset is given as preset={host!r})" if host in PRESETS else ""
        raise ConfigError(f"unknown host {host!r}{hint}; expected one of {', '.join(HOSTS)}")
    if method == f"nanoadapt:{host}":
        return method
    if ":" in method:
        raise ConfigError(f"method {method!r} and host {host!r} contradict each other; give one")
    return f"{method}:{host}" if method == "nanoadapt" else method


def calibrating(config: MethodConfig) -> MethodConfig:
    """Return NanoAdapt's configuration without training, as with the host `norm`.

    Raises:
        ConfigError: another method, which is nothing without it.
    """
    if config.method != "nanoadapt":
        raise ConfigError(
            f"{config.method} trains by a loss on classes, and the network's outputs are none; use "
            "--method norm, or nanoadapt, which then only calibrates"
        )
    return from_fields({**to_fields(config), "host": "norm", "views": 0, "taylor": "none"})


def affine_only(config: MethodConfig, *, learns: bool) -> MethodConfig:
    """Return a configuration for a network without statistics: its scales and shifts train alone.

    learns: the network's task has a loss.

    Raises:
        ConfigError: a method that only calibrates, or whose loss is not the entropy alone.
    """
    if config.method == "source":
        return config
    if not learns or config.host != "tent":
        raise ConfigError(
            "the network has no BatchNorm, so there is nothing to calibrate: only the scales of "
            f"its other normalisations can train, by entropy; got {config.label}, use --method "
            "tent for a classifier or segmenter, or source"
        )
    fields = {"calibration": "source", "taylor": "none", "gradient": "constant", "diversity": 0.0}
    # A preset's are for networks that calibrate, which does most; here learning does all.
    depth = config.layers.depth if config.layers.depth >= 1 else 0
    return with_fields(config, {**fields, "depth": depth, "forgetting": 0.0})


def with_fields(config: MethodConfig, fields: Mapping[str, Any]) -> MethodConfig:
    """Return a configuration with fields changed, by the names of PLACES."""
    return from_fields({**to_fields(config), **fields})
