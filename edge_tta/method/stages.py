"""Stages of a step, told to whoever measures them."""

from __future__ import annotations

from collections.abc import Callable

OnStage = Callable[[str], None]
"""Is told the name of each stage that has ended."""


def no_stage(stage: str) -> None:
    """Take no notice of a stage."""
