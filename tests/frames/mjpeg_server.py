"""A JPEG camera: python -m tests.frames.mjpeg_server PORT FPS BREAK_EVERY. Runs until killed."""

from __future__ import annotations

import itertools
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import cv2

from tests.frames.servers import numbered


class Handler(BaseHTTPRequestHandler):
    """Any path: `fps` frames a second, numbered over all connections."""

    fps: ClassVar[float] = 50.0
    break_every: ClassVar[int] = 0
    number: ClassVar[int] = 0

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        start = time.monotonic()
        for sent in itertools.count(1):
            number, Handler.number = Handler.number, Handler.number + 1
            body = cv2.imencode(".jpg", numbered(number)[..., ::-1])[1].tobytes()
            if self.break_every and number % self.break_every == self.break_every - 1:
                body = body[: len(body) // 2]
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(body)}\r\n\r\n"
            try:
                self.wfile.write(head.encode() + body + b"\r\n")
            except OSError:
                return
            time.sleep(max(0.0, start + sent / self.fps - time.monotonic()))

    def log_message(self, format: str, *args: object) -> None:
        """Keep the output clean."""


if __name__ == "__main__":
    Handler.fps, Handler.break_every = float(sys.argv[2]), int(sys.argv[3])
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
