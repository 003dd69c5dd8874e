"""Signals by which a user, or the system, tells a program to end."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from types import FrameType

ENDING = [signal.Signals[name] for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
"""Ctrl-C, `kill`, and a terminal that is closed, which Windows lacks."""


@contextlib.contextmanager
def handled(
    handler: Callable[[int, FrameType | None], None], numbers: Iterable[signal.Signals] = ENDING
) -> Iterator[None]:
    """A block whose signals call `handler`; those that are ignored, as `nohup` does it, stay so.

    Off the main thread none does.
    """
    main = threading.current_thread() is threading.main_thread()
    heeded = [each for each in numbers if main and signal.getsignal(each) is not signal.SIG_IGN]
    before = {each: signal.signal(each, handler) for each in heeded}
    try:
        yield
    finally:
        for each, own in before.items():
            signal.signal(each, own)
