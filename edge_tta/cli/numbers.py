"""Types of options that are numbers."""

from __future__ import annotations

import argparse
from collections.abc import Callable


def whole_from(least: int) -> Callable[[str], int]:
    """Return a type for argparse: a whole number from `least`."""

    def parse(text: str) -> int:
        if text.isascii() and text.isdecimal() and int(text) >= least:
            return int(text)
        raise argparse.ArgumentTypeError(f"expected a whole number from {least}, got {text!r}")

    return parse


count, natural = whole_from(1), whole_from(0)


def positive(text: str) -> float:
    """A number above 0."""
    if is_number(text) and 0 < float(text) < float("inf"):
        return float(text)
    raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")


def not_negative(text: str) -> float:
    """A number from 0, or infinity."""
    if is_number(text) and float(text) >= 0:
        return float(text)
    raise argparse.ArgumentTypeError(f"expected a number from 0, or inf, got {text!r}")


def per_cent(text: str) -> float:
    """A share in per cent, from 1 and below 100; `%` may follow. Returns 0..1."""
    number = text.removesuffix("%").strip()
    if is_number(number) and 1 <= float(number) < 100:
        return float(number) / 100
    raise argparse.ArgumentTypeError(
        f"expected per cent, from 1 and below 100, as 70, got {text!r}"
    )


def is_number(text: str) -> bool:
    """Tell whether a text is a number, as Python reads it."""
    try:
        float(text)
    except ValueError:
        return False
    return True
