"""Cameras on the loopback: processes that can be killed in mid-stream and started again."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.frames.media import Pixels

HERE = Path(__file__).parent
SIDE, BITS = 16, 12
"""The number of a frame is written into it: a row of black and white squares, lowest bit first."""


def numbered(number: int, height: int = 96) -> Pixels:
    """A picture (height, 192, 3) that carries its number, and differs from all others."""
    pixels = np.full((height, SIDE * BITS, 3), 90, np.uint8)
    pixels[height // 2 :] = np.linspace(20, 235, SIDE * BITS, dtype=np.uint8)[:, None]
    pixels[-SIDE:, :, 1] = 60 + number % 100
    for bit in range(BITS):
        if number >> bit & 1:
            pixels[:SIDE, bit * SIDE : (bit + 1) * SIDE] = 250
        else:
            pixels[:SIDE, bit * SIDE : (bit + 1) * SIDE] = 10
    return pixels


def number_in(pixels: Pixels) -> int:
    """The number that `numbered` wrote, also after lossy coding."""
    squares = pixels[:SIDE].mean((0, 2)).reshape(BITS, SIDE).mean(1)
    return sum(1 << bit for bit in range(BITS) if squares[bit] > 128)


def free_port() -> int:
    """A port that nobody uses just now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


class Camera:
    """A server process. `command` must be listening on `port` soon after its start."""

    def __init__(self, command: Sequence[str], port: int, *, probe: bool = True) -> None:
        self._command, self.port, self._probe = [*command], port, probe
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it listens."""
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": str(HERE.parents[1])},
        )
        deadline = time.monotonic() + 30
        while self._probe:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), 0.2).close()
                return
            assert self._process.poll() is None, self._output()
            assert time.monotonic() < deadline, "the server does not listen"
            time.sleep(0.05)

    def kill(self) -> None:
        """End it at once, like a power cut."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None

    def _output(self) -> str:
        assert self._process is not None
        assert self._process.stdout is not None
        return self._process.stdout.read().decode("utf-8", "replace")


@contextlib.contextmanager
def camera(command: Sequence[str], port: int, *, probe: bool = True) -> Iterator[Camera]:
    """A running server, killed at the end."""
    running = Camera(command, port, probe=probe)
    try:
        running.start()
        yield running
    finally:
        running.kill()


def mjpeg_command(port: int, fps: float = 50.0, break_every: int = 0) -> list[str]:
    """Numbered JPEGs over HTTP; every `break_every`-th breaks off in the middle."""
    words = ("-m", "tests.frames.mjpeg_server", str(port), str(fps), str(break_every))
    return [sys.executable, *words]


def ffmpeg_command(port: int) -> list[str]:
    """A test picture as MPEG-4 in a transport stream over TCP; serves one connection."""
    return [
        _needed("ffmpeg"),
        *("-loglevel", "error", "-re", "-f", "lavfi", "-i", "testsrc=size=160x120:rate=25"),
        *("-vf", "noise=alls=20:allf=t", "-c:v", "mpeg4", "-g", "10", "-f", "mpegts"),
        f"tcp://127.0.0.1:{port}?listen=1",
    ]


def rtsp_command(port: int) -> list[str]:
    """A test picture by RTSP, from GStreamer's server and the system's Python bindings of it."""
    python = "/usr/bin/python3"
    script = str(HERE / "rtsp_server.py")
    if not Path(python).exists() or subprocess.run([python, script, "0"], check=False).returncode:
        pytest.skip(
            "no RTSP server: apt install python3-gi gir1.2-gst-rtsp-server-1.0 "
            "gstreamer1.0-plugins-good"
        )
    return [python, script, str(port)]


def _needed(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"no {program}: apt install {program}")
    return path
