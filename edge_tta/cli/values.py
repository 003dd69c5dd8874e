"""Values of options, as argparse reads them: numbers, sizes, threads."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

from edge_tta.bundle.runtime import check_threads
from edge_tta.errors import ConfigError
from edge_tta.prepare import Size, parse_size


def numbers(text: str) -> tuple[float, ...]:
    """Numbers separated by commas."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected a number, or one a channel as R,G,B, got {text!r}"
        ) from None


def joined_numbers(arguments: Sequence[str]) -> list[str]:
    """`--mean 0.5 0.4 0.3` as `--mean 0.5,0.4,0.3`, which argparse cannot tell from a SOURCE."""
    joined: list[str] = []
    rest = list(arguments)
    while rest:
        joined.append(rest.pop(0))
        if joined[-1] in ("--mean", "--std") and len(rest) >= 3 and all(map(_is_number, rest[:3])):
            joined[-1] += "=" + ",".join(rest[:3])
            del rest[:3]
    return joined


def size(text: str) -> Size:
    """Return the size that S or HxW stands for."""
    try:
        return parse_size(text)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def threads(text: str) -> int:
    """Return a number of threads that this machine can run."""
    number = count(text)
    try:
        check_threads(number)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return number


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
    if _is_number(text) and 0 < float(text) < float("inf"):
        return float(text)
    raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")


def not_negative(text: str) -> float:
    """A number from 0, or infinity."""
    if _is_number(text) and float(text) >= 0:
        return float(text)
    raise argparse.ArgumentTypeError(f"expected a number from 0, or inf, got {text!r}")


def per_cent(text: str) -> float:
    """A share in per cent, from 1 and below 100; `%` may follow. Returns 0..1."""
    number = text.removesuffix("%").strip()
    if _is_number(number) and 1 <= float(number) < 100:
        return float(number) / 100
    raise argparse.ArgumentTypeError(
        f"expected per cent, from 1 and below 100, as 70, got {text!r}"
    )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
