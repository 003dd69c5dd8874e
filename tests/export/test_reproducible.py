"""Equal exports are equal to the byte, and hold no tensor that nothing reads."""

from __future__ import annotations

from pathlib import Path

from onnx import ModelProto

from edge_tta.adapter import Adapter
from export.graph.convert import convert
from export.graph.operators import OPERATORS
from export.graph.trace import plain_step, trace_observe
from export.graph.weights import WeightFile
from tests.bundle.bundles import SPEC
from tests.networks import network

SHAPE = (3, 16, 16)


def exported(folder: Path) -> tuple[ModelProto, bytes]:
    """The observe graph of the preset paper, whose Taylor terms ask for a weight's shape alone."""
    adapter = Adapter(network("residual"), preset="paper", input_spec=SPEC)
    weights = WeightFile("weights.bin")
    step = plain_step(adapter, SHAPE, traced=True)
    proto = convert(trace_observe(step, SHAPE, OPERATORS), weights, "observe")
    weights.write(folder)
    return proto, (folder / "weights.bin").read_bytes()


def test_two_exports_are_equal_to_the_byte(tmp_path: Path) -> None:
    (one, data), (other, more) = exported(tmp_path), exported(tmp_path)
    assert one.SerializeToString() == other.SerializeToString()
    assert data == more


def test_the_file_ends_with_a_tensor_that_a_node_reads_and_holds_no_others(tmp_path: Path) -> None:
    proto, data = exported(tmp_path)
    read = {name for node in proto.graph.node for name in node.input}
    assert {tensor.name for tensor in proto.graph.initializer} <= read
    places = set()
    for tensor in proto.graph.initializer:
        entries = {entry.key: entry.value for entry in tensor.external_data}
        if entries:
            places.add((int(entries["offset"]), int(entries["length"])))
    end = 0
    for offset, length in sorted(places):
        assert offset - end < 4096  # alignment
        assert not any(data[end:offset])
        end = offset + length
    assert end == len(data)
