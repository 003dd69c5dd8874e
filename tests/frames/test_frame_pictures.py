"""Decoding: what comes out is uint8 RGB, or nothing."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from edge_tta.frames.pictures import Depth, decode_picture, to_rgb
from tests.frames.media import textured

JPEG = cv2.imencode(".jpg", textured(3)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes()
PNG = cv2.imencode(".png", textured(3)[..., ::-1])[1].tobytes()


def _png(pixels: np.ndarray) -> bytes:
    return cv2.imencode(".png", pixels)[1].tobytes()


def _exif(orientation: int) -> bytes:
    """An APP1 segment (EXIF 2.3, 4.5.2) that holds only the orientation tag 0x0112."""
    entry = b"\x01\x12\x00\x03\x00\x00\x00\x01" + orientation.to_bytes(2, "big") + b"\x00\x00"
    body = b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x01" + entry + b"\x00\x00\x00\x00"
    return b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body


def test_colours_come_out_as_rgb() -> None:
    red = np.zeros((4, 5, 3), np.uint8)
    red[..., 2] = 200  # BGR
    pixels = decode_picture(_png(red))
    assert pixels is not None
    assert pixels[0, 0].tolist() == [200, 0, 0]
    assert pixels.flags.c_contiguous


def test_grey_is_spread_over_three_channels() -> None:
    pixels = decode_picture(_png(np.full((4, 5), 77, np.uint8)))
    assert pixels is not None
    assert pixels.shape == (4, 5, 3)
    assert (pixels == 77).all()


def test_alpha_is_left_out() -> None:
    pixels = decode_picture(_png(np.full((4, 5, 4), (10, 20, 30, 0), np.uint8)))
    assert pixels is not None
    assert pixels[0, 0].tolist() == [30, 20, 10]


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 3)])
def test_sixteen_bits_become_the_upper_eight(shape: tuple[int, ...]) -> None:
    pixels = decode_picture(_png(np.full(shape, 0x1234, np.uint16)))
    assert pixels is not None
    assert pixels.dtype == np.uint8
    assert (pixels == 0x12).all()


@pytest.mark.parametrize(
    ("orientation", "turned"),
    [
        (1, lambda x: x),
        (3, lambda x: np.rot90(x, 2)),
        (6, lambda x: np.rot90(x, -1)),
        (8, lambda x: np.rot90(x, 1)),
    ],
)
def test_exif_orientation_is_applied(orientation: int, turned: object) -> None:
    plain = decode_picture(JPEG)
    pixels = decode_picture(JPEG[:2] + _exif(orientation) + JPEG[2:])
    assert plain is not None
    assert pixels is not None
    assert callable(turned)
    assert np.array_equal(pixels, turned(plain))


@pytest.mark.parametrize("data", [JPEG, PNG], ids=["jpeg", "png"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.9, 0.995])
def test_a_file_that_breaks_off_is_no_picture(data: bytes, share: float) -> None:
    assert decode_picture(data[: int(len(data) * share)]) is None


def test_every_cut_of_a_jpeg_is_noticed() -> None:
    assert all(decode_picture(JPEG[:end]) is None for end in range(0, len(JPEG), 37))


def test_progressive_jpeg_with_restarts_is_read() -> None:
    options = [cv2.IMWRITE_JPEG_PROGRESSIVE, 1, cv2.IMWRITE_JPEG_RST_INTERVAL, 2]
    data = cv2.imencode(".jpg", textured(4), options)[1].tobytes()
    assert decode_picture(data) is not None
    assert decode_picture(data[:-2]) is None


def test_data_behind_the_jpegs_end_does_no_harm() -> None:
    assert decode_picture(JPEG + b"\xff\xda\x00\x08motion photo" * 3) is not None


def test_a_thumbnail_does_not_hide_that_the_picture_breaks_off() -> None:
    thumbnail = b"\xff\xe2" + (len(JPEG) + 2).to_bytes(2, "big") + JPEG
    assert decode_picture(JPEG[:2] + thumbnail + JPEG[2:]) is not None
    assert decode_picture(JPEG[:2] + thumbnail + JPEG[2 : len(JPEG) // 2]) is None


def test_text_is_no_picture() -> None:
    assert decode_picture(b"hello world" * 10) is None


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 1), (4, 5, 3), (4, 5, 4)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_captures_of_any_layout_become_rgb(shape: tuple[int, ...], dtype: type) -> None:
    raw: np.ndarray = np.full(shape, 50 * (1 if dtype is np.uint8 else 257), dtype)
    pixels = to_rgb(raw)
    assert pixels.dtype == np.uint8
    assert pixels.shape == (4, 5, 3)
    assert (pixels == 50).all()


def test_float_captures_are_refused() -> None:
    with pytest.raises(ValueError, match="must be uint8 or uint16"):
        to_rgb(np.zeros((4, 5, 3), np.float32))


def _ramp(bits: int) -> np.ndarray:
    """(16, 16, 3), values from 0 to the greatest of so many bits."""
    values = np.linspace(0, 2**bits - 1, 256).astype(np.uint16).reshape(16, 16)
    return np.repeat(values[..., None], 3, 2)


@pytest.mark.parametrize("bits", [10, 12, 16])
@pytest.mark.parametrize("ending", [".png", ".tiff"])
def test_values_of_a_sensor_in_sixteen_bits_are_scaled_by_their_own_depth(
    bits: int, ending: str
) -> None:
    data = cv2.imencode(ending, _ramp(bits))[1].tobytes()
    pixels = decode_picture(data)
    assert pixels is not None
    assert np.array_equal(pixels, _ramp(bits) >> (bits - 8))


@pytest.mark.parametrize("greatest", [1, 15, 100, 255, 1023, 4095, 65535])
def test_the_greatest_value_of_a_pgm_is_white(greatest: int) -> None:
    values = np.linspace(0, greatest, 256).astype(">u2" if greatest > 255 else np.uint8)
    data = b"P5\n# a comment\n16 16\n%d\n" % greatest + values.tobytes()
    pixels = decode_picture(data)
    assert pixels is not None
    expected = 255 * values.astype(float).reshape(16, 16, 1) / greatest
    assert np.abs(pixels - expected).max() <= 1


def test_a_stream_keeps_the_greatest_depth_that_it_has_shown() -> None:
    depth = Depth()
    dark, bright = np.full((4, 4), 600, np.uint16), np.full((4, 4), 4000, np.uint16)
    assert depth.eight_bits(dark)[0, 0] == 600 >> 2
    assert depth.eight_bits(bright)[0, 0] == 4000 >> 4
    assert depth.eight_bits(dark)[0, 0] == 600 >> 4
    assert depth.eight_bits(np.full((4, 4), 99, np.uint8))[0, 0] == 99
