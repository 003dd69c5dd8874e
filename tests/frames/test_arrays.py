"""Pictures of an .npz, and inputs that are no pictures, as a source of frames."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_tta.errors import SourceError
from edge_tta.frames import open_source

RNG = np.random.default_rng(0)
INPUTS = RNG.normal(size=(5, 2, 4, 6)).astype(np.float32)


def _folder(path: Path) -> str:
    for i, array in enumerate(INPUTS):
        np.save(path / f"{i}.npy", array)
    return str(path)


def _packed(path: Path, **more: Any) -> str:
    np.savez(path / "set.npz", inputs=INPUTS, **more)
    return str(path / "set.npz")


def _pattern(path: Path) -> str:
    return f"{_folder(path)}/*.npy"


def _numbered(path: Path) -> str:
    return f"{_folder(path)}/%d.npy"


@pytest.mark.parametrize("make", [_folder, _pattern, _numbered, _packed])
def test_arrays_come_as_they_are_in_their_order(make: Any, tmp_path: Path) -> None:
    with open_source(make(tmp_path), stride=2, max_frames=2) as source:
        frames = list(source)
        assert source.length == 2
    assert [frame.index for frame in frames] == [0, 1]
    for frame, expected in zip(frames, INPUTS[::2], strict=False):
        assert frame.array is not None
        np.testing.assert_array_equal(frame.array, expected)
        assert frame.pixels.shape == (4, 6, 3)
        assert (frame.pixels.min(), frame.pixels.max()) == (0, 255)


def test_labels_come_along_and_an_array_that_is_not_finite_is_left_out(tmp_path: Path) -> None:
    inputs = INPUTS[:, 0].copy()
    inputs[1, 0, 0] = np.nan
    np.savez(tmp_path / "a.npz", inputs=inputs, labels=np.arange(5))
    with open_source(str(tmp_path / "a.npz")) as source:
        assert [frame.label for frame in source] == [0, 2, 3, 4]
        assert source.dropped == {"not finite": 1}


@pytest.mark.parametrize("labels", [np.arange(5), None, np.zeros((5, 4))])
def test_pictures_come_as_they_are_with_the_labels_that_are_theirs(
    labels: Any, tmp_path: Path
) -> None:
    pictures = RNG.integers(0, 255, (5, 6, 4, 3), np.uint8)
    more = {} if labels is None else {"labels": labels}
    np.savez(tmp_path / "a.npz", mean=INPUTS[0], fog=pictures, rain=pictures[::-1], **more)
    with open_source(str(tmp_path / "a.npz"), stride=2) as source:
        frames = list(source)
        assert source.length == 3
    known = labels is not None and labels.ndim == 1
    assert [frame.label for frame in frames] == ([0, 2, 4] if known else [None] * 3)
    assert [frame.name for frame in frames] == ["a.npz#0", "a.npz#2", "a.npz#4"]
    for frame, expected in zip(frames, pictures[::2], strict=True):
        assert frame.array is None
        np.testing.assert_array_equal(frame.pixels, expected)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"images": INPUTS}, "expected an .npz with inputs"),
        ({"images": INPUTS[0]}, r"but images float32 \(2, 4, 6\); expected an .npz"),
        ({"inputs": np.float32(3)}, r"but inputs float32 \(\); expected an .npz"),
        ({"images": np.zeros((0, 4, 4, 3), np.uint8)}, "holds no pictures and no inputs"),
        ({"inputs": INPUTS, "labels": np.zeros(4, int)}, "one for each of the inputs"),
        ({"inputs": INPUTS[0, 0]}, r"expected real numbers \(channels, H, W\)"),
        ({"inputs": INPUTS.astype(complex)}, "expected real numbers"),
    ],
)
def test_what_is_no_input_is_refused_in_one_line(
    arrays: dict[str, Any], said: str, tmp_path: Path
) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    with (
        pytest.raises(SourceError, match=said) as caught,
        open_source(str(tmp_path / "a.npz")) as source,
    ):
        list(source)
    assert "\n" not in str(caught.value)


def test_what_is_no_array_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "A.NPZ"
    with zipfile.ZipFile(path, "w") as file:
        for name in ("README.txt", "inputs", "labels"):
            file.writestr(name, "no array")
        with file.open("images.npy", "w") as member:
            np.save(member, RNG.integers(0, 255, (2, 4, 4, 3), np.uint8))
    with open_source(str(path)) as source:
        assert [(frame.array, frame.label) for frame in source] == [(None, None)] * 2


def test_an_array_that_is_called_npz_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", INPUTS)
    path = (tmp_path / "a.npy").rename(tmp_path / "a.npz")
    with pytest.raises(SourceError, match=r"it is no \.npz"):
        open_source(str(path))


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(b"no array")
    with (
        pytest.raises(SourceError, match="cannot be read as an array"),
        open_source(str(tmp_path)) as source,
    ):
        list(source)


def test_a_folder_of_pictures_is_one_whatever_lies_beside(tmp_path: Path) -> None:
    import cv2

    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((4, 4, 3), np.uint8))
    np.save(tmp_path / "labels.npy", INPUTS)
    with open_source(str(tmp_path)) as source:
        assert [frame.array for frame in source] == [None]
