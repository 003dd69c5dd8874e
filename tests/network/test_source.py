"""The private copy of a network, and what cannot be copied."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from edge_tta.adapter import Adapter
from edge_tta.engines.base import Backward
from edge_tta.engines.torch import engine_of
from edge_tta.errors import ModelError
from edge_tta.network.source import SourceNetwork
from tests.networks import network, with_statistics

CPU = torch.device("cpu")


def test_the_copy_is_frozen_float32_in_evaluation_mode_and_the_model_stays_as_it_is() -> None:
    model = network("residual").double().train()
    copied = SourceNetwork(model, CPU).copy()
    assert {p.dtype for p in copied.parameters()} == {torch.float32}
    assert not any(p.requires_grad for p in copied.parameters())
    assert not any(module.training for module in copied.modules())
    assert {p.dtype for p in model.parameters()} == {torch.float64}
    assert all(p.requires_grad for p in model.parameters())
    assert model.training


def test_changing_the_model_or_a_copy_later_changes_nothing() -> None:
    model = network("plain")
    held = SourceNetwork(model, CPU)
    images = torch.randn(2, 3, 8, 8)
    expected = held.copy()(images)
    with torch.no_grad():
        for changed in (model, held.copy()):
            changed.head.bias.add_(1)
    assert torch.equal(held.copy()(images), expected)


def test_the_program_of_a_shape_is_captured_once() -> None:
    held = SourceNetwork(network("used-twice"), CPU)
    program = held.program((3, 8, 8))
    assert held.program((3, 8, 8)) is program
    assert held.program((3, 10, 10)) is not program


@pytest.mark.parametrize("wrap", [nn.DataParallel, torch.compile])
def test_a_wrapped_model_is_the_model_in_the_wrapper(wrap: Callable[[nn.Module], Any]) -> None:
    model = network("used-twice")
    held = SourceNetwork(wrap(model), CPU)
    assert held.fingerprint == SourceNetwork(model, CPU).fingerprint
    assert type(held.copy()) is type(model)


class _OverTime(nn.Module):
    """A network with weights, and a buffer, of five axes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv3d(3, 6, (1, 3, 3), padding=(0, 1, 1)), nn.BatchNorm3d(6)
        self.conv2, self.bn2 = nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.register_buffer("position", torch.randn(1, 3, 1, 1, 1))
        self.head = nn.Linear(6, 4)

    def forward(self, images: Tensor) -> Tensor:
        clip = self.bn1(self.conv1(images[:, :, None] + self.position)).relu()
        return self.head(self.bn2(self.conv2(clip[:, :, 0])).relu().mean((2, 3)))


class _Anchored(nn.Module):
    """A head that keeps anchors for the latest shape, as YOLO's of Ultralytics."""

    dynamic = False

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 5, 3, 2), nn.BatchNorm2d(5)
        self.shape: tuple[int, ...] | None = None
        self.anchors, self.stride = torch.empty(0), torch.tensor([2.0])

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        x = self.bn(self.conv(x))
        if self.dynamic or self.shape != tuple(x.shape):
            self.anchors = torch.full((x.shape[2] * x.shape[3],), self.stride[0] * 2)
            self.shape = tuple(x.shape)
        return x.flatten(2) + self.anchors, [x]


def test_a_head_that_keeps_anchors_for_a_batch_size_is_taken() -> None:
    head = _Anchored().eval()
    head(torch.zeros(1, 3, 9, 9))
    adapter = Adapter(head)
    for n in (1, 3):
        images = torch.rand(n, 3, 9, 9)
        torch.testing.assert_close(adapter.predict_source(images)[0], head(images)[0])
    assert adapter.task is not None
    assert adapter.task.name == "features"
    graph = engine_of(adapter).step.program.plain.graph
    assert not any("item" in str(node.target) for node in graph.nodes)
    assert head.dynamic is False


class _Reading(nn.Module):
    """Reads numbers from constants in lists, from a trained scale, or from the image."""

    def __init__(self, reads: str) -> None:
        super().__init__()
        self.conv, self.bn, self.reads = nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), reads
        self.head = nn.Linear(5, 4)
        self.parts = [torch.tensor(0.5), torch.tensor(2.0)]

    def forward(self, x: Tensor) -> Tensor:
        number: float | Tensor = {
            "constants": lambda: torch.stack(self.parts).max().item(),
            "scale": lambda: self.bn.weight[0].item(),
        }[self.reads]()
        logits: Tensor = self.head(self.bn(self.conv(x)).mean((2, 3)) * number)
        return logits


def test_numbers_of_constants_become_part_of_the_graph_those_of_trained_scales_do_not() -> None:
    images = torch.rand(2, 3, 8, 8)
    for reads, numbers in (("constants", 0), ("scale", 1)):
        module = _Reading(reads).eval()
        adapter = Adapter(module, "source")
        torch.testing.assert_close(adapter.predict_source(images), module(images))
        graph = engine_of(adapter).step.program.plain.graph
        assert sum("item" in str(node.target) for node in graph.nodes) == numbers


@pytest.mark.parametrize("saved", ["float32", "float16", "int8"])
def test_five_axes_are_learned_in_every_precision(saved: str) -> None:
    model = with_statistics(_OverTime())
    images = torch.randn(1, 3, 8, 8)
    adapter = Adapter(model, backward=Backward(saved), reliable_below=0.0)
    logits = adapter.predict_source(images)
    torch.testing.assert_close(logits, model(images), rtol=1e-2, atol=1e-2)
    for _ in range(adapter.config.optimizer.accumulation):
        adapter(images)
    assert adapter.updates == 1


def test_an_adapter_made_in_inference_mode_learns() -> None:
    images = torch.randn(2, 3, 8, 8)
    wanted = Adapter(network("used-twice"), "tent")
    with torch.inference_mode():
        given = Adapter(network("used-twice"), "tent")
    for _ in range(2):
        assert torch.equal(given(images), wanted(images))
    assert given.updates == 2


def _with_lock(model: nn.Module) -> nn.Module:
    model.lock = threading.Lock()  # type: ignore[assignment]
    return model


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: network("plain").state_dict(), "is a OrderedDict; expected an nn.Module"),
        (lambda: _with_lock(network("plain")), "cannot be copied to cpu: cannot pickle"),
        (lambda: nn.Sequential(nn.LazyBatchNorm2d()), "cannot be copied to cpu: .*uninitialized"),
    ],
    ids=["state dict", "lock", "lazy"],
)
def test_what_cannot_be_copied_is_refused_in_one_line(make: Callable[[], Any], said: str) -> None:
    with pytest.raises(ModelError, match=said) as caught:
        SourceNetwork(make(), CPU)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(
    not hasattr(torch.backends.cuda.matmul, "fp32_precision"), reason="an older PyTorch"
)
@pytest.mark.parametrize(
    "chosen",
    [
        "torch.backends.cuda.matmul.fp32_precision = 'tf32'",
        "torch.backends.fp32_precision = 'tf32'",
        "torch.backends.cudnn.conv.fp32_precision = 'ieee'",
        "torch.set_float32_matmul_precision('medium')",
        "torch.backends.cuda.matmul.allow_tf32 = True",
    ],
)
def test_a_capture_on_cuda_leaves_the_precision_that_was_chosen(chosen: str) -> None:
    """In a process of its own: which names were used is kept for good."""
    code = f"""
import torch
from edge_tta.network.source import _full_precision
{chosen}
parts = torch.backends.cudnn.conv, torch.backends.cuda.matmul
before = [part.fp32_precision for part in parts]
with _full_precision(torch.device("cuda")):
    assert [part.fp32_precision for part in parts] == ["ieee", "ieee"]
assert [part.fp32_precision for part in parts] == before
print(torch.get_float32_matmul_precision() if "set_float32" in {chosen!r} else "fine")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in ("fine", "medium")
