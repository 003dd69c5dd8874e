"""Signals to the processes of a command: it alone says what happened."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator

from edge_tta.signals import ENDING, handled


@contextlib.contextmanager
def held() -> Iterator[None]:
    """A block after which signals to end come, and to processes that it starts when these call
    `end_silently`."""
    came: list[int] = []
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    # The mask is for the processes: here another thread may take a signal, for the main one.
    try:
        with handled(lambda number, frame: came.append(number)):
            try:
                yield
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
    finally:
        for number in came:  # before what it may have made fail
            signal.raise_signal(number)


def end_silently() -> None:
    """Let signals to end this process do so at once and without a word.

    Those that are ignored, as `nohup` does it, stay so.
    """
    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
