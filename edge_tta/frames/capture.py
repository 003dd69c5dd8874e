"""Live streams: always the newest good frame, and a lost stream is looked for again."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy.typing as npt

from edge_tta.errors import SourceError
from edge_tta.frames.pictures import to_rgb
from edge_tta.frames.reader import Inbox, Reader
from edge_tta.frames.source import Frame, FrameSource, Pick
from edge_tta.frames.video import Capture, resulting_rate

RECONNECT_S = 60.0
"""How long a lost stream is looked for, unless the user says otherwise."""
_FIRST_DELAY_S, _LONGEST_DELAY_S = 0.25, 8.0
_CHECK = "check the connection and start again"

_Newest: TypeAlias = tuple[int, float, npt.NDArray[Any]]


@dataclass
class _LostError(Exception):
    """The stream has stopped to give pictures: why, and what the user could do."""

    why: str
    advice: str = _CHECK


class LiveSource(FrameSource):
    """A camera or network stream, always the newest good frame.

    Counted in `dropped`, never given: "empty" reads, "damaged" frames, the faults of FaultFilter,
    and "late" frames, replaced by newer ones before they were asked for.

    A stream that is lost is opened again, after 0.25, 0.5, 1, ... at most 8 seconds, until
    `reconnect_s` seconds have passed since its last good frame; then `read` raises SourceError.

    opener: returns the opened capture, or raises SourceError.
    silence_s: lost when nothing at all arrives for so long (the driver blocks).
    most_empty: lost after so many empty reads in a row (unplugged, stream ended).
    useless_s: lost when frames arrive but all are black, blank, repeats ... for so long.
    opening_s: opening may take so long.
    """

    def __init__(
        self,
        name: str,
        opener: Callable[[], Capture],
        pick: Pick,
        *,
        silence_s: float = 5.0,
        most_empty: int = 30,
        useless_s: float = 5.0,
        opening_s: float = 15.0,
        reconnect_s: float = RECONNECT_S,
    ) -> None:
        super().__init__(name, length=pick.max_frames, live=True)
        self._opener, self._pick, self._most_empty = opener, pick, most_empty
        self._silence_s, self._useless_s, self._opening_s = silence_s, useless_s, opening_s
        self._reconnect_s = reconnect_s
        self._given = 0
        self._closed = threading.Event()
        self._failure: SourceError | None = None
        self._inbox = Inbox(pick)
        self._reader = self._new_reader()
        try:
            self._await_opening()
        except _LostError as lost:
            self.close()
            raise SourceError(f"{name}: {lost.why}; {lost.advice}") from None
        except BaseException:
            self.close()
            raise
        self.fps = resulting_rate(self._reader.rate, pick)

    def read(self) -> Frame | None:
        """Wait for a good frame newer than the last; None after `max_frames`."""
        if self._failure is not None:
            raise self._failure
        if self._closed.is_set() or self._pick.ended(self._given):
            return None
        try:
            number, time_s, raw = self._take()
        except _LostError as lost:
            newest = self._find_again(lost)
            if newest is None:  # closed meanwhile
                return None
            number, time_s, raw = newest
        index, self._given = self._given, self._given + 1
        return Frame(index, to_rgb(raw), time_s, f"{self.name}#{number}")

    def close(self) -> None:
        """Stop reading. A thread that a driver holds is left behind; it ends with the process."""
        self._closed.set()
        self._reader.stop()

    def _find_again(self, lost: _LostError) -> _Newest | None:
        """The first good frame of a new connection; None after `close`. Raises SourceError."""
        since_s, attempts, last = time.monotonic(), 0, ""
        if self._reconnect_s > 0:
            limit = f" for {self._reconnect_s:g} s" if math.isfinite(self._reconnect_s) else ""
            self.tell(f"{self.name}: {lost.why}; looking for it again{limit}")
        while True:
            delay_s = min(_FIRST_DELAY_S * 2 ** min(attempts, 10), _LONGEST_DELAY_S)
            passed_s = time.monotonic() - since_s
            if passed_s + delay_s > self._reconnect_s:
                tried = f"; not found again in {attempts} attempts, {passed_s:.0f} s{last}"
                self._failure = SourceError(
                    f"{self.name}: {lost.why}{tried if attempts else ''}; {lost.advice}"
                )
                raise self._failure
            if self._closed.wait(delay_s):
                return None
            attempts += 1
            # A driver that still holds its thread would not let another one in.
            if not self._reader.stop():
                continue
            try:
                self._reader = self._new_reader()
                self._await_opening()
                newest = self._take()
            except SourceError as error:
                last = f" ({error})"
            except _LostError as again:
                last = f" ({again.why})"
            else:
                self.reconnected += 1
                self.tell(f"{self.name}: found again after {time.monotonic() - since_s:.1f} s")
                return newest

    def _new_reader(self) -> Reader:
        stride = self._pick.stride
        return Reader(self.name, self._opener, stride, self._inbox, self._most_empty)

    def _await_opening(self) -> None:
        """Raises _LostError when it takes too long, the opener's SourceError when it fails."""
        reader, changed = self._reader, self._inbox.changed
        with changed:
            done = changed.wait_for(lambda: reader.opened or reader.failure, self._opening_s)
            if isinstance(reader.failure, SourceError):
                raise reader.failure
            if not done:
                raise _LostError(
                    f"did not open within {self._opening_s:g} s",
                    "check that it is connected and not in use by another program",
                )
            if not reader.opened:
                raise _LostError(str(reader.failure))

    def _take(self) -> _Newest:
        """The newest frame, waited for. Raises _LostError when the patience is over."""
        inbox = self._inbox
        with inbox.changed:
            asked_s = time.monotonic()
            try:
                while inbox.newest is None:
                    if self._reader.failure is not None:
                        raise _LostError(str(self._reader.failure))
                    self._await_frame(asked_s)
            finally:
                self.dropped.update(inbox.bad)
                inbox.bad.clear()
            newest, inbox.newest = inbox.newest, None
            return newest

    def _await_frame(self, asked_s: float) -> None:
        """Wait once for a change."""
        inbox = self._inbox
        silent_until_s = max(asked_s, inbox.arrived_s) + self._silence_s
        until_s = min(silent_until_s, asked_s + self._useless_s)
        remaining_s = until_s - time.monotonic()
        if remaining_s > 0:
            inbox.changed.wait(remaining_s)
        elif until_s == silent_until_s:
            raise _LostError(f"nothing arrives for {self._silence_s:g} s")
        else:
            seen = ", ".join(f"{times} {why}" for why, times in inbox.bad.most_common())
            raise _LostError(
                f"only useless pictures for {self._useless_s:g} s ({seen})",
                "check the lens cap, the light and the cable, then start again",
            )
