"""Code from a checked-out copy of a public repository, and how what it holds is called."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from edge_tta.errors import ModelError, one_line
from edge_tta.method.stages import OnStage, no_stage


class Whole:
    """A peer that adapts and predicts in one call, whose stages cannot be told apart.

    Args:
        adapted: gives logits (N, classes) for images (N, channels, H, W), and adapts.
        model: the network that changes. optimizer: of it; None: what `adapted` calls so.
    """

    def __init__(
        self,
        adapted: Callable[[Tensor], Tensor],
        model: nn.Module,
        optimizer: torch.optim.Optimizer | None = None,
    ) -> None:
        self._adapted, self.model = adapted, model
        self.optimizer: Any = optimizer or getattr(adapted, "optimizer", None)
        self.on_stage: OnStage = no_stage

    def __call__(self, images: Tensor) -> Tensor:
        self.on_stage("prepare")
        logits = self._adapted(images)
        self.on_stage("whole step")
        return logits.detach()


@contextlib.contextmanager
def importing(repository: str, folder: Path, needed: Path) -> Iterator[None]:
    """A block that may import from the folder; whatever fails there is told as a ModelError."""
    if not needed.exists():
        raise ModelError(
            f"there is no {needed}; expected a copy of {repository}: git clone "
            f"https://github.com/{repository}"
        )
    sys.path.insert(0, str(folder))
    try:
        yield
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(
            f"{repository} in {folder} cannot be used: {type(error).__name__}: "
            f"{one_line(error, 160)}; install what its README asks for"
        ) from error
    finally:
        sys.path.remove(str(folder))


def module_at(path: Path) -> ModuleType:
    """Return the module of a file."""
    spec = importlib.util.spec_from_file_location(f"peer_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
