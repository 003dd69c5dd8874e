"""Cameras that send JPEGs one after another over HTTP (multipart/x-mixed-replace).

FFmpeg reads such streams too, but fills pictures that break off with the rows of an older one and
says nothing of it; and it decodes those that nobody will look at.
"""

from __future__ import annotations

import http.client
import time
from typing import Any, Protocol

import numpy.typing as npt

from edge_tta.frames.pictures import decode_capture

_LARGEST_PICTURE = 64 * 2**20
_LONGEST_LINE = 8192
_MOST_LINES = 100
_BLOCK = 65536
_DASHES = 4
"""Before the name, at most: two by the standard, two that some cameras have in the name too."""


class _Body(Protocol):
    """The part of an open HTTP answer that is used; its reads end by a time-out."""

    def read1(self, amount: int, /) -> bytes: ...
    def close(self) -> None: ...


class MjpegCapture:
    """A capture (see `edge_tta.frames.video.Capture`) of the parts of a multipart answer.

    boundary: the line between the parts, of the answer's Content-Type.
    limit_s: the stream has ended when the next part takes longer: a server may send a byte now and
        then for ever.
    """

    def __init__(self, body: _Body, boundary: str, limit_s: float = 8.0) -> None:
        self._body, self._limit_s = body, limit_s
        # Some servers write the dashes into the name, or leave them out on the line.
        self._boundary = boundary.strip("-").encode("latin-1", "replace")
        self._buffer = bytearray()
        self._part: bytes | None = None
        self._ended = not self._boundary
        self._ends_s = 0.0

    def grab(self) -> bool:
        """Take the next part, not yet decoded; False when the stream has ended."""
        self._part = None
        self._ends_s = time.monotonic() + self._limit_s
        try:
            if not self._ended and self._find_head():
                length = self._read_head()
                self._part = self._until_boundary() if length is None else self._take(length)
        except (OSError, http.client.HTTPException, ValueError):
            self._ended = True
        return self._part is not None

    def retrieve(self) -> tuple[bool, npt.NDArray[Any] | None]:
        """Decode it: uint8 (H, W, 3) BGR, or (False, None) for a damaged picture."""
        pixels = decode_capture(self._part or b"")
        return pixels is not None, pixels

    def get(self, prop_id: int, /) -> float:
        """Return 0: no property is known beforehand."""
        return 0.0

    def release(self) -> None:
        """Close the connection."""
        self._ended = True
        self._body.close()

    def _find_head(self) -> bool:
        """Skip the line between the parts; False when it is the one that ends all."""
        for _ in range(_MOST_LINES):
            line = self._line().strip()
            if self._is_boundary(line):
                self._ended = line.lstrip(b"-")[len(self._boundary) :].startswith(b"--")
                return not self._ended
        raise ValueError("no boundary between pictures")

    def _read_head(self) -> int | None:
        """Skip to the part's first byte; its length in bytes where the head tells."""
        length = None
        for _ in range(_MOST_LINES):
            line = self._line().strip()
            if not line:
                return length
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":", 1)[1])
                if not 0 < length <= _LARGEST_PICTURE:
                    raise ValueError(f"a picture of {length} bytes")
        raise ValueError("a head without end")

    def _until_boundary(self) -> bytes:
        """A part whose head does not tell its length."""
        at = 0
        while True:
            at = self._buffer.find(b"--", at)
            if at < 0:
                at = max(0, len(self._buffer) - 1)
            elif len(self._buffer) >= at + _DASHES + len(self._boundary):
                if self._is_boundary(self._buffer[at : at + _DASHES + len(self._boundary)]):
                    return self._take(at)
                at += 1
                continue
            self._receive()

    def _is_boundary(self, line: bytes | bytearray) -> bool:
        return line.lstrip(b"-").startswith(self._boundary)

    def _line(self) -> bytes:
        searched = 0
        while True:
            end = self._buffer.find(b"\n", searched)
            if end >= 0:
                return self._take(end + 1)
            searched = len(self._buffer)
            if searched > _LONGEST_LINE:
                raise ValueError("no boundary between pictures")
            self._receive()

    def _take(self, length: int) -> bytes:
        """The next `length` bytes."""
        while len(self._buffer) < length:
            self._receive()
        taken = bytes(self._buffer[:length])
        del self._buffer[:length]
        return taken

    def _receive(self) -> None:
        """Some bytes more. Raises an OSError at the end, ValueError when it is too much."""
        if time.monotonic() > self._ends_s:
            raise TimeoutError("the next picture does not come")
        if len(self._buffer) > _LARGEST_PICTURE:
            raise ValueError("no boundary between pictures")
        block = self._body.read1(_BLOCK)
        if not block:
            raise ConnectionError("the stream has ended")
        self._buffer += block
