"""Stopping a run from outside without losing anything."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING

from edge_tta.closing import Closing
from edge_tta.signals import handled

if TYPE_CHECKING:
    from typing_extensions import Self


class Stopped(BaseException):
    """A stop was asked for while waiting for a frame."""


class StopRequest(Closing):
    """Notes Ctrl-C and the termination signals, so that the frame at work is finished first.

    Only while the run waits for its source (`wait`), which can take seconds, the wait is broken
    off, by `Stopped`. A second Ctrl-C ends the program at once. Nothing is noted outside a `with`
    block.

    Attributes:
        signal: the signal that asked, None so far.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self.waiting = False
        self._asked = False
        self._handled = contextlib.ExitStack()

    def __bool__(self) -> bool:
        return self._asked or self.signal is not None

    def ask(self) -> None:
        """Asks without a signal: the run ends well after this frame."""
        self._asked = True

    @property
    def exit_code(self) -> int:
        """Exit status of the program: 128 + signal, 0 without one."""
        return 0 if self.signal is None else 128 + self.signal

    def __enter__(self) -> Self:
        self._handled.enter_context(handled(self._note))
        return self

    def close(self) -> None:
        """Puts the old handlers back."""
        self._handled.close()

    @contextlib.contextmanager
    def wait(self) -> Iterator[None]:
        """A block that may be broken off."""
        self.waiting = True
        try:
            yield
        finally:
            self.waiting = False

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = number
        if self.waiting:
            self.waiting = False
            raise Stopped
