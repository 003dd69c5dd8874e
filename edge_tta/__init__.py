"""Keeps a deployed BatchNorm network accurate on the device itself, frame by frame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge_tta.adapter import Adapter as Adapter
    from edge_tta.guard import Guard as Guard
    from edge_tta.temporal import Filtered as Filtered

__version__ = "0.1.0"
__all__ = ["Adapter", "Filtered", "Guard", "__version__"]


def __getattr__(name: str) -> Any:
    # PyTorch takes seconds to import: only who asks for the adapter pays.
    if name == "Adapter":
        from edge_tta.adapter import Adapter

        return Adapter
    if name == "Guard":
        from edge_tta.guard import Guard

        return Guard
    if name == "Filtered":
        from edge_tta.temporal import Filtered

        return Filtered
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
