"""`edge-tta corrupt`, its results read back as sets."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from bench.corruptions import CORRUPTIONS, GROUPS, corrupt
from bench.sets import CLEAN, load_set
from edge_tta.prepare import resize
from tests.bench.pictures import CLASSES, LABELS, SIZE, N, pictures
from tests.cli.commands import assert_one_line_of_advice, call

IMAGES = pictures(1)
NAMES = ("gaussian_noise", "contrast")


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    path = tmp_path / "clean.npz"
    np.savez(path, images=IMAGES, labels=LABELS, classes=np.array(CLASSES))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Class folders with pictures."""
    path = tmp_path / "photos"
    for i, picture in enumerate(IMAGES):
        target = path / CLASSES[LABELS[i]] / f"{i}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(target), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    return path


def test_an_npz_becomes_an_npz_of_one_severity(clean: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.npz"
    words = ("--corruption", ",".join(NAMES), "--severity", 2, "--seed", 9)
    result = call("corrupt", clean, target, *words)
    assert (result.code, result.out) == (0, "")
    assert f"wrote {target}" in result.err
    data = load_set(target, SIZE)
    assert (list(data.corruptions), data.severity) == (list(NAMES), 2)
    np.testing.assert_array_equal(data.labels, LABELS)
    for name in NAMES:
        np.testing.assert_array_equal(data.corruptions[name], corrupt(IMAGES, name, 2, 9))
    with np.load(target) as file:
        np.testing.assert_array_equal(file["classes"], CLASSES)


def test_what_is_drawn_can_stay_the_same_over_a_recording(tmp_path: Path) -> None:
    """As dirt on a lens: frames of a track have the same noise, and tracks have others."""
    recorded, target = tmp_path / "tracks.npz", tmp_path / "out.npz"
    track = np.arange(N) // 4
    flat = np.full_like(IMAGES, 128)
    np.savez(recorded, image=flat, label=LABELS, track=track, frame=np.arange(N) % 4)
    words = ("--corruption", "gaussian_noise", "--draw", "track")
    assert call("corrupt", recorded, target, *words).code == 0
    data = load_set(target, SIZE)
    noisy = data.corruptions["gaussian_noise"]
    assert list(data.corruptions) == ["gaussian_noise"]
    for number in np.unique(track):
        own = noisy[track == number]
        np.testing.assert_array_equal(own, np.repeat(own[:1], len(own), 0))
    assert not np.array_equal(noisy[0], noisy[4])
    np.testing.assert_array_equal(
        noisy[4], corrupt(flat[4:5], "gaussian_noise", 5, 0, first_index=1)[0]
    )


def test_without_tracks_nothing_can_be_drawn_by_track(clean: Path, tmp_path: Path) -> None:
    result = call("corrupt", clean, tmp_path / "out.npz", "--draw", "track")
    assert_one_line_of_advice(result, "--draw track needs an array `track`")


def test_a_folder_does_not_become_a_file(clean: Path, tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    result = call("corrupt", tmp_path / "pictures", tmp_path / "out.npz", "--corruption", "fog")
    assert_one_line_of_advice(result, "a folder of pictures becomes a folder")
    assert not (tmp_path / "out.npz").exists()


def test_all_is_every_corruption_and_groups_are_theirs(clean: Path, tmp_path: Path) -> None:
    call("corrupt", clean, tmp_path / "all.npz", "--limit", 1)
    assert list(load_set(tmp_path / "all.npz", SIZE).corruptions) == list(CORRUPTIONS)
    call("corrupt", clean, tmp_path / "some.npz", "--corruption", "clean,blur,fog", "--limit", 1)
    data = load_set(tmp_path / "some.npz", SIZE)
    assert list(data.corruptions) == [CLEAN, *GROUPS["blur"], "fog"]
    np.testing.assert_array_equal(data.corruptions[CLEAN], IMAGES[:1])


def test_a_picture_is_corrupted_the_same_with_any_limit(
    clean: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("--corruption", "gaussian_noise")
    call("corrupt", clean, tmp_path / "few.npz", *words, "--limit", 2)
    monkeypatch.setattr("bench.cli.corrupting.AT_ONCE", 4)  # the set comes in parts
    call("corrupt", clean, tmp_path / "all.npz", *words)
    few, all_ = (
        load_set(tmp_path / name, SIZE).corruptions["gaussian_noise"]
        for name in ("few.npz", "all.npz")
    )
    np.testing.assert_array_equal(few, all_[:2])
    assert len(all_) == N
    np.testing.assert_array_equal(all_, corrupt(IMAGES, "gaussian_noise", 5, 0))


def test_an_npz_becomes_a_cifar_c_folder_of_five_severities(clean: Path, tmp_path: Path) -> None:
    target = tmp_path / "CIFAR-C"
    words = ("--corruption", ",".join(NAMES), "--severity", "all")
    assert call("corrupt", clean, target, *words).code == 0
    assert {path.name for path in target.iterdir()} == {"labels.npy", *(f"{n}.npy" for n in NAMES)}
    for severity in range(1, 6):
        data = load_set(target, SIZE, severity=severity)
        np.testing.assert_array_equal(data.labels, LABELS)
        for name in NAMES:
            expected = corrupt(IMAGES, name, severity, 0)
            np.testing.assert_array_equal(data.corruptions[name], expected)


@pytest.mark.parametrize(("severity", "levels"), [("4", (4,)), ("all", (1, 2, 3, 4, 5))])
def test_a_folder_becomes_a_tree(
    severity: str, levels: tuple[int, ...], folder: Path, tmp_path: Path
) -> None:
    target = tmp_path / "tree"
    words = ("--corruption", f"{','.join(NAMES)},clean", "--severity", severity)
    assert call("corrupt", folder, target, *words).code == 0
    order = np.argsort(LABELS, kind="stable")
    for level in levels:
        data = load_set(target, SIZE, severity=level, classes=CLASSES)
        assert (set(data.corruptions), data.severity) == ({*NAMES, CLEAN}, level)
        np.testing.assert_array_equal(data.labels, LABELS[order])
        np.testing.assert_array_equal(data.corruptions[CLEAN], IMAGES[order])
        for name in NAMES:
            expected = corrupt(IMAGES[order], name, level, 0)
            np.testing.assert_array_equal(data.corruptions[name], expected)


def test_a_table_of_labels_goes_along(tmp_path: Path) -> None:
    photos, target = tmp_path / "photos", tmp_path / "tree"
    photos.mkdir()
    for i, picture in enumerate(IMAGES):
        cv2.imwrite(str(photos / f"{i}.bmp"), picture)
    rows = [f"{i}.bmp,{CLASSES[label]}" for i, label in enumerate(LABELS)]
    (photos / "labels.csv").write_text("\n".join(["file,label", *rows]))
    assert call("corrupt", photos, target, "--corruption", "contrast,fog").code == 0
    data = load_set(target, SIZE, classes=CLASSES)
    assert set(data.corruptions) == {"contrast", "fog"}
    np.testing.assert_array_equal(data.labels, LABELS)


def test_class_folders_that_are_numbers_come_back(tmp_path: Path) -> None:
    photos, target = tmp_path / "photos", tmp_path / "tree"
    for i, picture in enumerate(IMAGES):
        (photos / str(i)).mkdir(parents=True)
        cv2.imwrite(str(photos / str(i) / "1.png"), picture)
    assert call("corrupt", photos, target, "--corruption", "contrast").code == 0
    data = load_set(target, SIZE)
    assert list(data.corruptions) == ["contrast"]
    np.testing.assert_array_equal(data.labels, range(N))


@pytest.mark.parametrize("source", ["npz", "folder"])
def test_size_is_cut_before_corrupting(
    source: str, clean: Path, folder: Path, tmp_path: Path
) -> None:
    smaller = np.stack([resize(picture, 17) for picture in IMAGES])
    words = ("--corruption", "contrast", "--size", 17)
    if source == "npz":
        call("corrupt", clean, tmp_path / "out.npz", *words)
        pictures = load_set(tmp_path / "out.npz", 17).corruptions["contrast"]
    else:
        call("corrupt", folder, tmp_path / "out", *words)
        pictures = load_set(tmp_path / "out", 17, classes=CLASSES).corruptions["contrast"]
        smaller = smaller[np.argsort(LABELS, kind="stable")]
    np.testing.assert_array_equal(pictures, corrupt(smaller, "contrast", 5, 0))


def test_own_frost_is_used(clean: Path, tmp_path: Path) -> None:
    frost = tmp_path / "frost"
    frost.mkdir()
    cv2.imwrite(str(frost / "1.png"), np.full((400, 400, 3), 200, np.uint8))
    call("corrupt", clean, tmp_path / "own.npz", "--corruption", "frost", "--frost", frost)
    call("corrupt", clean, tmp_path / "drawn.npz", "--corruption", "frost")
    own, drawn = (
        load_set(tmp_path / name, SIZE).corruptions["frost"] for name in ("own.npz", "drawn.npz")
    )
    assert not np.array_equal(own, drawn)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("clean.npz", "out.npz", "--severity", "all"), "holds one severity"),
        (("clean.npz", "out"), "--severity all"),
        (("clean.npz", "gone/out.npz", "--corruption", "contrast"), "existing folder"),
        (("clean.npz", "clean.npz/out", "--severity", "all"), "cannot make the folder"),
        (("clean.npz", "out.npz", "--corruption", "smoke"), "unknown corruption"),
        (("clean.npz", "out.npz", "--corruption", "frost", "--frost", "gone"), "gone"),
        (("clean.npz", "out.npz", "--corruption", "contrast", "--size", "15"), "16"),
        (("two.npz", "out.npz", "--corruption", "contrast"), "two.npz"),
        (("photos", "out", "--corruption", "contrast", "--size", "15"), "16"),
        (("clean.npz", "clean.npz", "--corruption", "contrast"), "SRC itself"),
        (("photos", "clean.npz", "--corruption", "contrast"), "clean.npz"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_mistake_is_one_line_and_leaves_nothing(
    words: tuple[str, ...],
    said: str,
    clean: Path,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez("two.npz", images=IMAGES[..., :2], labels=LABELS)
    before = sorted(tmp_path.iterdir()), clean.read_bytes()
    assert_one_line_of_advice(call("corrupt", *words), said)
    assert (sorted(tmp_path.iterdir()), clean.read_bytes()) == before


@pytest.mark.parametrize("there", ["contrast/5", "clean"])
def test_a_part_of_an_older_tree_is_not_mixed_with_a_new_one(
    there: str, folder: Path, tmp_path: Path
) -> None:
    target = tmp_path / "tree"
    (target / there).mkdir(parents=True)
    result = call("corrupt", folder, target, "--corruption", "contrast,clean")
    assert_one_line_of_advice(result, str(target / there), "is there already")
    assert [path for path in target.rglob("*") if path.is_file()] == []


def test_corruptions_can_be_added_to_a_tree(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "tree"
    for name in NAMES:
        assert call("corrupt", folder, target, "--corruption", name).code == 0
    assert {path.name for path in target.iterdir()} == set(NAMES)


def test_two_pictures_of_one_name_are_told(folder: Path, tmp_path: Path) -> None:
    twin = next(folder.rglob("*.png")).with_suffix(".bmp")
    cv2.imwrite(str(twin), IMAGES[0])
    result = call("corrupt", folder, tmp_path / "tree", "--corruption", "contrast")
    assert_one_line_of_advice(result, "two pictures", twin.stem)
    assert not (tmp_path / "tree").exists()


def test_an_unreadable_picture_is_counted_and_told(folder: Path, tmp_path: Path) -> None:
    next(folder.rglob("*.png")).write_bytes(b"damaged")
    result = call("corrupt", folder, tmp_path / "tree", "--corruption", "contrast")
    assert result.code == 0
    assert "left out: 1 unreadable" in result.err
    assert len(list((tmp_path / "tree").rglob("*.png"))) == N - 1


def test_an_interruption_leaves_no_part_of_a_tree(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = []

    def interrupted(*args: object, **kwargs: object) -> object:
        done.append(1)
        if len(done) == 3:
            raise KeyboardInterrupt
        return args[0]

    monkeypatch.setattr("bench.cli.corrupting.corrupt", interrupted)
    before = sorted(tmp_path.iterdir())
    assert call("corrupt", folder, tmp_path / "tree", "--corruption", "contrast").code == 130
    assert len(done) == 3
    assert sorted(tmp_path.iterdir()) == before
