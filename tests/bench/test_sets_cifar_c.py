"""Sets in CIFAR-C folders: five severities stacked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from bench.sets import load_set
from edge_tta.errors import SourceError
from tests.bench.pictures import LABELS, SIZE, N, pictures

SEVERITIES = (1, 2, 3, 4, 5)


def _write(folder: Path, labels: npt.NDArray[Any]) -> Path:
    """Severities stacked; every picture tells its corruption and severity by its seed."""
    folder.mkdir()
    for seed, name in ((1, "fog"), (2, "snow")):
        np.save(
            folder / f"{name}.npy", np.concatenate([pictures(10 * seed + s) for s in SEVERITIES])
        )
    np.save(folder / "labels.npy", labels)
    return folder


@pytest.mark.parametrize("severity", [1, 3, 5])
@pytest.mark.parametrize("copies", [1, 5])
def test_a_severity_is_its_fifth_of_the_file(severity: int, copies: int, tmp_path: Path) -> None:
    folder = _write(tmp_path / "CIFAR-C", np.tile(LABELS, copies))
    data = load_set(folder, SIZE, severity=severity)
    assert (data.name, data.severity) == ("CIFAR-C", severity)
    assert list(data.corruptions) == ["fog", "snow"]
    np.testing.assert_array_equal(data.corruptions["fog"], pictures(10 + severity))
    np.testing.assert_array_equal(data.corruptions["snow"], pictures(20 + severity))
    np.testing.assert_array_equal(data.labels, LABELS)


@pytest.mark.parametrize("copies", [1, 5])
@pytest.mark.parametrize(
    "labels", [LABELS, np.array([0, 0, 0, 0, 0, 1]), np.array([3, 3, 3, 3, 3])], ids=str
)
def test_the_first_pictures_of_a_severity_have_their_own_labels(
    labels: npt.NDArray[Any], copies: int, tmp_path: Path
) -> None:
    folder = tmp_path / "CIFAR-C"
    _write(folder, np.tile(labels, copies))
    if len(labels) != N:
        for name in ("fog", "snow"):
            stacked = np.load(folder / f"{name}.npy").reshape(5, N, SIZE, SIZE, 3)
            np.save(folder / f"{name}.npy", stacked[:, : len(labels)].reshape(-1, SIZE, SIZE, 3))
    data = load_set(folder, SIZE, severity=4, limit=2, only=["snow"])
    np.testing.assert_array_equal(data.corruptions["snow"], pictures(24)[:2])
    np.testing.assert_array_equal(data.labels, labels[:2])


def test_one_copy_of_the_labels_is_not_taken_for_five(tmp_path: Path) -> None:
    """Ten pictures whose classes repeat: labels[:2] equals labels[2:4], and yet is no copy."""
    folder, labels = tmp_path / "CIFAR-C", np.array([0, 0, 0, 0, 1, 1, 1, 1, 2, 2])
    folder.mkdir()
    np.save(folder / "fog.npy", np.concatenate([pictures(s, n=10) for s in SEVERITIES]))
    np.save(folder / "labels.npy", labels)
    np.testing.assert_array_equal(load_set(folder, SIZE, limit=2).labels, labels[:2])
    np.testing.assert_array_equal(load_set(folder, SIZE).labels, labels)


def test_labels_of_another_number_are_told(tmp_path: Path) -> None:
    folder = _write(tmp_path / "CIFAR-C", np.zeros(7, np.int64))
    with pytest.raises(SourceError, match="6 pictures and there are 7 labels"):
        load_set(folder, SIZE)


def test_what_is_not_five_severities_is_told(tmp_path: Path) -> None:
    folder = _write(tmp_path / "CIFAR-C", LABELS)
    np.save(folder / "fog.npy", pictures(1, n=N + 1))
    with pytest.raises(SourceError, match="expected five severities"):
        load_set(folder, SIZE)


def test_an_unknown_corruption_is_told(tmp_path: Path) -> None:
    folder = _write(tmp_path / "CIFAR-C", LABELS)
    with pytest.raises(SourceError, match="has no rain; it has fog, snow"):
        load_set(folder, SIZE, only=["rain"])


def test_a_damaged_array_is_told(tmp_path: Path) -> None:
    folder = _write(tmp_path / "CIFAR-C", LABELS)
    (folder / "fog.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(SourceError, match="cannot read"):
        load_set(folder, SIZE)


def test_labels_alone_are_no_set(tmp_path: Path) -> None:
    folder = _write(tmp_path / "CIFAR-C", LABELS)
    for name in ("fog", "snow"):
        (folder / f"{name}.npy").unlink()
    with pytest.raises(SourceError, match="holds no corruption"):
        load_set(folder, SIZE)


def test_a_file_that_claims_more_than_a_machine_can_count_is_told(tmp_path: Path) -> None:
    header = (
        f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({2**70}, 3), }}".ljust(117) + "\n"
    )
    start = np.lib.format.magic(1, 0) + len(header).to_bytes(2, "little") + header.encode()
    (tmp_path / "fog.npy").write_bytes(start + bytes(100))
    np.save(tmp_path / "labels.npy", np.zeros(5, int))
    with pytest.raises(SourceError, match=r"cannot read .*fog\.npy"):
        load_set(tmp_path, 8)
