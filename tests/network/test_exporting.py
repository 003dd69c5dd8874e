"""Captures take turns, and leave the process as it was."""

from __future__ import annotations

import logging
import sys
import threading
import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from edge_tta.errors import ModelError
from edge_tta.network.capture import capture
from edge_tta.network.exporting import export
from tests.networks import frozen, network

THREADS = 3


def test_captures_in_several_threads_take_turns() -> None:
    together = threading.Barrier(THREADS)
    errors: list[BaseException] = []

    def camera() -> None:
        model = frozen(network("residual"))
        together.wait()
        try:
            for _ in range(2):
                capture(model, (3, 8, 8))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=camera) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors


class _Looking(nn.Module):
    """Notes what the process looks like while it is captured."""

    def __init__(self, note: Callable[[], None]) -> None:
        super().__init__()
        self.note = note

    def forward(self, images: Tensor) -> Tensor:
        self.note()
        return images.reshape(2, 3) if images.sum() > 0 else images


def _process() -> tuple[object, ...]:
    disabled = logging.root.manager.disable
    return sys.stdout, sys.stderr, disabled, tuple(warnings.filters), warnings.showwarning


def test_nothing_of_the_process_is_redirected_even_where_a_capture_fails(
    capfd: pytest.CaptureFixture[str],
) -> None:
    seen: list[tuple[object, ...]] = []
    model = _Looking(lambda: seen.append(_process()))
    before = _process()
    with pytest.raises(ModelError, match="remove branches that depend on the data"):
        export(model, torch.zeros(2, 3))
    assert seen == [before] * len(seen) != []
    assert _process() == before
    assert "forward" not in vars(model)
    assert capfd.readouterr() == ("", "")


def test_a_forward_pass_of_the_module_alone_is_kept() -> None:
    model = frozen(network("plain"))
    model.forward = own = model.forward  # as torch.compile and others put it there
    capture(model, (3, 8, 8))
    assert vars(model)["forward"] is own


def test_on_cuda_too_the_batch_axis_is_free() -> None:
    """Seen without a device: tensors that have no values can be on any."""
    with FakeTensorMode(), torch.device("cuda"):
        module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()).eval()
        module.requires_grad_(False)
        exported = export(module, torch.zeros(2, 3, 8, 8))
        outputs = exported.module()(torch.zeros(5, 3, 8, 8))
    assert outputs.shape == (5, 4, 6, 6)
    assert outputs.is_cuda
