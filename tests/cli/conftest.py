"""Pictures that runs read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import pytest

from edge_tta.demo.spec import LABELS
from edge_tta.demo.stream import clean_set
from tests.frames.media import textured

Folder = Callable[[int, int], Path]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Makes a folder with the pictures first..end-1 of an endless row of pictures."""

    def make(first: int, end: int) -> Path:
        path = tmp_path / f"pictures-{first}-{end}"
        path.mkdir()
        for number in range(first, end):
            cv2.imwrite(str(path / f"{number}.png"), textured(number))
        return path

    return make


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """Twelve clean road signs with a labels.csv of class names."""
    path = tmp_path / "signs"
    path.mkdir()
    frames, labels = clean_set(12, seed=30_001)
    rows = ["file,label"]
    for number, (frame, label) in enumerate(zip(frames, labels, strict=True)):
        cv2.imwrite(str(path / f"{number}.png"), cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
        rows.append(f"{number}.png,{LABELS[label]}")
    (path / "labels.csv").write_text("\n".join(rows) + "\n")
    return path
