"""Bytes to start from: some good ones of each target, and all that ever found something."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

from edge_tta.demo.network import road_signs
from tests.frames.media import textured
from tests.fuzz.targets import a_state

FOUND = Path(__file__).parent / "found"
"""FOUND/TARGET/NAME: what a fuzzer found, and stays as a test."""

_EXIF = bytes.fromhex("ffe100224578696600004d4d002a000000080001011200030000000100060000 00000000")


def seeds(name: str) -> list[bytes]:
    """Good inputs of a target, then what was found."""
    crashers = [path.read_bytes() for path in sorted((FOUND / name).glob("*"))]
    return [*_GOOD.get(name, list)(), *crashers, *_LARGE.get(name, ())]


def _pictures() -> list[bytes]:
    pixels = textured(3, 24, 32)[..., ::-1]
    deep = pixels.astype(np.uint16) * 257
    jpeg = cv2.imencode(".jpg", pixels)[1].tobytes()
    progressive = [cv2.IMWRITE_JPEG_PROGRESSIVE, 1, cv2.IMWRITE_JPEG_RST_INTERVAL, 2]
    encoded = [
        cv2.imencode(ending, picture)[1].tobytes()
        for ending, picture in (
            (".png", pixels),
            (".png", pixels[..., 0]),
            (".png", deep),
            (".bmp", pixels),
            (".webp", pixels),
            (".tiff", deep),
            (".ppm", pixels),
        )
    ]
    return [
        jpeg,
        jpeg[:2] + _EXIF + jpeg[2:],
        cv2.imencode(".jpg", pixels, progressive)[1].tobytes(),
        *encoded,
    ]


def _stream() -> list[bytes]:
    jpeg = cv2.imencode(".jpg", textured(1, 24, 32))[1].tobytes()
    head = b"--frame\r\nContent-Type: image/jpeg\r\n"
    counted = head + b"Content-Length: %d\r\n\r\n%s\r\n" % (len(jpeg), jpeg)
    return [counted * 2 + b"--frame--\r\n", (head + b"\r\n" + jpeg + b"\r\n") * 2 + b"--frame\r\n"]


def _weights() -> list[bytes]:
    import io

    import torch
    from safetensors.torch import save

    buffer = io.BytesIO()
    torch.save({"a.weight": torch.zeros(2, 2)}, buffer)
    return [buffer.getvalue(), save(road_signs().state_dict())[:4096]]


def _state_of(config: bytes) -> bytes:
    """A safetensors file without tensors, whose header says so of the method."""
    text = config.decode()
    fields = {
        "format": "edge_tta-state",
        "version": "1",
        "source_sha256": "0",
        "config": text,
        "layout": text,
        "image_shape": "[3, 8, 8]",
        "steps": "1",
        "tensors_sha256": "0",
    }
    head = json.dumps({"__metadata__": fields}).encode()
    return len(head).to_bytes(8, "little") + head


_GOOD = {
    "picture": _pictures,
    "capture": lambda: [b"\0\3\x08\x09\3\0abc", b"\1\2\x08\x09\0\0abc", b"\3\3\4\4\3\0\xff"],
    "jpeg_stream": _stream,
    "state": lambda: [a_state()[1]],
    "weights": _weights,
    "preset": lambda: [b"smoothing = 0.9\nviews = 3\n", b'calibration = "running"\n[a]\nb = 1\n'],
    "class_names": lambda: [b"cat\ndog\n", b'["cat", "dog"]', b'{"0": ["n01", "cat"], "1": "dog"}'],
    "labels": lambda: [b"file,label\na.png,cat\nb.png,1\n", b'ImageId,TrueLabel\n"a,b",2\n'],
    "result_file": lambda: [
        b'{"schema": 1, "environment": {}, "methods": {"a": {}}, "results": [{"error": 0.5}]}'
    ],
    "source": lambda: [
        b"0",
        b"/dev/video9",
        b"clip.mp4",
        b"no*.jpg",
        b"http://user:pass@host:80/stream?a=b",
        b"rtsp://[::1]:554/x",
        b"csi://0?width=640&fps=30",
        b"a ! b",
    ],
    "command_line": lambda: [
        b"demo\0--max-frames\0" + b"3",
        b"--mean\0" + b"0.5\0" + b"0.4\0" + b"0.3\0demo\0--views\0" + b"2\0--reconnect\0inf",
        b"clip.mp4\0--method\0norm\0--show\0--state\0s\0--save-every\0" + b"1e3",
    ],
    "methods": lambda: [
        b"source,norm,tent@scaled,nanoadapt:tent@paper+smoothing=0.9|0.92+views=3",
        b"ablation:tent",
        b"correlated:30",
    ],
}

_DEEP, _DIGITS = b"[" * 100_000, b"9" * 5_000
_LARGE = {
    "class_names": (_DEEP, b'{"0":' * 50_000),
    "labels": (b"file,label\na.png," + _DIGITS + b"\n", b"ImageId,TrueLabel\na," + _DIGITS),
    "preset": (b"views = " + _DEEP, b"views = " + _DIGITS, b"a = {b = " * 5_000),
    "result_file": (_DEEP, b'{"schema": ' + _DIGITS + b"}"),
    "source": (_DIGITS, b"csi://" + _DIGITS, b"/" + b"a" * 5_000, b"a/" * 5_000),
    "state": tuple(
        _state_of(config) for config in (_DEEP, _DIGITS, b"null", b'{"method": {"a": [1e999]}}')
    ),
}
"""Nested deeper and longer than parsers can: what no fuzzer would find by itself."""
