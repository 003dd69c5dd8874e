"""The set and the stream of the order `drift`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from bench.corruptions import UP_AND_DOWN
from bench.drift import load_drift_set
from bench.error import Runner, Setting, in_processes, measure_error
from bench.methods import parse_methods
from bench.orders import drift_steps, make_streams, parse_order
from edge_tta.adapter import Adapter
from edge_tta.errors import SourceError
from edge_tta.models import Model
from edge_tta.network.source import SourceNetwork
from edge_tta.prepare import InputSpec, Pixels
from tests.bench.pictures import pictures
from tests.networks import network

N, SIZE = 27, 16
LABELS = np.repeat([0, 1, 2], 9)
NAMES = ("fog", "snow")


def _picture(kind: int, severity: int, index: int) -> Pixels:
    """Tells its kind, severity and index."""
    frame = np.zeros((SIZE, SIZE, 3), np.uint8)
    frame[..., 0], frame[..., 1], frame[..., 2] = 100 * kind, 40 * severity, 9 * index
    return frame


def _folder(path: Path, clean: bool = False) -> Path:
    path.mkdir()
    for kind, name in enumerate(NAMES):
        stacked = [_picture(kind, s, i) for s in range(1, 6) for i in range(N)]
        np.save(path / f"{name}.npy", np.stack(stacked))
    if clean:
        np.save(path / "clean.npy", pictures(1, 5 * N, SIZE))
    np.save(path / "labels.npy", np.tile(LABELS, 5))
    return path


def _tree(path: Path, severities: tuple[int, ...] = (1, 2, 3, 4, 5)) -> Path:
    for kind, name in enumerate(NAMES):
        for severity in severities:
            for index in range(N):
                folder = path / name / str(severity) / str(LABELS[index])
                folder.mkdir(parents=True, exist_ok=True)
                picture = _picture(kind, severity, index)[..., ::-1]
                cv2.imwrite(str(folder / f"{index:03}.png"), picture)
    return path


@pytest.mark.parametrize("make", [_folder, _tree])
def test_severities_go_up_and_down_along_the_stream_for_each_kind(
    make: Callable[[Path], Path], tmp_path: Path
) -> None:
    data = load_drift_set(make(tmp_path / "set"), SIZE)
    assert (data.name, data.severity, list(data.corruptions)) == ("set", 0, list(NAMES))
    np.testing.assert_array_equal(data.labels, LABELS)
    (stream,) = make_streams(parse_order("drift"), data.labels, 2, seed=3)
    shown = [
        data.corruptions[NAMES[kind]][picture][0, 0].tolist()
        for kind, picture in zip(stream.corruption, stream.picture, strict=True)
    ]
    severities = np.repeat(UP_AND_DOWN, N // len(UP_AND_DOWN))
    for kind in range(2):
        part = shown[kind * N : (kind + 1) * N]
        assert [pixel[0] for pixel in part] == [100 * kind] * N
        assert [pixel[1] for pixel in part] == (40 * severities).tolist()
        assert sorted(pixel[2] for pixel in part) == [9 * i for i in range(N)]


def test_every_picture_keeps_its_place_and_label(tmp_path: Path) -> None:
    data = load_drift_set(_folder(tmp_path / "set"), SIZE)
    for kind, name in enumerate(NAMES):
        severities = np.array(UP_AND_DOWN)[drift_steps(N, kind)]
        expected = [_picture(kind, s, i) for i, s in enumerate(severities)]
        np.testing.assert_array_equal(data.corruptions[name], np.stack(expected))


def test_clean_pictures_do_not_drift(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "set", clean=True)
    assert list(load_drift_set(folder, SIZE).corruptions) == list(NAMES)
    only = load_drift_set(folder, SIZE, only=["clean", "snow"], limit=10)
    assert list(only.corruptions) == ["snow"]
    assert len(only) == 10


def test_a_set_of_one_severity_cannot_drift(tmp_path: Path) -> None:
    np.savez(tmp_path / "set.npz", fog=pictures(1, N, SIZE), labels=LABELS)
    with pytest.raises(SourceError, match=r"severities 1 to 5, and .*not several.*CIFAR-C"):
        load_drift_set(tmp_path / "set.npz", SIZE)


def test_a_tree_without_some_severity_cannot_drift(tmp_path: Path) -> None:
    tree = _tree(tmp_path / "tree", (1, 5))
    with pytest.raises(SourceError, match=r"tree has 1, 5; give"):
        load_drift_set(tree, SIZE)


def test_a_kind_that_lacks_a_severity_is_told(tmp_path: Path) -> None:
    tree = _tree(tmp_path / "tree")
    (tree / "snow" / "3").rename(tmp_path / "away")
    with pytest.raises(SourceError, match="at severity 3 as at 1"):
        load_drift_set(tree, SIZE)


def test_no_set_at_all_is_told(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no set at"):
        load_drift_set(tmp_path / "gone", SIZE)


def test_drift_is_measured_by_kind_as_an_adapter_meets_it(tmp_path: Path) -> None:
    spec = InputSpec(size=SIZE)
    data = load_drift_set(_folder(tmp_path / "set"), SIZE)
    model = Model("plain", network("plain"), spec)
    runner = Runner(SourceNetwork(model.module, torch.device("cpu")), model, data)
    order = parse_order("drift")
    with in_processes(lambda: runner, 1) as run:
        (rows,) = measure_error(run, data, parse_methods("nanoadapt:norm@paper"), Setting(order))
    assert [(r.corruption, r.severity, r.order, r.n) for r in rows] == [
        (name, 0, "drift", N) for name in NAMES
    ]
    (stream,) = make_streams(order, data.labels, 2, 0)
    adapter = Adapter(network("plain"), "nanoadapt:norm", preset="paper", input_spec=spec)
    wrong = np.zeros(2 * N, bool)
    for place, (kind, picture) in enumerate(zip(stream.corruption, stream.picture, strict=True)):
        frame = data.corruptions[NAMES[kind]][picture]
        wrong[place] = adapter(spec.normalise(frame[None])).argmax(1).item() != LABELS[picture]
    assert [r.error for r in rows] == pytest.approx([wrong[:N].mean(), wrong[N:].mean()])
