"""The window, on a virtual X server; and the question whether there is a screen."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_tta.show import Window, display_problem

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="X servers are tried on Linux")
needs_windows = pytest.mark.skipif(
    "GUI:                           NONE" in cv2.getBuildInformation(),
    reason="this OpenCV has no windows",
)

PLAYER = """
import sys
import numpy as np
from edge_tta.show import Window
pixels = np.full((120, 160, 3), (200, 100, 0), np.uint8)
with Window("edge-tta test") as window:
    count = 0
    while window.show(pixels):
        count += 1
        if count == 5:
            print("shown", flush=True)
print(window.show(pixels), flush=True)
"""


@pytest.fixture
def display(tmp_path: Path) -> Iterator[str]:
    """The name of a virtual display such as ":99"."""
    server = shutil.which("Xvfb")
    if server is None:
        pytest.skip("Xvfb is not installed")
    read, write = os.pipe()
    with (tmp_path / "xvfb.log").open("wb") as log:
        process = subprocess.Popen(
            [
                server,
                "-displayfd",
                str(write),
                "-screen",
                "0",
                "640x480x24",
                "-nolisten",
                "tcp",
                "-noreset",
            ],
            pass_fds=(write,),
            stdout=log,
            stderr=log,
        )
    os.close(write)
    with os.fdopen(read) as pipe:
        number = pipe.readline().strip()
    try:
        if not number:
            pytest.skip("Xvfb does not start")
        yield f":{number}"
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def _player(display: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", PLAYER],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "DISPLAY": display, "PYTHONPATH": str(Path(__file__).parents[2])},
    ) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "shown\n"
            yield child
        finally:
            child.kill()


def _xdotool(display: str, *arguments: str) -> str:
    tool = shutil.which("xdotool")
    if tool is None:
        pytest.skip("xdotool is not installed")
    return subprocess.run(
        [tool, *arguments],
        env={**os.environ, "DISPLAY": display},
        capture_output=True,
        text=True,
        check=False,  # the window may go between finding it and pressing a key
        timeout=10,
    ).stdout


@needs_linux
def test_no_display_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    problem = display_problem()
    assert problem is not None
    assert problem.startswith("no display")


@needs_linux
def test_a_display_that_does_not_answer_is_a_reason_not_an_abort(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DISPLAY", ":2917")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    problem = display_problem()
    assert problem is not None
    assert "\n" not in problem
    assert ":2917" in problem or "opencv-python-headless" in problem


@needs_linux
@needs_windows
@pytest.mark.parametrize("key", ["q", "Escape"])
def test_a_key_closes_the_window(display: str, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", display)
    assert display_problem() is None
    with _player(display) as child:
        windows = _xdotool(display, "search", "--name", "edge-tta test").split()
        assert windows
        deadline = time.monotonic() + 5
        while child.poll() is None and time.monotonic() < deadline:
            _xdotool(display, "key", "--window", windows[-1], key)
            time.sleep(0.05)
        assert child.poll() == 0
        output, errors = child.communicate()
    assert output == "False\n"
    assert errors == ""


@needs_linux
@needs_windows
def test_frames_reach_the_screen_in_their_colours(display: str, tmp_path: Path) -> None:
    tool = shutil.which("import")
    if tool is None:
        pytest.skip("ImageMagick's import is not installed")
    shot = tmp_path / "shot.png"
    with _player(display):
        subprocess.run([tool, "-display", display, "-window", "root", str(shot)], check=True)
    pixels = cv2.imread(str(shot))
    assert pixels is not None
    shown = (pixels[..., ::-1] == (200, 100, 0)).all(axis=-1).sum()
    assert shown == pytest.approx(120 * 160, rel=0.1)


def test_a_closed_window_shows_nothing_and_needs_no_display() -> None:
    window = Window("never shown")
    window.close()
    assert not window.show(np.zeros((4, 4, 3), np.uint8))
