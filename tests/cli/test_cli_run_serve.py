"""`edge-tta run --serve`: a run as its page sees and steers it."""

from __future__ import annotations

import http.client
import json
import re
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.commands import assert_one_line_of_advice, call, needs_torch, start
from tests.cli.test_cli_stop import _HEEDING_CTRL_C
from tests.serve.pages import message, statuses

pytest.importorskip("bottle", reason="the page needs bottle: pip install 'edge-tta[serve]'")


@needs_torch
@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
def test_a_run_is_watched_paused_saved_reset_and_ended_from_outside(tmp_path: Path) -> None:
    state = tmp_path / "state.safetensors"
    words = ("run", "demo", "--serve", "0", "--headless", "--state", state, "--save-every", "1e6")
    process = start(*words, python=("-c", _HEEDING_CTRL_C))
    assert process.stderr is not None
    with process:
        try:
            said = process.stderr.readline()
            match = re.fullmatch(r"watch at http://127\.0\.0\.1:(\d+)/\n", said)
            assert match, said
            port = int(match[1])
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            connection.request("GET", "/live")
            answer = connection.getresponse()
            seen = _until(answer, lambda status: status["source_network"] is not None)
            assert seen["source"] == "demo"
            assert seen["state"] == "learning"
            assert len(seen["adapted"]["likeliest"]) == 4
            assert seen["guard"]["falls"] == 0
            assert seen["saved"] == {"at_s": None, "there": False, "problem": None, "onnx": False}
            _ask(port, "pause")
            paused = _until(answer, lambda status: status["state"] == "paused")
            later = _until(answer, lambda status: status["frame"] > paused["frame"] + 5)
            assert later["steps"] == paused["steps"]
            assert not state.exists()
            number = _ask(port, "save")
            done = _until(answer, lambda status: _done(status, number))
            assert done["done"][-1]["problem"] is None
            assert state.exists()
            assert done["saved"]["at_s"] is not None
            assert done["saved"]["onnx"]
            state.unlink()
            state.mkdir()
            number = _ask(port, "save")
            done = _until(answer, lambda status: _done(status, number))
            assert "it is a folder" in done["done"][-1]["problem"] or done["done"][-1]["problem"]
            state.rmdir()
            _ask(port, "reset")
            _until(answer, lambda status: status["steps"] == 0)
            _ask(port, "resume")
            again = _until(answer, lambda status: status["state"] == "learning")
            assert again["steps"] < again["frame"]

            process.send_signal(signal.SIGINT)
            while "end" not in (told := message(answer)[0]):
                pass
            assert told["end"]
            out, err = process.communicate(timeout=120)
        finally:
            process.kill()
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "frames" in out


def test_what_cannot_be_served_is_told_in_one_line_before_the_network_is_loaded() -> None:
    assert_one_line_of_advice(call("run", "demo", "--serve", "x"), "[HOST:]PORT")
    assert_one_line_of_advice(call("run", "demo", "--token", "abcdefgh1"), "--serve")
    bad = call("run", "demo", "--serve", "0", "--token", "x")
    assert_one_line_of_advice(bad, "token must be")


def test_a_token_from_a_file_or_the_environment_is_the_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "token"
    path.write_text("fromthefile1\n")
    monkeypatch.setenv("EDGE_TTA_TOKEN", "fromtheenvironment1")
    for words, token in (((), "fromtheenvironment1"), (("--token-file", path), "fromthefile1")):
        result = call("run", "demo", "--max-frames", 1, "--serve", 0, *words)
        assert result.code == 0, result.err
        assert f"?token={token}" in result.err
    both = call("run", "demo", "--serve", "0", "--token-file", path, "--token", "abcdefgh1")
    assert_one_line_of_advice(both, "leave one out")
    assert_one_line_of_advice(call("run", "demo", "--token-file", path), "--serve")


def test_a_port_that_is_taken_is_told_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = call("run", "demo", "--max-frames", 1, "--serve", port)
    assert_one_line_of_advice(result, f"127.0.0.1:{port}", "another port")


def _done(status: dict[str, Any], number: int) -> bool:
    return any(done["number"] == number for done in status["done"])


def _ask(port: int, wish: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("POST", f"/ask/{wish}", headers={"X-Edge-TTA": "1"})
    answer = connection.getresponse()
    assert answer.status == 202
    number = json.loads(answer.read())["number"]
    connection.close()
    return int(number)


def _until(
    answer: http.client.HTTPResponse, true: Callable[[dict[str, Any]], bool]
) -> dict[str, Any]:
    """The first status for which it is true."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        (status,) = statuses(answer, 1)
        if true(status):
            return dict(status)
    pytest.fail("it did not come")
