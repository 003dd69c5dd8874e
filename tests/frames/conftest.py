"""Small pictures, clips and a web server to read them from."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
import pytest

from edge_tta.frames.quiet import quiet_opencv
from tests.frames.media import Pixels, Save, textured


@pytest.fixture
def save() -> Save:
    """Write an RGB (or grey, or RGBA) array as an image file, making folders on the way."""

    def write(path: Path, pixels: Pixels) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        if pixels.ndim == 3:
            codes = {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}
            pixels = np.asarray(cv2.cvtColor(pixels, codes[pixels.shape[2]]))
        assert cv2.imwrite(str(path), pixels)
        return path

    return write


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """20 frames at 10 per second; frame i has the grey value 10 + 10 i."""
    path = tmp_path / "clip.avi"
    with quiet_opencv():  # FFmpeg reads its level once in a process
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (64, 48))
    assert writer.isOpened()
    for number in range(20):
        writer.write(np.full((48, 64, 3), 10 + 10 * number, np.uint8))
    writer.release()
    return path


def _md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    """/stream (40 different frames; /unnamed: without a boundary's name), /login (Basic), /digest,
    /rude (a 404 with control characters) and `files`; else 404."""

    files: ClassVar[dict[str, tuple[str, bytes]]] = {}

    def do_GET(self) -> None:
        if self.path in ("/stream", "/unnamed"):
            self._stream("frame" if self.path == "/stream" else "")
        elif self.path == "/digest" and not self._knows_digest():
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Digest realm="cam", nonce="abc", qop="auth"')
            self.end_headers()
        elif self.path == "/rude":
            self._send(b"HTTP/1.0 404 \x1b[31mred\x07\r\n\r\n")
        elif self.path == "/login" and self.headers["Authorization"] != "Basic dXNlcjpwQHNz":
            self.send_error(401)
        elif self.path in self.files:
            kind, body = self.files[self.path]
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self._send(body)
        else:
            self.send_error(404)

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test output clean."""

    def _knows_digest(self) -> bool:
        """Whether the request answers the challenge with user and p@ss (RFC 7616, 3.4.1)."""
        fields = dict(re.findall(r'(\w+)="?([^",]+)', self.headers["Authorization"] or ""))
        middle = ":".join(fields.get(name, "") for name in ("nonce", "nc", "cnonce", "qop"))
        secret, place = _md5("user:cam:p@ss"), _md5(f"GET:{self.path}")
        return fields.get("response") == _md5(f"{secret}:{middle}:{place}")

    def _stream(self, boundary: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={boundary}")
        self.end_headers()
        for seed in range(40):
            body = cv2.imencode(".jpg", textured(seed)[..., ::-1])[1].tobytes()
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(body)}\r\n\r\n"
            if not self._send(head.encode() + body + b"\r\n"):
                return
            threading.Event().wait(0.01)

    def _send(self, body: bytes) -> bool:
        try:
            self.wfile.write(body)
        except ConnectionError:
            return False
        return True


@pytest.fixture
def server(clip: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a running web server, such as "http://127.0.0.1:40000"."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    photo = cv2.imencode(".png", textured(0)[..., ::-1])[1].tobytes()
    _Handler.files = {
        "/photo": ("image/png", photo),
        "/login": ("image/png", photo),
        "/digest": ("image/png", photo),
        "/untyped": ("application/octet-stream", photo),
        "/my%20vid%C3%A9o.png": ("image/png", photo),
        "/clip.avi": ("video/x-msvideo", clip.read_bytes()),
        "/page": ("text/html; charset=utf-8", b"<html></html>"),
    }
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as running:
        threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
