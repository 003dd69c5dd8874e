"""`edge-tta corrupt --drift`, its streams read back as sets and as sources of frames."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from bench.corruptions import CORRUPTIONS, UP_AND_DOWN, corrupt, drift_schedule
from bench.sets import load_set
from edge_tta.frames import open_source
from edge_tta.prepare import resize
from edge_tta.show.video import VideoRecorder
from tests.bench.pictures import CLASSES, LABELS, SIZE, N, pictures
from tests.cli.commands import assert_one_line_of_advice, call
from tests.frames.media import Pixels

IMAGES = pictures(1)


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    path = tmp_path / "clean.npz"
    np.savez(path, images=IMAGES, labels=LABELS, classes=np.array(CLASSES))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures 0.bmp, 1.bmp, ... with a table of labels."""
    path = tmp_path / "photos"
    path.mkdir()
    for i, picture in enumerate(IMAGES):
        cv2.imwrite(str(path / f"{i}.bmp"), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    rows = [f"{i}.bmp,{CLASSES[label]}" for i, label in enumerate(LABELS)]
    (path / "labels.csv").write_text("\n".join(["file,label", *rows]))
    return path


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "clip.avi"
    with VideoRecorder(path, 10) as recorder:
        for picture in pictures(2, n=9, size=64):
            recorder.write(picture)
    return path


def drifting(frames: Sequence[Pixels], plan: Sequence[tuple[str, int]], seed: int = 0) -> Pixels:
    """Frame i with corruption and severity i; severity 0 is clean."""
    return np.stack(
        [
            corrupt(frame, name, severity, seed, first_index=i) if severity else frame
            for i, (frame, (name, severity)) in enumerate(zip(frames, plan, strict=False))
        ]
    )


def expected(names: tuple[str, ...], path: tuple[int, ...], seed: int = 0) -> Pixels:
    return drifting(IMAGES, drift_schedule(N, names, path), seed)


def table(path: Path) -> list[tuple[str, str, int]]:
    with path.open(newline="") as file:
        return [(r["frame"], r["corruption"], int(r["severity"])) for r in csv.DictReader(file)]


def test_an_npz_becomes_a_stream_that_tells_of_each_frame(clean: Path, tmp_path: Path) -> None:
    target = tmp_path / "drift.npz"
    words = ("--corruption", "fog,gaussian_noise", "--drift", "0,3,5", "--seed", 4)
    result = call("corrupt", clean, target, *words)
    assert (result.code, result.out) == (0, "")
    with np.load(target) as file:
        assert file["kinds"].tolist() == ["clean", "fog", "fog", "clean", *["gaussian_noise"] * 2]
        assert file["severities"].tolist() == [0, 3, 5, 0, 3, 5]
        np.testing.assert_array_equal(file["classes"], CLASSES)
        drifted = file["drift"]
    np.testing.assert_array_equal(drifted, expected(("fog", "gaussian_noise"), (0, 3, 5), 4))
    data = load_set(target, SIZE)
    assert (list(data.corruptions), data.severity) == (["drift"], 0)
    np.testing.assert_array_equal(data.corruptions["drift"], drifted)
    np.testing.assert_array_equal(data.labels, LABELS)


def test_drift_alone_climbs_and_falls_through_every_corruption(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.cli.corrupting.AT_ONCE", 2)  # a step comes in parts
    frames = pictures(3, n=3 * len(CORRUPTIONS) * len(UP_AND_DOWN), size=16)
    np.savez(tmp_path / "many.npz", images=frames, labels=np.zeros(len(frames), int))
    assert call("corrupt", tmp_path / "many.npz", tmp_path / "out.npz", "--drift").code == 0
    steps = [(name, severity) for name in CORRUPTIONS for severity in UP_AND_DOWN]
    with np.load(tmp_path / "out.npz") as file:
        told = list(zip(file["kinds"].tolist(), file["severities"].tolist(), strict=True))
        assert told == [step for step in steps for _ in range(3)]
        drifted = file["drift"]
    np.testing.assert_array_equal(drifted, drifting(frames, told))


def test_a_folder_becomes_a_folder_of_the_same_frames_in_the_same_order(
    folder: Path, tmp_path: Path
) -> None:
    target = tmp_path / "drift"
    words = ("--corruption", "contrast,fog", "--drift", "1,5,0", "--size", SIZE)
    assert call("corrupt", folder, target, *words).code == 0
    wanted = expected(("contrast", "fog"), (1, 5, 0))
    with open_source(str(target), classes=CLASSES) as source:
        frames = list(source)
    assert [frame.name for frame in frames] == [f"{i}.png" for i in range(N)]
    assert [frame.label for frame in frames] == LABELS.tolist()
    np.testing.assert_array_equal(np.stack([frame.pixels for frame in frames]), wanted)
    steps = [("contrast", 1), ("contrast", 5), ("clean", 0), ("fog", 1), ("fog", 5), ("clean", 0)]
    assert table(target / "drift.csv") == [(f"{i}.png", *step) for i, step in enumerate(steps)]
    data = load_set(target, SIZE, classes=CLASSES)
    assert (list(data.corruptions), data.severity) == (["drift"], 0)
    np.testing.assert_array_equal(data.labels, LABELS)


def test_an_empty_folder_is_filled_and_a_damaged_picture_told(folder: Path, tmp_path: Path) -> None:
    (folder / "2.bmp").write_bytes(b"damaged")
    target = tmp_path / "drift"
    target.mkdir()
    result = call("corrupt", folder, target, "--corruption", "contrast", "--drift", "3")
    assert (result.code, "left out: 1 unreadable" in result.err) == (0, True)
    assert len(list(target.glob("*.png"))) == N - 1 == len(table(target / "drift.csv"))


def test_a_video_becomes_a_video_of_as_many_frames_and_the_same_rate(
    video: Path, tmp_path: Path
) -> None:
    target = tmp_path / "out.mp4"
    result = call("corrupt", video, target, "--corruption", "brightness", "--drift", "0,3,5")
    assert result.code == 0, result.err
    assert table(tmp_path / "out.drift.csv") == [
        (str(i), "brightness" if severity else "clean", severity)
        for i, severity in enumerate([0, 0, 0, 3, 3, 3, 5, 5, 5])
    ]
    with open_source(str(video)) as before, open_source(str(target)) as after:
        assert after.fps == before.fps == 10
        gain = [
            after_.pixels.astype(float).mean() - before_.pixels.mean()
            for before_, after_ in zip(before, after, strict=True)
        ]
    # Value rises by 0.2 and 0.3 (up to 1) and channels with it; compression costs a level or two.
    steps = np.reshape(gain, (3, 3)).mean(axis=1)
    assert steps[0] == pytest.approx(0, abs=3)
    assert 20 < steps[1] < 54
    assert steps[1] + 5 < steps[2] < 80


def test_a_video_becomes_a_folder_of_numbered_frames(video: Path, tmp_path: Path) -> None:
    target = tmp_path / "frames"
    words = ("--corruption", "fog", "--drift", "--limit", 4, "--size", 32)
    assert call("corrupt", video, target, *words).code == 0
    with open_source(str(video), max_frames=4) as source:
        clean = np.stack([resize(frame.pixels, 32) for frame in source])
    wanted = drifting(clean, drift_schedule(4, ["fog"]))
    with open_source(str(target)) as source:
        for i, (frame, pixels) in enumerate(zip(source, wanted, strict=True)):
            assert frame.name == f"{i:06d}.png"
            np.testing.assert_array_equal(frame.pixels, pixels)


def test_a_run_takes_what_was_written(video: Path, folder: Path, tmp_path: Path) -> None:
    for source, target in ((video, "out.mp4"), (folder, "frames")):
        assert (
            call("corrupt", source, tmp_path / target, "--drift", "--corruption", "fog").code == 0
        )
        result = call("run", tmp_path / target, "--headless", "--max-frames", 3)
        assert result.code == 0, result.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("clean.npz", "out", "--drift"), "an .npz becomes an .npz"),
        (("photos", "out.npz", "--drift"), "an .npz becomes an .npz"),
        (("clean.npz", "clean.npz", "--drift"), "SRC itself"),
        (("clip.avi", "clip.avi", "--drift"), "SRC itself"),
        (("clip.avi", "gone/out.mp4", "--drift"), "does not exist"),
        (("clip.avi", "out.mp4", "--drift", "--size", "15", "--corruption", "fog"), "16"),
        (("clip.avi", "out", "--corruption", "clean,fog", "--drift"), "--drift 0,1,3,5,3,1"),
        (("photos", "photos", "--drift"), "holds files already"),
        (("photos", "clean.npz/out", "--drift", "--corruption", "fog"), "cannot make the folder"),
        (("clip.avi", "out", "--corruption", "fog"), "--drift"),
        (("gone.mp4", "out.mp4", "--drift"), "gone.mp4"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_mistake_is_one_line_and_leaves_nothing(
    words: tuple[str, ...],
    said: str,
    clean: Path,
    folder: Path,
    video: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert_one_line_of_advice(call("corrupt", *words), said)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("words", [("1,6",), ("photos",), ("",), ("3", "--severity", "3")])
def test_severities_that_are_none_are_wrong_usage(words: tuple[str, ...]) -> None:
    result = call("corrupt", "photos", "out", "--drift", *words)
    assert (result.code, result.out) == (2, "")
    assert "expected severities from 0" in result.err or "not allowed with" in result.err


@pytest.mark.parametrize("target", ["out.mp4", "frames", "out.npz"])
def test_an_interruption_leaves_nothing(
    target: str, clean: Path, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = []

    def interrupted(*args: object, **kwargs: object) -> object:
        done.append(1)
        if len(done) == 3:
            raise KeyboardInterrupt
        return args[0]

    monkeypatch.setattr("bench.cli.corrupting.corrupt", interrupted)
    before = sorted(tmp_path.iterdir())
    source = clean if target.endswith(".npz") else video
    assert call("corrupt", source, tmp_path / target, "--drift").code == 130
    assert len(done) == 3
    assert sorted(tmp_path.iterdir()) == before
