"""Error over time as a picture."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_tta.errors import EdgeTTAError, OutputError
from edge_tta.run.sinks.curve import ErrorCurve, running_mean


@pytest.mark.parametrize("window", [1, 3, 10, 50])
def test_the_running_mean_is_over_the_last_values(window: int) -> None:
    values = np.random.default_rng(window).integers(0, 2, 40).astype(np.uint8)
    expected = [np.mean(values[max(0, end - window) : end]) for end in range(1, 41)]
    np.testing.assert_allclose(running_mean(values, window), expected, rtol=1e-12)


def test_the_running_mean_of_many_wrong_frames_does_not_overflow() -> None:
    np.testing.assert_array_equal(running_mean(np.ones(1000, np.uint8), 600), np.ones(1000))


def test_the_running_mean_of_nothing_is_nothing() -> None:
    assert running_mean(np.zeros(0, np.uint8), 5).shape == (0,)


def _filled(path: Path) -> ErrorCurve:
    curve = ErrorCurve(path)
    for at in range(60):
        wrong = {"nanoadapt:tent": at % 3 == 0}
        if at >= 5:  # compared from its first labelled frame on
            wrong |= {"source": at % 2 == 0, "tent": True, "nanoadapt:norm": False}
        curve.add("nanoadapt:tent", None if at < 10 else "clear" if at < 20 else "fog", wrong)
    return curve


@pytest.mark.parametrize("ending", ["png", "svg", "pdf", "PNG"])
def test_the_curve_is_written_in_the_format_of_its_name(ending: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="plots need matplotlib")
    path = tmp_path / f"curve.{ending}"
    _filled(path).close()
    starts = {"png": b"\x89PNG\r\n\x1a\n", "svg": b"<?xml", "pdf": b"%PDF"}
    assert path.read_bytes().startswith(starts[ending.lower()])
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_the_picture_shows_every_method_in_its_colour(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="plots need matplotlib")
    path = tmp_path / "curve.png"
    _filled(path).close()
    picture = cv2.imread(str(path))
    assert picture is not None
    seen = set(map(tuple, picture[..., ::-1].reshape(-1, 3).tolist()))
    for colour in ("1b7f5c", "d1495b", "b08968", "3066be"):
        assert tuple(bytes.fromhex(colour)) in seen


def test_one_frame_is_drawn_too(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="plots need matplotlib")
    curve = ErrorCurve(tmp_path / "curve.png")
    curve.add("norm", "fog", {"norm": True})
    curve.close()
    assert (tmp_path / "curve.png").exists()


def test_without_labelled_frames_no_picture_is_made(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="plots need matplotlib")
    ErrorCurve(tmp_path / "curve.png").close()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["gone/curve.png", "curve.jpg", "curve"])
def test_a_place_that_does_not_do_is_told_at_once(name: str, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"cannot (plot|write) to"):
        ErrorCurve(tmp_path / name)


def test_without_matplotlib_the_advice_is_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(EdgeTTAError, match="pip install"):
        ErrorCurve(tmp_path / "curve.png")
