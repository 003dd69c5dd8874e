"""What runs a network and adapts it: PyTorch (`Adapter`) or a bundle (`BundleAdapter`)."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from edge_tta.config import MethodConfig
from edge_tta.prepare import Images


class Executor(Protocol):
    """A network that adapts, one frame at a time, whatever runs it."""

    @property
    def config(self) -> MethodConfig:
        """The method."""
        ...

    @property
    def steps(self) -> int:
        """Frames seen since the source."""
        ...

    @property
    def updates(self) -> int:
        """Completed windows of `config.accumulation` gradients since the source."""
        ...

    @property
    def position(self) -> int:
        """Gradients accumulated since the last optimizer step."""
        ...

    def predict(self, image: Images, *, learn: bool = True) -> Images:
        """Logits (classes,) of one image (1, channels, H, W), adapting on the way."""
        ...

    def beside(self, method: str) -> Executor:
        """Another method on the same network, from the source."""
        ...

    def reset(self) -> None:
        """Back to the source."""
        ...

    def save(self, path: str | Path) -> None:
        """Writes the state."""
        ...

    def load(self, path: str | Path) -> None:
        """Goes on from a saved state."""
        ...
