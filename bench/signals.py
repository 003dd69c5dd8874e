"""Signals to the processes of a command: it alone says what happened."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator

_OF_THE_USER = signal.SIGINT, signal.SIGTERM, signal.SIGHUP


@contextlib.contextmanager
def held() -> Iterator[None]:
    """A block whose signals of the user come after it; to processes that it starts, not before
    these call `end_silently`."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _OF_THE_USER)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_silently() -> None:
    """Let signals of the user end this process, at once and without a word.

    Those that are ignored, as `nohup` does it, stay so.
    """
    for number in _OF_THE_USER:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _OF_THE_USER)
