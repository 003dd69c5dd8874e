"""Shared fixtures. Outside data is found by EDGE_TTA_DATA; tests that need it skip without it."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import pytest
import torch

from edge_tta.method.hosts import eata, sar

torch.set_num_threads(1)
cv2.setNumThreads(1)


@pytest.fixture(scope="session")
def outside_data() -> Path:
    """The folder that EDGE_TTA_DATA names, with zoo/ and data/ in it."""
    folder = os.environ.get("EDGE_TTA_DATA", "")
    if not folder:
        pytest.skip("EDGE_TTA_DATA is not set: no outside networks and images to test on")
    if not (Path(folder) / "zoo").is_dir() or not (Path(folder) / "data").is_dir():
        pytest.skip(f"EDGE_TTA_DATA={folder} holds no zoo/ and data/ folders")
    return Path(folder)


@pytest.fixture
def reachable_margins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Margins of eata and sar that the small networks, which are unsure, reach now and then.

    With the published ones all their images would be left out, and sar would never recover.
    """
    for host in (eata, sar):
        monkeypatch.setattr(host, "ENTROPY_MARGIN", 0.98)
    monkeypatch.setattr(eata, "similarity_margin", lambda classes: 0.995)
    monkeypatch.setattr(sar, "RECOVERY_BELOW_NATS", 1.2)
