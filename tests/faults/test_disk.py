"""Full disks, read-only folders, pulled sticks, killed writers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import cv2
import pytest
import torch

from edge_tta.adapter import Adapter
from edge_tta.checkpoint import load_state
from edge_tta.errors import OutputError
from edge_tta.files import remove_leftovers, whole_file
from edge_tta.run.sinks import keeper
from edge_tta.run.sinks.keeper import StateKeeper
from tests.cli.commands import ROOT, Result, call, records
from tests.frames.media import textured
from tests.networks import network

POSIX = pytest.mark.skipif(os.name != "posix", reason="POSIX's")


def _pictures(folder: Path, count: int) -> Path:
    folder.mkdir()
    for number in range(count):
        cv2.imwrite(str(folder / f"{number}.png"), textured(number))
    return folder


def _limited(limit: int, *words: object) -> Result:
    """`edge-tta words...` where no file can grow beyond `limit` bytes, as on a full disk."""
    limited = (
        "import resource, sys; from edge_tta.cli.main import main; "
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit})); sys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", limited, *(str(word) for word in words)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )
    return Result(done.returncode, done.stdout, done.stderr)


@POSIX
def test_a_disk_that_is_full_does_not_end_the_run_and_the_old_state_stays(tmp_path: Path) -> None:
    pictures, state = _pictures(tmp_path / "in", 6), tmp_path / "state.safetensors"
    log = tmp_path / "log.jsonl"
    assert call("run", pictures, "--state", state, "--max-frames", 2).code == 0
    before = state.read_bytes()
    words = ("run", pictures, "--state", state, "--save-every", "1e-6", "--jsonl", log)
    full = _limited(8192, *words)
    assert full.code == 1
    assert len(records(log)) == 6
    told = full.err.splitlines()
    assert sum("the run goes on" in line for line in told) == 1
    assert told[-1].startswith(f"edge-tta: cannot write {state}: File too large; expected")
    assert "Traceback" not in full.err
    assert state.read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"in", state.name, log.name}


@POSIX
def test_records_on_a_disk_that_becomes_full_are_all_whole(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    script = (
        "import resource, sys; from edge_tta.show import JsonlWriter; "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000)); "
        "writer = JsonlWriter(sys.argv[1])\n"
        "for number in range(99): writer.write({'frame': number, 'what': 'x' * 100})"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(log)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.stderr.endswith(
        f"OutputError: cannot write to {log}: File too large; make room or choose another place\n"
    )
    kept = records(log)
    assert [record["frame"] for record in kept] == list(range(len(kept)))
    assert len(kept) == 2000 // len(log.read_bytes().splitlines(keepends=True)[-1])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux's")
def test_records_that_find_no_room_are_one_line_of_advice(tmp_path: Path) -> None:
    result = call("run", _pictures(tmp_path / "in", 2), "--jsonl", "/dev/full")
    assert result.code == 1
    last = result.err.splitlines()[-1]
    assert last == (
        "edge-tta: cannot write to /dev/full: No space left on device; "
        "make room or choose another place"
    )


@POSIX
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="root becomes nobody")
def test_a_read_only_folder_is_told_before_the_work() -> None:
    """As a user who may not write there: root may write anywhere."""
    folder = Path(tempfile.mkdtemp())  # pytest's own folders are closed to others
    try:
        folder.chmod(0o555)
        state = folder / "state.safetensors"
        assert _as_nobody(f"check_place(Path({str(state)!r}))").startswith(
            f"cannot write to {state}: no permission for the folder"
        )
        assert _as_nobody(f"write_whole({str(state)!r}, b'x')") == (
            f"cannot write {state}: Permission denied; expected an existing folder with room and "
            "write permission"
        )
        assert not list(folder.iterdir())
    finally:
        shutil.rmtree(folder)


def _as_nobody(call: str) -> str:
    """The message of the OutputError that a call of `edge_tta.files` raises for such a user."""
    script = (
        "import os\nfrom pathlib import Path\nfrom edge_tta.errors import OutputError\n"
        "from edge_tta.files import check_place, write_whole\nos.setgid(65534); os.setuid(65534)\n"
        f"try: {call}\nexcept OutputError as error: print(error)"
    )
    return subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ).stdout.strip()


def test_a_stick_that_is_pulled_is_told_once_and_written_again_when_it_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(keeper, "time", SimpleNamespace(monotonic=lambda: now[0]))
    stick, told = tmp_path / "stick", list[str]()
    stick.mkdir()
    adapter = Adapter(network("plain"), "norm")
    kept = StateKeeper(adapter, stick / "state.safetensors", 1.0)
    kept.tell = told.append

    def frame() -> None:
        adapter(torch.full((1, 3, 8, 8), float(adapter.steps)))
        now[0] += 1.5
        kept.save_if_due()

    frame()
    stick.rename(tmp_path / "away")
    for _ in range(3):
        frame()
    with pytest.raises(OutputError, match="existing folder"):
        kept.save()
    assert len(told) == 1
    assert "the run goes on and tries again every 1 s" in told[0]
    (tmp_path / "away").rename(stick)
    assert load_state(stick / "state.safetensors")[1].steps == 1
    frame()
    assert load_state(stick / "state.safetensors")[1].steps == adapter.steps == 5
    assert told[1:] == [f"{stick / 'state.safetensors'} is written again"]


@POSIX
def test_what_killed_writers_left_is_removed_at_the_next_start_and_nothing_else(
    tmp_path: Path,
) -> None:
    state = tmp_path / "state.safetensors"
    others = [
        ".other.safetensors.abc.part",
        ".state.safetensors.a.b.part",
        "state.safetensors.part",
    ]
    for name in (*others, ".state.safetensors.k2_x.part", ".state.safetensors.9.part"):
        (tmp_path / name).write_bytes(b"half a state")
    with whole_file(state) as being_written:
        being_written.write(b"x")
        assert remove_leftovers(state) == 2
        assert Path(being_written.name).exists()
    assert state.read_bytes() == b"x"
    assert {path.name for path in tmp_path.iterdir()} == {*others, state.name}


def test_a_start_removes_leftovers_of_its_own_state(tmp_path: Path) -> None:
    left = tmp_path / ".state.safetensors.k2x.part"
    left.write_bytes(b"half a state")
    StateKeeper(Adapter(network("plain"), "norm"), tmp_path / "state.safetensors", 1.0)
    assert not left.exists()
