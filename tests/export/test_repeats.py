"""Outputs of cheap operators are not kept for the backward pass."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from edge_tta.adapter import Adapter
from edge_tta.models import Model
from export.bundle import export_bundle
from export.graph.operators import OPERATORS
from export.graph.repeats import repeat_cheap
from export.graph.trace import Traced, plain_step, trace_learn
from export.parity import STEP_TOLERANCE
from tests.bundle.bundles import SPEC
from tests.networks import with_statistics


class _Inverted(nn.Module):
    """A block that widens, filters each channel and narrows again, with a shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.bn0 = nn.BatchNorm2d(8)
        self.widen = nn.Conv2d(8, 32, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(32)
        self.filter = nn.Conv2d(32, 32, 3, padding=1, groups=32, bias=False)
        self.bn2 = nn.BatchNorm2d(32)
        self.narrow = nn.Conv2d(32, 8, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(8)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn0(self.stem(x))
        y = functional.relu6(self.bn1(self.widen(x)))
        y = functional.relu6(self.bn2(self.filter(y)))
        logits: Tensor = self.head((x + self.bn3(self.narrow(y))).mean((2, 3)))
        return logits


def _kept(traced: Traced) -> list[int]:
    """Elements of each large tensor that is computed forward and read in the backward pass."""
    nodes = list(traced.module.graph.nodes)
    turn = next(i for i, node in enumerate(nodes) if "backward" in str(node.target))
    late = {operand for node in nodes[turn:] for operand in node.all_input_nodes}
    return sorted(_size(n) for n in nodes[:turn] if n in late and n.op == "call_function")


def _size(node: fx.Node) -> int:
    value = node.meta.get("val")
    return value.numel() if isinstance(value, Tensor) else 0


def test_outputs_of_batch_norms_activations_and_widening_convolutions_are_not_kept() -> None:
    torch.manual_seed(0)
    adapter = Adapter(with_statistics(_Inverted()), input_spec=SPEC, depth=0)
    shape = (3, 16, 16)
    traced = trace_learn(plain_step(adapter, shape), shape, OPERATORS)
    wide = 32 * 16 * 16
    # Inputs and outputs of two BatchNorms, and what follows from them.
    assert _kept(traced).count(wide) == 6
    repeat_cheap(traced.module)
    # The input of bn2 alone: what it follows from is as large.
    assert _kept(traced).count(wide) == 1


def test_a_graph_that_repeats_operators_is_as_near_to_pytorch(tmp_path: Path) -> None:
    model = Model("inverted", with_statistics(_Inverted()), SPEC)
    adapter = Adapter(model.module, input_spec=SPEC)
    done = export_bundle(model, [adapter], "edge", tmp_path / "b")
    parity = done.parity["nanoadapt:tent, compact"]
    assert parity.updates >= 1
    assert max(parity.logits, parity.state) <= STEP_TOLERANCE
    assert done.nodes["learn.compact.onnx"] > done.nodes["learn.onnx"]
