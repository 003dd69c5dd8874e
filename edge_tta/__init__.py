"""Keeps a deployed BatchNorm network accurate on the device itself, frame by frame."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge_tta.adapter import Adapter as Adapter
    from edge_tta.engines.base import Backward as Backward
    from edge_tta.guard import Guard as Guard
    from edge_tta.temporal import Filtered as Filtered

_PLACES = {
    "Adapter": "edge_tta.adapter",
    "Backward": "edge_tta.engines.base",
    "Filtered": "edge_tta.temporal",
    "Guard": "edge_tta.guard",
}

__version__ = "0.1.0"
__all__ = ["Adapter", "Backward", "Filtered", "Guard", "__version__"]


def __getattr__(name: str) -> Any:
    # PyTorch takes seconds to import: only who asks for the adapter pays.
    if name in _PLACES:
        return getattr(import_module(_PLACES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
