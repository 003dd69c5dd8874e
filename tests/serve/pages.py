"""Pages of runs that tests write."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from edge_tta.frames.source import Pixels
from edge_tta.serve.hub import Hub
from edge_tta.serve.place import Place
from edge_tta.serve.server import PageServer


def picture(level: int = 90, size: tuple[int, int] = (48, 64)) -> Pixels:
    """A grey picture."""
    return np.full((*size, 3), level, np.uint8)


def status(number: int = 0, **changes: Any) -> dict[str, Any]:
    """A status as a run tells it."""
    reading = {"likeliest": [["stop", 0.75], ["<b>yield</b>", 0.25]], "entropy": 0.5}
    return {
        "source": "clip.mp4", "method": "nanoadapt:tent", "frame": number, "name": f"clip#{number}",
        "of": None, "condition": None, "truth": None, "state": "learning",
        "why": "learning: 3 of 16 to an update",
        "adapted": reading, "source_network": reading, "ms": {"adapt": 12.5}, "memory_bytes": 2**28,
        "steps": number, "updates": 3, "paused": False, "dropped": 0, "fps": 24.9,
        "saved": {"at_s": None, "there": False, "problem": None, "onnx": False}, "done": [],
        "guard": None, "answer": None, "alarm_below": None, **changes,
    }  # fmt: skip


VALUES = {"entropy": 0.5, "source_entropy": None, "fps": 24.9}


class Page:
    """A server, its hub, and what was asked of the run. port 0: any that is free."""

    def __init__(
        self,
        host: str = "127.0.0.1",
        token: str | None = None,
        port: int = 0,
        state: Path | None = None,
        onnx: Callable[[], bytes] | None = None,
    ) -> None:
        self.hub = Hub()
        self.asked: list[str] = []
        self.server = PageServer(Place(host, port, token), self.hub, self.ask, state, onnx)
        self.port = int(self.server.url.split("?")[0].rstrip("/").rpartition(":")[2])

    def ask(self, wish: str) -> int:
        if wish == "nonsense":
            raise ValueError
        self.asked.append(wish)
        return len(self.asked)

    def publish(self, number: int = 0, **changes: Any) -> None:
        self.hub.publish(picture(number % 200), status(number, **changes), VALUES)

    def request(
        self, path: str, method: str = "GET", **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of an answer that ends."""
        with self.open(path, method, **headers) as answer:
            return answer.status, dict(answer.getheaders()), answer.read()

    @contextmanager
    def open(
        self, path: str, method: str = "GET", **headers: str
    ) -> Iterator[http.client.HTTPResponse]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            given = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, headers=given)
            with connection.getresponse() as answer:
                yield answer
        finally:
            connection.close()


@contextmanager
def serving(**options: Any) -> Iterator[Page]:
    """A page that is closed in the end."""
    page = Page(**options)
    try:
        yield page
    finally:
        page.server.close()


def message(answer: http.client.HTTPResponse) -> tuple[dict[str, Any], bytes]:
    """The next message of /live that tells something, and its JPEG."""
    while True:
        told = json.loads(answer.readline())
        jpeg = answer.read(told["jpeg"])
        if len(told) > 1:
            return told, jpeg


def statuses(answer: http.client.HTTPResponse, count: int) -> list[dict[str, Any]]:
    """The next so many statuses."""
    return [message(answer)[0]["status"] for _ in range(count)]
