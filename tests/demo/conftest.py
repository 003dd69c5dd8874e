"""Clean renders that several tests look at, made once."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_tta.demo.stream import DemoFrame, clean_set, drive


@pytest.fixture(scope="session")
def clean() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """600 clean frames that training has not seen, all classes alike, and their labels."""
    return clean_set(600, seed=20_001)


@pytest.fixture(scope="session")
def trip() -> list[DemoFrame]:
    """A short drive through all conditions."""
    return list(drive(500, seed=7))
