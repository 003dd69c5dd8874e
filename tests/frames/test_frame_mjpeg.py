"""JPEG streams: the ways in which cameras write the lines between their pictures."""

from __future__ import annotations

import io
import time

import cv2
import numpy as np
import pytest

from edge_tta.frames.mjpeg import MjpegCapture
from tests.frames.media import textured

BODIES = [cv2.imencode(".jpg", textured(seed)[..., ::-1])[1].tobytes() for seed in range(3)]


def _count(data: bytes, boundary: str = "frame") -> int:
    """How many parts come; each must be one of the pictures."""
    stream = MjpegCapture(io.BytesIO(data), boundary)
    number = 0
    while stream.grab():
        good, pixels = stream.retrieve()
        assert good
        assert pixels is not None
        assert np.abs(pixels[..., ::-1].astype(int) - textured(number)).mean() < 12
        number += 1
    return number


def _parts(line: bytes, head: bytes, ending: bytes = b"\r\n") -> bytes:
    return b"".join(
        line + ending + head.replace(b"LENGTH", b"%d" % len(body)) + ending + body + ending
        for body in BODIES
    )


COUNTED = b"Content-Type: image/jpeg\r\nContent-Length: LENGTH\r\n"


def test_parts_with_their_length_are_read() -> None:
    assert _count(_parts(b"--frame", COUNTED)) == 3


def test_parts_without_a_length_end_at_the_next_line() -> None:
    data = _parts(b"--frame", b"Content-Type: image/jpeg\r\n")
    assert _count(data + b"--frame--\r\n") == 3
    # The last picture is whole only when something follows it.
    assert _count(data) == 2


@pytest.mark.parametrize("boundary", ["frame", "--frame", "frame--"])
@pytest.mark.parametrize("line", [b"--frame", b"----frame", b"\r\n--frame"])
def test_dashes_are_where_cameras_put_them(boundary: str, line: bytes) -> None:
    assert _count(_parts(line, COUNTED), boundary) == 3


def test_heads_in_small_letters_and_lines_of_unix_are_read() -> None:
    assert _count(_parts(b"--frame", COUNTED.lower().replace(b"length\r", b"LENGTH\r"))) == 3
    plain = COUNTED.replace(b"\r\n", b"\n")
    assert _count(_parts(b"--frame", plain, b"\n")) == 3


def test_the_line_that_ends_all_ends_the_stream() -> None:
    one = _parts(b"--frame", COUNTED)
    assert _count(one + b"--frame--\r\n" + one) == 3


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"--frame\r\nContent-Length: 100\r\n\r\nshort",
        b"--frame\r\nContent-Length: -1\r\n\r\nx",
        b"--frame\r\nContent-Length: 99999999999999\r\n\r\nx",
        b"--frame\r\nContent-Length: many\r\n\r\nx",
        b"no line between pictures\r\n" * 200,
        b"x" * 100_000,
    ],
    ids=lambda data: repr(data[:40]),
)
def test_what_is_no_stream_ends(data: bytes) -> None:
    stream = MjpegCapture(io.BytesIO(data), "frame")
    assert not stream.grab()
    assert not stream.grab()


def test_a_part_that_is_no_whole_picture_is_grabbed_and_not_retrieved() -> None:
    half = BODIES[0][: len(BODIES[0]) // 2]
    data = b"--frame\r\nContent-Length: %d\r\n\r\n%s\r\n" % (len(half), half)
    stream = MjpegCapture(io.BytesIO(data + _parts(b"--frame", COUNTED)), "frame")
    assert stream.grab()
    assert stream.retrieve() == (False, None)
    assert stream.grab()
    assert stream.retrieve()[0]


def test_bytes_that_come_now_and_then_are_no_stream() -> None:
    """Each read answers in time, the picture never does."""

    class Dripping(io.BytesIO):
        def read1(self, size: int | None = -1, /) -> bytes:
            time.sleep(0.02)
            return b"-"

    stream = MjpegCapture(Dripping(), "frame", limit_s=0.2)
    started_s = time.monotonic()
    assert not stream.grab()
    assert time.monotonic() - started_s < 10
    assert not stream.grab()


@pytest.mark.parametrize("head", [COUNTED, b"Content-Type: image/jpeg\r\n"])
def test_pictures_come_whole_however_the_bytes_are_cut(head: bytes) -> None:
    class Cut(io.BytesIO):
        def read1(self, size: int | None = -1, /) -> bytes:
            return self.read(7)

    data = _parts(b"--frame", head) + b"--frame--\r\n" + bytes(20)
    stream = MjpegCapture(Cut(data), "frame")
    decoded = [stream.retrieve()[0] for _ in BODIES if stream.grab()]
    assert decoded == [True] * 3
    assert not stream.grab()


def test_releasing_closes_the_connection() -> None:
    body = io.BytesIO(_parts(b"--frame", COUNTED))
    stream = MjpegCapture(body, "frame")
    assert stream.grab()
    stream.release()
    assert body.closed
    assert not stream.grab()
