"""Checks of single values."""

from __future__ import annotations

import math
from typing import Any

from edge_tta.errors import ConfigError


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Refuse a value that is none of the choices. Raises ConfigError."""
    if value not in choices:
        raise ConfigError(f"{name} must be one of {', '.join(choices)}, got {value!r}")


def check_number(name: str, value: Any, low: float, high: float) -> None:
    """Refuse what is no number in [low, high]. Raises ConfigError."""
    _check_range("a number", (int, float), name, value, low, high)


def check_whole(name: str, value: Any, low: float, high: float) -> None:
    """Refuse what is no whole number in [low, high]. Raises ConfigError."""
    _check_range("a whole number", (int,), name, value, low, high)


def check_share_or_whole(name: str, value: Any, high: int) -> None:
    """Refuse what is neither a share below 1 nor a whole number to high. Raises ConfigError."""
    if isinstance(value, float) and 0 <= value < 1:
        return
    _check_range("a share below 1, or a whole number", (int,), name, value, 0, high)


def _check_range(
    what: str, kinds: tuple[type, ...], name: str, value: Any, low: float, high: float
) -> None:
    right_kind = isinstance(value, kinds) and not isinstance(value, bool)
    if not right_kind or not low <= value <= high or math.isinf(value):
        upper = "any" if math.isinf(high) else high
        raise ConfigError(f"{name} must be {what} from {low:g} to {upper}, got {value!r}")
