"""Pictures that runs read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import pytest

from tests.demo.signs import labelled_signs
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
    return labelled_signs(tmp_path)
