"""Bundles in int8: their graphs, and how far these are from float32."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto

from edge_tta import nest
from edge_tta.adapter import Adapter
from edge_tta.bundle.folder import Bundle
from edge_tta.checkpoint import Arrays
from edge_tta.engines.onnx import OnnxEngine
from edge_tta.errors import ConfigError
from edge_tta.prepare import Images
from export.graph.convert import convert
from export.graph.int8 import int8_graph, ranges_of
from export.graph.trace import Traced
from export.graph.weights import WeightFile
from export.session import session_of

FOLDED = ("folded", "measuring")
"""Kinds of graphs that are in int8; the others are of vectors, or learn."""

MOSTLY = 0.9
"""Share of the frames with the same class below which the error is worth a look."""


@dataclass(frozen=True)
class Closeness:
    """How close predictions in int8 are to those in float32, each at its own state.

    Attributes:
        frames: that both observed, and predicted then.
        same: share of them, or of their positions, with the same class; None: outputs of no
            classes.
        outputs: mean difference of the outputs over their mean size.
    """

    frames: int
    same: float | None
    outputs: float


def int8_graphs(
    label: str,
    graphs: Mapping[str, Traced],
    state: Arrays,
    frames: Sequence[Images],
    weights: WeightFile,
) -> dict[str, ModelProto]:
    """Return the folded graphs of a method in int8, by kind.

    Args:
        label: of the method.
        graphs: of `export.graph.in_place.trace_folded`, and others.
        state: of the source.
        frames: images (1, channels, H, W) that tell the range of each tensor.
        weights: takes the constants.

    Raises:
        ConfigError: the method has no folded graphs.
    """
    if "folded" not in graphs:
        raise ConfigError(
            f"int8 is of networks whose BatchNorms can be folded, which those of {label} cannot; "
            "leave --int8 out, or the method out of --with"
        )
    fold = convert(graphs["fold"], WeightFile(None), "fold")
    session = session_of(fold.SerializeToString())
    names = [item.name for item in session.get_outputs()]
    given = {item.name: state[item.name] for item in session.get_inputs()}
    vectors = dict(zip(names, session.run(names, given), strict=True))
    made = {}
    for kind in FOLDED:
        if kind in graphs:
            plain = convert(graphs[kind], WeightFile(None), kind)
            made[kind] = int8_graph(plain, ranges_of(plain, vectors, frames), weights)
    return made


def closeness(folder: Path, label: str, frames: Sequence[Images]) -> Closeness:
    """Return how close a bundle's method in int8 is to its graphs in float32, over frames.

    frames: images (1, channels, H, W), at least one.
    """
    bundle = Bundle(folder)
    adapters = [Adapter(OnnxEngine(bundle, label, int8=int8)) for int8 in (True, False)]
    same: list[float] = []
    gaps, sizes = 0.0, 0.0
    for frame in frames:
        for adapter in adapters:
            adapter(frame, learn=False)
        outputs = [nest.leaves(adapter.predict(frame)) for adapter in adapters]
        for int8, wanted in zip(*outputs, strict=True):
            gaps += float(np.abs(int8 - wanted).sum())
            sizes += float(np.abs(wanted).sum())
        if bundle.task.name in ("classify", "segment"):
            chosen = [_classes(own[0]) for own in outputs]
            same.append(float((chosen[0] == chosen[1]).mean()))
    agreeing = float(np.mean(same)) if same else None
    return Closeness(len(frames), agreeing, gaps / max(sizes, 1e-12))


def _classes(outputs: Any) -> Any:
    return np.asarray(outputs).argmax(1)
