"""Exit codes, help, and failures in one line."""

from __future__ import annotations

import importlib
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import edge_tta
from edge_tta.cli import main as entry
from edge_tta.cli import values
from edge_tta.errors import EdgeTTAError
from tests.cli.commands import ROOT, assert_one_line_of_advice, call, needs_torch, spawn, start

HELPED = (
    (),
    ("run",),
    ("doctor",),
    ("corrupt",),
    ("bench",),
    ("bench", "error"),
    ("export",),
    ("export", "folded"),
    ("export", "delta"),
)


@needs_torch
@pytest.mark.parametrize("words", HELPED, ids=" ".join)
def test_every_subcommand_explains_itself(words: tuple[str, ...]) -> None:
    result = call(*words, "--help")
    assert result.code == 0
    assert result.out.startswith(f"usage: {' '.join(('edge-tta', *words))}")
    assert result.err == ""


def test_help_names_every_subcommand() -> None:
    shown = call("--help").out
    assert all(name in shown for name in ("run", "bench", "export", "corrupt", "doctor"))


def test_every_listed_subcommand_can_be_imported() -> None:
    for module, _ in entry.COMMANDS.values():
        assert callable(importlib.import_module(module).main)


def test_the_version_is_that_of_the_package() -> None:
    result = call("--version")
    assert (result.code, result.out) == (0, f"edge-tta {edge_tta.__version__}\n")


@needs_torch
@pytest.mark.parametrize(
    "words",
    [
        (),
        ("nonsense",),
        ("run",),
        ("run", "demo", "--nonsense"),
        ("run", "demo", "--max-frames", "0"),
        ("run", "demo", "--max-frames", "many"),
        ("run", "demo", "--adapt-every", "0"),
        ("run", "demo", "--fps", "0"),
        ("run", "demo", "--fps", "nan"),
        ("run", "demo", "--mean", "red"),
        ("run", "demo", "--show", "--headless"),
        ("bench",),
        ("bench", "error", "--data", "x.npz"),
        ("bench", "error", "--model", "demo", "--data", "x.npz", "--severity", "6"),
        ("bench", "error", "--model", "demo", "--data", "x.npz", "--batch-size", "1,0"),
        ("corrupt", "x.npz"),
        ("export", "nonsense"),
        ("export", "folded", "--model", "demo"),
    ],
    ids=lambda words: " ".join(words) or "nothing",
)
def test_a_wrong_command_line_is_exit_code_2_and_a_line_or_the_usage(
    words: tuple[str, ...],
) -> None:
    result = call(*words)
    assert result.code == 2
    lines = result.err.splitlines()
    if result.err.startswith("usage: edge-tta"):  # commands are few, and all are shown
        assert words in ((), ("bench",), ("export", "nonsense")) or len(words) == 1
    else:
        assert len(lines) == 1
        assert lines[0].startswith("edge-tta ")
        assert ": error: " in lines[0]
        assert lines[0].endswith("--help)")
    assert "Traceback" not in result.err
    assert result.out == ""


@needs_torch
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("run", "no/such/folder"), ("no/such/folder", "check the path")),
        (("run", "demo", "--model", "nonsense"), ("'nonsense'", "torchvision:NAME")),
        (("run", "demo", "--model", "gone.py:make"), ("gone.py", "check the path")),
        (("run", "demo", "--model", "torchvision:resnet81"), ("did you mean", "resnet18")),
        (("run", "demo", "--weights", "gone.pt"), ("gone.pt",)),
        (("run", "demo", "--preset", "nonsense"), ("'nonsense'", "edge, paper")),
        (("run", "demo", "--preset", "gone.toml"), ("gone.toml",)),
        (("run", "demo", "--method", "nonsense"), ("'nonsense'", "nanoadapt")),
        (("run", "demo", "--host", "nonsense"), ("'nonsense'", "tent")),
        (("run", "demo", "--compare", "source,nonsense"), ("'nonsense'", "nanoadapt")),
        (("run", "demo", "--views", "6"), ("views", "from 0 to 5", "6")),
        (("run", "demo", "--device", "nonsense"), ("'nonsense'", "cuda")),
        (("run", "demo", "--scale", "0"), ("scale", "above 0")),
        (("run", "demo", "--std", "0,1,1"), ("std above 0",)),
        (("run", "demo", "--mean", "0.1,0.2"), ("1 or 3 values",)),
        (("run", "demo", "--labels", "gone.txt"), ("gone.txt",)),
        (("run", "demo", "--save", "gone/x.mp4"), ("gone", "make it first")),
        (("run", "demo", "--save", "x.gif"), (".gif", ".mp4")),
        (("run", "demo", "--jsonl", "gone/x.jsonl"), ("gone", "make it first")),
        (("run", "demo", "--state", "gone/x.safetensors"), ("gone", "make it first")),
        (("run", "demo", "--plot", "gone/x.png"), ("gone", "make it first")),
        (("run", "demo", "--plot", "x.txt"), ("x.txt", ".png")),
        (("bench", "error", "--model", "demo", "--data", "gone.npz"), ("gone.npz",)),
        (("bench", "error", "--model", "demo", "--data", "gone"), ("gone", "CIFAR-C")),
        (
            ("bench", "error", "--model", "demo", "--data", "x.npz", "--methods", "tnet"),
            ("'tnet'", "tent"),
        ),
        (
            ("bench", "error", "--model", "demo", "--data", "x.npz", "--order", "sorted"),
            ("'sorted'", "correlated:L"),
        ),
        (("corrupt", "gone.npz", "out.npz"), ("gone.npz",)),
        (("corrupt", "gone", "out"), ("gone", "folder")),
        (("corrupt", "gone.npz", "out.npz", "--corruption", "smoke"), ("'smoke'", "fog")),
        (
            ("export", "folded", "--model", "demo", "--state", "gone.st", "--out", "x.safetensors"),
            ("gone.st", "check the path"),
        ),
        (
            ("export", "delta", "--model", "demo", "--state", "gone.st", "--out", "x.pt"),
            ("x.pt", ".safetensors"),
        ),
    ],
    ids=lambda value: " ".join(value[-2:]),
)
def test_a_mistake_is_one_line_and_exit_code_1(
    words: tuple[str, ...],
    said: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert_one_line_of_advice(call(*words), *said)
    assert not list(tmp_path.iterdir())


@needs_torch
def test_bench_on_a_device_that_does_not_exist_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    images = np.full((2, 64, 64, 3), 90, np.uint8)
    np.savez("set.npz", images=images, labels=np.array([0, 1]))
    words = ("bench", "error", "--model", "demo", "--data", "set.npz", "--methods", "source")
    assert_one_line_of_advice(call(*words, "--device", "nonsense"), "nonsense", "cpu")


def test_an_error_of_many_lines_is_told_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    _replace_doctor(monkeypatch, EdgeTTAError("first\n  second"))
    result = call("doctor")
    assert (result.code, result.err) == (1, "edge-tta: first second\n")


def test_an_interruption_is_exit_code_130_without_traceback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _replace_doctor(monkeypatch, KeyboardInterrupt())
    result = call("doctor")
    assert (result.code, result.err) == (130, "edge-tta: interrupted\n")


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=str)
def test_a_termination_signal_leaves_nothing_half_made(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def work(arguments: list[str]) -> int:
        with tempfile.TemporaryDirectory(dir=tmp_path):
            assert list(tmp_path.iterdir())
            signal.raise_signal(number)
        return 0

    before = signal.signal(number, signal.SIG_DFL)
    try:
        monkeypatch.setattr(importlib.import_module("edge_tta.cli.doctor"), "main", work)
        result = call("doctor")
        assert signal.getsignal(number) is signal.SIG_DFL
    finally:
        signal.signal(number, before)
    assert (result.code, result.err) == (128 + number, "edge-tta: terminated\n")
    assert not list(tmp_path.iterdir())


def test_a_bug_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    _replace_doctor(monkeypatch, ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        call("doctor")


def test_doctor_tells_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("COLUMNS", "160")
    result = call("doctor")
    assert (result.code, result.err) == (0, "")
    for word in (edge_tta.__version__, "PyTorch", "OpenCV", "video .mp4", "display"):
        assert word in result.out


def test_three_words_after_mean_are_one_value_a_channel() -> None:
    given = ["--mean", "0.5", "0.4", "-0.3", "demo", "--std", "1,2,3", "--scale", "1"]
    assert values.joined_numbers(given) == [
        "--mean=0.5,0.4,-0.3",
        "demo",
        "--std",
        "1,2,3",
        "--scale",
        "1",
    ]


def test_as_a_module_it_is_the_same_program_and_starts_without_pytorch() -> None:
    result = spawn("--version")
    assert (result.code, result.err) == (0, "")
    assert result.out == f"edge-tta {edge_tta.__version__}\n"
    light = "import sys, edge_tta.cli.main; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", light], cwd=ROOT, check=True, timeout=240)


def test_a_process_ends_with_the_exit_code_and_one_line() -> None:
    result = spawn("run", "no/such/folder")
    assert_one_line_of_advice(result, "no/such/folder")


def test_a_reader_that_goes_away_leaves_no_traceback() -> None:
    """`edge-tta run ... --jsonl - | head -1`."""
    process = start("run", "demo", "--max-frames", "60", "--jsonl", "-")
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline().startswith("{")
    process.stdout.close()
    said = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=240) == 1
    assert "Traceback" not in said
    assert "Exception" not in said


def _replace_doctor(monkeypatch: pytest.MonkeyPatch, failure: BaseException) -> None:
    def fail(argv: object) -> int:
        raise failure

    replacement: Callable[[object], int] = fail
    monkeypatch.setattr("edge_tta.cli.doctor.main", replacement)
