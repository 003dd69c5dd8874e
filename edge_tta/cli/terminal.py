"""The console that subcommands print to."""

from __future__ import annotations

from rich.console import Console


def terminal(*, stderr: bool = False) -> Console:
    """A console that prints what it is given: `nanoadapt:tent:` is no emoji."""
    return Console(stderr=stderr, emoji=False, markup=False, highlight=False, soft_wrap=True)
