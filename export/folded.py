"""An adapted network as one plain ONNX file, what it learned folded in."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edge_tta.adapter import Adapter
from edge_tta.errors import ModelError
from edge_tta.files import write_whole
from edge_tta.network.onnx_file.reading import NORMALISING, OWN_INPUT
from edge_tta.prepare import InputSpec
from export.adapted import PARITY
from export.graph.convert import convert, refuse_unsupported
from export.graph.operators import OPERATORS
from export.graph.trace import plain_step, trace_predict
from export.graph.weights import WeightFile
from export.parity_steps import furthest, largest
from export.session import session_of


def write_folded(
    adapter: Adapter, spec: InputSpec, path: Path, labels: Sequence[str] | None = None
) -> float:
    """An ONNX file of images -> outputs that adapts no more, what was learned being in it.

    Every BatchNorm is a node with constants, which runtimes fold into the convolution before it.
    Class names (`labels`) and how pixels are normalised are in its metadata. The file is compared
    with the adapter on random images before it takes its name; the largest difference of the
    outputs, relative, is returned.

    Raises:
        ModelError: there is no such form, or the file does not compute what the adapter does.
        OutputError: it cannot be written.
    """
    shape = spec.shape
    adapter.prepare(shape)
    traced = trace_predict(plain_step(adapter, shape), shape, OPERATORS, adapter.state)
    refuse_unsupported(traced)
    proto = convert(traced, WeightFile(None), "folded", "plain")
    told: dict[str, Any] = {OWN_INPUT: {name: getattr(spec, name) for name in NORMALISING}}
    told |= {"names": list(labels)} if labels is not None else {}
    for key, value in told.items():
        proto.metadata_props.add(key=key, value=json.dumps(value))
    data = proto.SerializeToString()
    difference = _difference(adapter, data, shape)
    if not difference <= PARITY:
        raise ModelError(
            f"the folded network differs from the adapter by {difference:.2g} (relative)"
        )
    write_whole(path, data)
    return difference


def _difference(adapter: Adapter, data: bytes, shape: tuple[int, ...]) -> float:
    session = session_of(data)
    rng, worst = np.random.default_rng(0), 0.0
    for _ in range(3):
        images = rng.normal(size=(1, *shape)).astype(np.float32)
        outputs = session.run(None, {"images": images})
        worst = largest(worst, furthest(outputs, adapter.predict(images)))
    return worst
