"""Ctrl-C and the termination signal: nothing is lost."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import cv2
import pytest

from tests.cli.commands import call, records, start

# A shell may start tests in the background with Ctrl-C ignored, which children inherit.
_HEEDING_CTRL_C = (
    "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from edge_tta.cli.main import main; sys.exit(main())"
)


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=str)
def test_a_signal_finishes_the_frame_and_closes_every_file(
    number: signal.Signals, code: int, tmp_path: Path
) -> None:
    log, video = tmp_path / "out.jsonl", tmp_path / "out.mp4"
    state = tmp_path / "state.safetensors"
    process = start(
        *("run", "demo", "--jsonl", log, "--save", video, "--state", state),
        python=("-c", _HEEDING_CTRL_C),
    )
    with process:
        try:
            _wait_for_lines(process, log, 5)
            process.send_signal(number)
            out, err = process.communicate(timeout=120)
        finally:
            process.kill()
    assert process.returncode == code, err
    assert "Traceback" not in err
    seen = records(log)
    assert 5 <= len(seen) < 1800
    assert f"{len(seen)} frames" in out
    assert _frames_in(video) == len(seen)
    # A slow machine has saved before.
    left = {path.name for path in tmp_path.iterdir()} - {f"{state.name}.previous"}
    assert left == {log.name, video.name, state.name}

    last = seen[-1]["step"]
    resumed = call("run", "demo", "--max-frames", 1, "--state", state, "--jsonl", log)
    assert resumed.code == 0
    assert f"at step {last}" in resumed.err
    assert [record["step"] for record in records(log)] == [last + 1]


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
def test_waiting_for_an_address_that_does_not_answer_is_broken_off(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}/stream"
        state = tmp_path / "state.safetensors"
        process = start("run", address, "--state", state, python=("-c", _HEEDING_CTRL_C))
        with process:
            try:
                server.settimeout(200)
                connection, _ = server.accept()
                with connection:
                    process.send_signal(signal.SIGINT)
                    out, err = process.communicate(timeout=120)
            finally:
                process.kill()
    assert (process.returncode, out, err) == (130, "", "")
    assert not state.exists()


def _wait_for_lines(process: subprocess.Popen[str], log: Path, lines: int) -> None:
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline:
        if log.exists() and log.read_text().count("\n") >= lines:
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    pytest.fail("the run wrote nothing")


def _frames_in(video: Path) -> int:
    capture = cv2.VideoCapture(str(video))
    count = 0
    while capture.read()[0]:
        count += 1
    capture.release()
    return count
