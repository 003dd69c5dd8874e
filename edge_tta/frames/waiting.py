"""Work that can block for ever, waited for with a limit and without holding up Ctrl-C."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import TypeVar

import cv2

from edge_tta.errors import SourceError

_T = TypeVar("_T")


def within(limit_s: float | None, work: Callable[[], _T], name: str, advice: str) -> _T:
    """The result of `work`, which runs in a thread that is left behind when it takes too long.

    Name lookups and reads of a pipe cannot be stopped, and a server can send a byte now and then
    for ever. A signal breaks off the wait, which it could not do with the work itself.

    limit_s: seconds; None waits for ever.
    Raises SourceError ("name did not answer within ..; advice") after that, and what `work` raises.
    """
    results: queue.SimpleQueue[tuple[_T | None, Exception | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            results.put((work(), None))
        except (SourceError, cv2.error) as error:
            results.put((None, error))

    threading.Thread(target=run, name=f"open {name}", daemon=True).start()
    try:
        result, error = results.get(timeout=limit_s)
    except queue.Empty:
        raise SourceError(f"{name} did not answer within {limit_s:g} s; {advice}") from None
    if error is not None:
        raise error
    return result  # type: ignore[return-value]  # None only when _T is
