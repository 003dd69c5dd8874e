"""Signals to the processes of a command: it alone says what happened."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator

_OF_THE_USER = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]


def end_silently() -> None:
    """Let signals of the user end this process, at once and without a word."""
    for number in _OF_THE_USER:
        signal.signal(number, signal.SIG_DFL)


@contextlib.contextmanager
def ignored() -> Iterator[None]:
    """A block in which signals of the user are ignored, and by processes that it starts."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in _OF_THE_USER}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
