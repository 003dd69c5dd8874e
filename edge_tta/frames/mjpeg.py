"""Cameras that send JPEGs one after another over HTTP (multipart/x-mixed-replace).

FFmpeg reads such streams too, but fills pictures that break off with the rows of an older one and
says nothing of it; and it decodes those that nobody will look at.
"""

from __future__ import annotations

import http.client
from typing import Any, Protocol

import numpy.typing as npt

from edge_tta.frames.pictures import decode_capture

_LARGEST_PICTURE = 64 * 2**20
_LONGEST_LINE = 8192
_MOST_LINES = 100
_BLOCK = 65536


class _Body(Protocol):
    """The part of an open HTTP answer that is used; its reads end by a time-out."""

    def readline(self, limit: int, /) -> bytes: ...
    def read(self, amount: int, /) -> bytes: ...
    def close(self) -> None: ...


class MjpegCapture:
    """A capture (see `edge_tta.frames.video.Capture`) of the parts of a multipart answer.

    boundary: the line between the parts, of the answer's Content-Type.
    """

    def __init__(self, body: _Body, boundary: str) -> None:
        self._body = body
        # Some servers write the dashes into the name, or leave them out on the line.
        self._boundary = boundary.strip("-").encode("latin-1", "replace")
        self._part: bytes | None = None
        self._unread: bytes | None = None
        self._ended = not self._boundary

    def grab(self) -> bool:
        """Take the next part, not yet decoded; False when the stream has ended."""
        self._part = None
        try:
            while self._part is None and not self._ended:
                length = self._next_head()
                if not self._ended:
                    self._part = self._exactly(length) if length else self._until_boundary()
        except (OSError, http.client.HTTPException, ValueError):
            self._ended = True
        return self._part is not None

    def retrieve(self) -> tuple[bool, npt.NDArray[Any] | None]:
        """Decode it: uint8 (H, W, 3) BGR, or (False, None) for a damaged picture."""
        pixels = decode_capture(self._part or b"")
        return pixels is not None, pixels

    def get(self, prop_id: int, /) -> float:
        """Nothing is known beforehand: 0."""
        return 0.0

    def release(self) -> None:
        """Close the connection."""
        self._ended = True
        self._body.close()

    def _next_head(self) -> int | None:
        """Skip to the next part's first byte; its length where its head tells."""
        length, lines, in_head = None, 0, False
        while True:
            line = self._line()
            lines += 1
            if lines > _MOST_LINES:
                raise ValueError("no boundary between pictures")
            text = line.strip()
            if self._is_boundary(text):
                self._ended = text.lstrip(b"-")[len(self._boundary) :].startswith(b"--")
                if self._ended:
                    return None
                in_head = True
            elif in_head and not text:
                return length
            elif in_head and text.lower().startswith(b"content-length:"):
                length = int(text.split(b":", 1)[1])
                if not 0 < length <= _LARGEST_PICTURE:
                    raise ValueError(f"a picture of {length} bytes")

    def _exactly(self, length: int) -> bytes:
        found = bytearray()
        while len(found) < length:
            block = self._body.read(min(_BLOCK, length - len(found)))
            if not block:
                raise ConnectionError("the stream broke off")
            found += block
        return bytes(found)

    def _until_boundary(self) -> bytes:
        """A part whose head does not tell its length."""
        found = bytearray()
        while True:
            line = self._line()
            if line.startswith(b"--") and self._is_boundary(line):
                self._unread = line
                return bytes(found)
            found += line
            if len(found) > _LARGEST_PICTURE:
                raise ValueError("no boundary between pictures")

    def _is_boundary(self, line: bytes) -> bool:
        return line.lstrip(b"-").startswith(self._boundary)

    def _line(self) -> bytes:
        line, self._unread = self._unread, None
        if line is None:
            line = self._body.readline(_LONGEST_LINE)
        if not line:
            raise ConnectionError("the stream ended")
        return line
