"""`edge-tta run` of a network camera that goes away and comes back."""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from edge_tta.checkpoint import load_state
from tests.cli.commands import call, start
from tests.frames.servers import camera, free_port, mjpeg_command


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def test_a_camera_that_is_unplugged_for_good_loses_nothing(tmp_path: Path) -> None:
    port, state, log = free_port(), tmp_path / "state.safetensors", tmp_path / "log.jsonl"
    with camera(mjpeg_command(port, fps=25.0), port) as running:
        later = threading.Thread(target=lambda: (_until(log, 5), running.kill()))
        later.start()
        result = call(
            *("run", f"http://127.0.0.1:{port}/stream", "--reconnect", 0.5),
            *("--state", state, "--save-every", 1e6, "--jsonl", log),
        )
        later.join()
    assert result.code == 1
    lines = result.err.splitlines()
    assert lines[-1].startswith(f"edge-tta: http://127.0.0.1:{port}/stream: no picture in 30 reads")
    assert lines[-1].endswith("check the connection and start again")
    assert any("looking for it again for 0.5 s" in line for line in lines)
    assert "Traceback" not in result.err
    steps = [json.loads(line)["step"] for line in log.read_text().splitlines()]
    assert steps
    # A camera is learned from beside: what was on its way at the last record is saved too.
    assert steps[-1] <= load_state(state)[1].steps <= len(steps)


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
def test_a_camera_that_comes_back_is_used_again_and_the_search_can_be_broken_off(
    tmp_path: Path,
) -> None:
    port, log, state = free_port(), tmp_path / "log.jsonl", tmp_path / "state.safetensors"
    with camera(mjpeg_command(port, fps=25.0), port) as running:
        process = start(
            *("run", f"http://127.0.0.1:{port}/stream", "--reconnect", "inf"),
            *("--method", "norm", "--jsonl", log, "--state", state),
        )
        with process:
            try:
                _until(log, 8)
                running.kill()
                time.sleep(0.5)
                running.start()
                _until(log, 30)
                running.kill()
                time.sleep(2.0)  # 30 empty reads are one second
                process.send_signal(signal.SIGTERM)
                asked_s = time.monotonic()
                out, err = process.communicate(timeout=120)
            finally:
                process.kill()
    assert process.returncode == 143, err
    assert time.monotonic() - asked_s < 30
    assert "lost and found again: 1 times" in out
    assert err.count("looking for it again\n") == 2
    assert err.count("found again after") == 1
    seen = [json.loads(line) for line in log.read_text().splitlines()]
    assert [record["frame"] for record in seen] == list(range(len(seen)))
    assert seen[-1]["step"] <= load_state(state)[1].steps <= len(seen)


def _until(log: Path, lines: int) -> None:
    deadline = time.monotonic() + 100
    while not log.exists() or log.read_text().count("\n") < lines:
        assert time.monotonic() < deadline
        time.sleep(0.05)
