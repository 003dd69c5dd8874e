"""Commands with processes at work that are told to end: so are these, and one line says it."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.bench.pictures import LABELS, pictures
from tests.cli.commands import Result, start

NET = """
import multiprocessing, os, sys, time
import torch
from torch import nn

class Waits(nn.Module):
    def forward(self, images):
        if multiprocessing.parent_process() or sys.argv[0].endswith("worker.py"):
            with open({at_work!r}, "a") as file:
                print(os.getpid(), file=file)
            time.sleep(300)
        return images.mean((2, 3))

def make():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), Waits())
"""

COMMANDS = {
    "error": (2, "bench error --data set.npz --methods norm --threads 2 --seeds 10"),
    "latency": (1, "bench latency --methods norm --peers none --threads 1"),
    "memory": (1, "bench memory --methods norm --peers none"),
    "faults": (1, "bench faults"),
}
"""How many processes are at work, and the command."""

needs_proc = pytest.mark.skipif(
    not Path("/proc/self/task").exists(), reason="children are asked of Linux"
)
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")


def _ended(
    folder: Path,
    name: str,
    number: int,
    *,
    group: bool = False,
    one: bool = False,
    early: bool = False,
) -> Result:
    """A command that got a signal while its processes were at work, which then are no more.

    group: all of its processes got it, as a terminal does it; one: one of those at work, alone.
    early: when the processes had only begun to start.
    """
    set_ = folder / "set.npz"
    np.savez(set_, images=pictures(0), labels=LABELS)
    at_work = folder / "processes"
    (folder / "net.py").write_text(NET.format(at_work=str(at_work)))
    processes, command = COMMANDS[name]
    words = command.replace("set.npz", str(set_)).split()
    process = start(*words, "--model", f"{folder / 'net.py'}:make", apart=True)
    with process:
        try:
            deadline = time.monotonic() + 200
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
            while not (
                len(children.read_text().split()) > processes  # one tracks what they share
                if early
                else at_work.exists() and at_work.read_text().count("\n") == processes
            ):
                assert process.poll() is None, process.communicate()
                assert time.monotonic() < deadline
                time.sleep(0.02)
            if one:
                os.kill(int(at_work.read_text().split()[0]), number)
            elif group:
                os.killpg(process.pid, number)
            else:
                os.kill(process.pid, number)
            out, err = process.communicate(timeout=120)
        finally:
            process.kill()
    for at in at_work.read_text().split() if at_work.exists() else ():
        with pytest.raises(ProcessLookupError):
            os.kill(int(at), 0)
    return Result(process.returncode, out, err)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_processes_at_work_end_with_the_command(name: str, tmp_path: Path) -> None:
    result = _ended(tmp_path, name, signal.SIGTERM)
    assert result.code == 143
    assert result.err.splitlines()[-1] == "edge-tta: terminated"
    assert "Traceback" not in result.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=str)
@pytest.mark.parametrize(
    ("name", "early"),
    [("error", False), ("faults", False), pytest.param("error", True, marks=needs_proc)],
)
def test_a_signal_to_all_of_them_is_told_by_the_command_alone(
    name: str, early: bool, number: signal.Signals, tmp_path: Path
) -> None:
    result = _ended(tmp_path, name, number, group=True, early=early)
    assert result.code == 128 + number
    said = [line for line in result.err.splitlines() if "looks untrained" not in line]
    assert said == ["edge-tta: interrupted" if number == signal.SIGINT else "edge-tta: terminated"]


def test_what_another_thread_takes_is_held_too() -> None:
    script = (
        "import os, signal, threading, time; from bench.signals import held\n"
        "threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
        "try:\n"
        "    with held():\n"
        "        os.kill(os.getpid(), signal.SIGINT); time.sleep(0.1); print('whole', flush=True)\n"
        "    print('never')\n"
        "except KeyboardInterrupt: print('then', flush=True)"
    )
    process = start(python=("-c", script), apart=True)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out, err) == (0, "whole\nthen\n", "")


def test_what_nohup_ignores_stays_ignored() -> None:
    script = (
        "import os, signal, sys; from bench.signals import end_silently; "
        "signal.signal(signal.SIGHUP, signal.SIG_IGN); end_silently(); "
        "os.kill(os.getpid(), signal.SIGHUP); print('on', flush=True); "
        "os.kill(os.getpid(), signal.SIGTERM); print('never')"
    )
    process = start(python=("-c", script))
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out, err) == (-signal.SIGTERM, "on\n", "")


def test_a_process_that_the_system_ends_is_told(tmp_path: Path) -> None:
    result = _ended(tmp_path, "error", signal.SIGKILL, one=True)
    assert result.code == 1
    assert "take fewer --threads" in result.err.splitlines()[-1]
    assert "Traceback" not in result.err
