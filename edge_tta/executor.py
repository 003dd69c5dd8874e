"""What runs a network and adapts it: PyTorch (`Adapter`) or a bundle (`BundleAdapter`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from edge_tta.config import MethodConfig


class Adapts(Protocol):
    """What a guard needs. Logits are tensors or arrays, whatever the executor computes with."""

    def __call__(self, images: Any, *, learn: bool = True) -> Any:
        """Logits (N, classes) of images (N, channels, H, W), adapting on the way."""
        ...

    def frozen_logits(self, images: Any) -> Any:
        """Logits (N, classes) with the present state; nothing changes."""
        ...

    def source_logits(self, images: Any) -> Any:
        """Logits (N, classes) of the source network; nothing changes."""
        ...

    @property
    def state(self) -> dict[str, Any]:
        """The state's tensors by name."""
        ...

    def restore(self, state: dict[str, Any]) -> None:
        """Continues from a state that `state` gave."""
        ...

    def reset(self) -> None:
        """Back to the source."""
        ...

    def drift(self) -> float:
        """|trained parameters - the source's| / |the source's|; 0 where none are trained."""
        ...

    def save(self, path: str | Path) -> None:
        """Writes the state."""
        ...


class Executor(Adapts, Protocol):
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

    def beside(self, method: str) -> Executor:
        """Another method on the same network, from the source."""
        ...

    def load(self, path: str | Path) -> None:
        """Goes on from a saved state."""
        ...
