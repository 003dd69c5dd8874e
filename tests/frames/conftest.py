"""Small pictures, clips and a web server to read them from."""

from __future__ import annotations

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


class _Handler(BaseHTTPRequestHandler):
    """/photo.jpg, /stream (40 different frames), /clip.avi, /page, /login; else 404."""

    files: ClassVar[dict[str, tuple[str, bytes]]] = {}

    def do_GET(self) -> None:
        if self.path == "/stream":
            self._stream()
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

    def _stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
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
        "/clip.avi": ("video/x-msvideo", clip.read_bytes()),
        "/page": ("text/html; charset=utf-8", b"<html></html>"),
    }
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as running:
        threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
