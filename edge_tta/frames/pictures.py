"""Bytes and raw captures to uint8 RGB, and no picture from damaged ones."""

from __future__ import annotations

import re
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edge_tta.frames.quiet import quiet_opencv
from edge_tta.frames.source import Pixels

PICTURE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".jp2", ".png", ".bmp", ".dib", ".webp", ".avif"}
    | {".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm"}
)

# In JPEG scan data FF is followed by 00 (a data byte FF), D0..D7 (restart) or FF (padding);
# anything else is the marker that ends the scan.
_SCAN_END = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers of the segments that hold height and width."""
PNG = b"\x89PNG\r\n\x1a\n"
_MOST_PIXELS = 2**27
"""134 million: more than any camera has, 400 MB when decoded."""
COLOURS = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH
"""Three channels, of 8 or 16 bits as they are in the file."""
_GREATEST_VALUE = re.compile(rb"P[56](?:\s+|#[^\n]*\n)+(?:\d+(?:\s+|#[^\n]*\n)+){2}(\d{1,5})\s")
"""PGM and PPM tell it; OpenCV does not scale by it."""
_DEPTHS = (10, 12, 16)
"""Bits of sensors, whose values are often stored in 16 bits as they are."""


class Depth:
    """Scales the pictures of one stream to 8 bits, all by one depth once it has shown.

    16-bit pictures are taken to hold values of 10 bits, or 12, as long as none has been larger.
    """

    def __init__(self) -> None:
        self._bits = 0

    def eight_bits(self, pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The upper 8 bits of uint16 pixels of any shape; other types unchanged."""
        if pixels.dtype != np.uint16:
            return pixels
        needed = int(pixels.max(initial=0)).bit_length()
        self._bits = max(self._bits, next(bits for bits in _DEPTHS if bits >= needed))
        return (pixels >> (self._bits - 8)).astype(np.uint8)


def decode_picture(data: bytes) -> Pixels | None:
    """The picture in an image file's bytes, uint8 (H, W, 3) RGB; None when it is damaged.

    Grey is spread over the three channels, alpha is left out, more bits become 8 (see `Depth`), and
    the EXIF orientation is applied. A JPEG that breaks off is damaged too: OpenCV 4 would fill the
    rest with grey, and such a picture must not reach the statistics.
    """
    pixels = decode_capture(data)
    return None if pixels is None else to_rgb(pixels)


def decode_capture(data: bytes) -> npt.NDArray[Any] | None:
    """The same in OpenCV's order, (H, W, 3) BGR, uint8 or uint16; None when it is damaged."""
    if not data or not _is_whole(data):
        return None
    try:
        with quiet_opencv():
            pixels: npt.NDArray[Any] | None = cv2.imdecode(np.frombuffer(data, np.uint8), COLOURS)
    except cv2.error:
        return None
    greatest = _GREATEST_VALUE.match(data)
    if greatest and pixels is not None:
        scale = 255 / max(int(greatest[1]), 1)
        pixels = np.clip(np.rint(pixels * scale), 0, 255).astype(np.uint8)
    return pixels


def to_rgb(pixels: npt.NDArray[Any], depth: Depth | None = None) -> Pixels:
    """OpenCV's (H, W), (H, W, 1), BGR or BGRA of 8 or 16 bits to a new uint8 (H, W, 3) RGB array.

    depth: of the stream that the picture belongs to; None: a picture by itself.
    Raises ValueError for other types and shapes.
    """
    pixels = (depth or Depth()).eight_bits(pixels)
    channels = 1 if pixels.ndim == 2 else pixels.shape[-1]
    code = {1: cv2.COLOR_GRAY2RGB, 3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGB}.get(channels)
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or code is None:
        raise ValueError(
            f"pixels must be uint8 or uint16 with 1, 3 or 4 channels, "
            f"got {pixels.dtype} {pixels.shape}"
        )
    return np.asarray(cv2.cvtColor(pixels, code), np.uint8)


def _is_whole(data: bytes) -> bool:
    """False for a JPEG or PNG that breaks off, or that claims to be enormous."""
    if data.startswith(b"\xff\xd8"):
        return _jpeg_is_whole(data)
    if data.startswith(PNG):
        return _png_is_whole(data)
    return True


def _jpeg_is_whole(data: bytes) -> bool:
    """Return True where the walk over a JPEG's segments (ITU-T T.81, B.1) reaches the end marker.

    A search for the last marker would be misled by thumbnails and by what telephones append.
    """
    at = 2
    while at + 4 <= len(data) or data[at : at + 2] == b"\xff\xd9":
        if data[at] != 0xFF:
            return False
        marker = data[at + 1]
        if marker == _END_OF_IMAGE:
            return True
        if marker == 0xFF:
            at += 1
            continue
        if marker in _FRAMES and _pixels(data[at + 5 : at + 9], 2) > _MOST_PIXELS:
            return False
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == _START_OF_SCAN:
            end = _SCAN_END.search(data, at)
            if end is None:
                return False
            at = end.start()
    return False


def _png_is_whole(data: bytes) -> bool:
    """Return True where the walk over a PNG's chunks (ISO 15948, 5.3) reaches the last one.

    A decoder that believes a damaged length would ask for up to 4 GiB of memory.
    """
    at = len(PNG)
    while at + 12 <= len(data):
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if at + 12 + length > len(data):
            return False
        if kind == b"IHDR" and _pixels(data[at + 8 : at + 16], 4) > _MOST_PIXELS:
            return False
        if kind == b"IEND":
            return True
        at += 12 + length
    return False


def _pixels(sides: bytes, width: int) -> int:
    """The product of two big-endian numbers of `width` bytes each."""
    one, other = sides[:width], sides[width:]
    return int.from_bytes(one, "big") * int.from_bytes(other, "big")
