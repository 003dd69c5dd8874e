"""`edge-tta run`: what --fps means, and which message comes when no frame does."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_tta.frames import pacing
from tests.cli.commands import call
from tests.cli.conftest import Folder


@pytest.mark.parametrize("words", [("--fps", 8), ("--fps", 8, "--stride", 2)])
def test_fps_paces_a_folder_and_the_demo(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, words: tuple[object, ...]
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(pacing.time, "sleep", waits.append)
    monkeypatch.setattr(pacing.time, "monotonic", lambda: 0.0)
    for source in (folder(0, 6), "demo"):
        waits.clear()
        done = call("run", source, "--max-frames", 3, "--method", "source", *words)
        assert done.code == 0
        assert len(waits) == 2
        assert waits[0] in (1 / 8, 2 / 8)


def test_without_fps_nothing_waits(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pacing.time, "sleep", lambda seconds: pytest.fail("waited"))
    assert call("run", folder(0, 3), "--method", "source").code == 0


def test_help_says_what_fps_does() -> None:
    assert "at most so many frames per second" in " ".join(call("run", "--help-all").out.split())


def test_before_an_error_nothing_is_said_of_no_frames(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_text("no picture")
    done = call("run", tmp_path, "--method", "source")
    assert done.code == 1
    assert "none of 1 pictures could be read" in done.err
    assert "no frame was seen" not in done.out + done.err
