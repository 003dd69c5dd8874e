"""Videos through pipes: every frame, an ordinary end, and waits that a signal breaks off."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import FrameType

import cv2
import numpy as np
import pytest

from edge_tta.errors import SourceError
from edge_tta.frames import open_source
from edge_tta.frames.pipes import PipeCapture, open_pipe
from edge_tta.frames.source import Pick

_COUNT = (
    "import sys; from edge_tta.frames import open_source\n"
    "with open_source(sys.argv[1]) as source: print(source.name, sum(1 for _ in source))"
)


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    """A named pipe that nobody writes into."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    return path


def _write(pipe: Path, data: bytes) -> threading.Thread:
    """Write into the pipe as soon as it is read."""
    thread = threading.Thread(target=pipe.write_bytes, args=(data,), daemon=True)
    thread.start()
    return thread


def test_a_named_pipe_gives_every_frame_and_ends(clip: Path, pipe: Path) -> None:
    writer = _write(pipe, clip.read_bytes())
    with open_source(str(pipe), stride=2) as source:
        assert source.name == "pipe"
        assert source.length is None
        assert len(list(source)) == 10
        assert not source.dropped
    writer.join()


@pytest.mark.parametrize("spec", ["-", "/dev/stdin"])
@pytest.mark.parametrize("piped", [True, False])
def test_standard_input_is_a_pipe_or_a_file(clip: Path, spec: str, piped: bool) -> None:
    command = [sys.executable, "-c", _COUNT, spec]
    with clip.open("rb") as file:
        if piped:
            done = subprocess.run(command, input=file.read(), capture_output=True, check=False)
        else:
            done = subprocess.run(command, stdin=file, capture_output=True, check=False)
    assert done.stdout.split()[-1] == b"20", done.stderr


def test_an_empty_standard_input_says_what_to_do() -> None:
    command = [sys.executable, "-c", _COUNT, "-"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    assert b"pipe one into it: ffmpeg" in done.stderr


def test_a_pipe_that_nobody_writes_into_is_given_up(pipe: Path) -> None:
    with pytest.raises(SourceError, match=r"within 0.05 s; start the program that writes"):
        open_pipe(pipe, Pick(), limit_s=0.05)
    _write(pipe, b"x").join()  # lets the waiting thread go


def test_what_is_no_video_is_told_with_a_format_that_is(pipe: Path) -> None:
    writer = _write(pipe, b"hello " * 100)
    with pytest.raises(SourceError, match="matroska - > "):
        open_source(str(pipe))
    writer.join()


class _Silent:
    """A capture whose writer never sends: a signal comes while it waits."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.released = False

    def grab(self) -> bool:
        os.kill(os.getpid(), signal.SIGUSR1)
        self.go_on.wait()
        return False

    def retrieve(self) -> tuple[bool, np.ndarray | None]:
        return False, None

    def get(self, prop_id: int, /) -> float:
        return 7.0

    def release(self) -> None:
        self.released = True


class _StopError(Exception):
    pass


def test_a_signal_breaks_off_the_wait_for_a_frame() -> None:
    def stop(number: int, frame: FrameType | None) -> None:
        raise _StopError

    silent = _Silent()
    capture = PipeCapture(silent, "pipe")
    before = signal.signal(signal.SIGUSR1, stop)
    try:
        with pytest.raises(_StopError):
            capture.grab()
    finally:
        signal.signal(signal.SIGUSR1, before)
    capture.release()
    assert not silent.released  # the thread still has it
    silent.go_on.set()
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 0.0
    assert capture.get(cv2.CAP_PROP_FPS) == 7.0
