"""A customer's own ONNX file with adapted weights: same graph, names, opset and metadata."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from edge_tta.adapter import Adapter
from edge_tta.errors import ModelError
from edge_tta.files import write_whole
from edge_tta.network.onnx_file import OnnxNetwork
from edge_tta.network.onnx_file.adapted import adapted_file
from export.adapted import PARITY
from export.parity_steps import furthest, largest
from export.session import session_of

_HALF_PARITY = 2e-2
"""The same of a file that computes in float16."""


def write_adapted(adapter: Adapter, source: Path, path: Path) -> float:
    """Write the graph of `source`, which the adapter was made from, with what was learned in it.

    The file is compared with the folded network on random images before it takes its name; the
    largest difference of the outputs, relative, is returned.

    Raises:
        ModelError: weights that are quantised or computed in the graph, or the file does not
            compute what the network does.
        OutputError: it cannot be written.
    """
    folded = adapter.folded().cpu()
    assert isinstance(folded, OnnxNetwork)
    data = adapted_file(folded, source).model.SerializeToString()
    difference, half = _difference(folded, data, adapter.engine.image_shape)
    if not difference <= (_HALF_PARITY if half else PARITY):
        raise ModelError(
            f"the adapted file differs from the adapter by {difference:.2g} (relative)"
        )
    write_whole(path, data)
    return difference


def _difference(folded: OnnxNetwork, data: bytes, shape: tuple[int, ...]) -> tuple[float, bool]:
    """Return the largest difference, relative, and whether the file takes float16."""
    session = session_of(data)
    kind = session.get_inputs()[0].type
    types = {"tensor(float16)": np.float16, "tensor(uint8)": np.uint8, "tensor(double)": np.float64}
    rng, worst = np.random.default_rng(0), 0.0
    for _ in range(3):
        images = rng.normal(size=(1, *shape)).astype(np.float32)
        if "int" in kind:
            images = rng.integers(0, 255, (1, *shape)).astype(np.float32)
        with torch.no_grad():
            outputs = folded(torch.from_numpy(images))
        first = outputs[0] if isinstance(outputs, tuple) else outputs
        given = images.transpose(0, 2, 3, 1) if folded.channels_last else images
        made = session.run(None, {folded.input_name: given.astype(types.get(kind, np.float32))})[0]
        worst = largest(worst, furthest(made, first))
    return worst, kind == "tensor(float16)"
