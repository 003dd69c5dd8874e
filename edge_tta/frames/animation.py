"""Files that hold several pictures: animated WebP, AVIF and PNG, TIFF with pages."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from edge_tta.errors import SourceError
from edge_tta.frames.pictures import COLOURS, PNG, decode_capture
from edge_tta.frames.quiet import quiet_opencv

_MOST_BYTES = 2**29
_SUBFILE_TYPE, _REDUCED = 254, 1
"""TIFF 6.0, section 8: the tag, and its bit for a smaller copy of another page."""


class Loaded(NamedTuple):
    """Picture of a file (see `decode_capture`), None where it is damaged, and how many more it
    holds."""

    pixels: npt.NDArray[Any] | None
    further: int = 0


def frames_in(data: bytes) -> int:
    """Return the number of full-size pictures in an image file, by its headers; damaged: 1."""
    if data.startswith(PNG):
        at = data.find(b"acTL", 0, data.find(b"IDAT"))
        return max(1, int.from_bytes(data[at + 4 : at + 8], "big")) if at > 0 else 1
    if data[8:16] == b"WEBPVP8X" and any(flags & 2 for flags in data[20:21]):
        return max(1, data.count(b"ANMF"))
    if data[4:12] == b"ftypavis":
        at = data.find(b"stsz")
        return max(1, int.from_bytes(data[at + 12 : at + 16], "big")) if at > 0 else 1
    return max(1, len(_tiff_pages(data)))


def loaders(data: bytes, name: str) -> list[Callable[[], Loaded]]:
    """Give a loader for each picture in a WebP, AVIF or TIFF file that holds several.

    Raises SourceError when those of an animation, which are decoded together, need too much memory.
    """
    pages = _tiff_pages(data)
    if pages:
        return [partial(_page, data, page) for page in pages]
    first, count = decode_capture(data), frames_in(data)
    if first is not None and count * first.nbytes > _MOST_BYTES:
        raise SourceError(
            f"{name} holds {count} pictures of {first.shape[1]} x {first.shape[0]}, too many to "
            f"decode at once; give it as a video, or as a folder of single pictures"
        )
    frames: list[Any] = [] if first is None else _decoded(data)
    return [partial(Loaded, frame) for frame in frames or [first]]


def _page(data: bytes, page: int) -> Loaded:
    """One page of a TIFF."""
    return Loaded(next(iter(_decoded(data, range=(page, page + 1))), None))


def _decoded(data: bytes, **part: Any) -> list[Any]:
    """All pictures, or those of a range of pages; none when the file is damaged."""
    try:
        with quiet_opencv():
            whole, pictures = cv2.imdecodemulti(np.frombuffer(data, np.uint8), COLOURS, **part)
    except cv2.error:
        return []
    return list(pictures) if whole else []


def _tiff_pages(data: bytes) -> list[int]:
    """Numbers of a TIFF's pages that are no smaller copies of others; none in other files.

    Classic and BigTIFF: a page's directory is the count of its entries, the entries, and the place
    of the next directory.
    """
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None or len(data) < 16:
        return []
    version = struct.unpack_from(f"{order}H", data, 2)[0]
    if version not in (42, 43):
        return []
    count, entry, place, first = ("H", 12, "I", 4) if version == 42 else ("Q", 20, "Q", 8)
    pages: list[int] = []
    seen: set[int] = set()
    try:
        at = struct.unpack_from(order + place, data, first)[0]
        for page in itertools.count():
            if not at or at in seen:
                break
            seen.add(at)
            entries = struct.unpack_from(order + count, data, at)[0]
            at += struct.calcsize(order + count)
            tag = struct.unpack_from(f"{order}H", data, at)[0]
            kind = struct.unpack_from(order + place, data, at + (8 if version == 42 else 12))[0]
            if tag != _SUBFILE_TYPE or not kind & _REDUCED:
                pages.append(page)
            at = struct.unpack_from(order + place, data, at + entry * entries)[0]
    except struct.error:
        # The file breaks off: what is before can perhaps be read.
        pass
    return pages
