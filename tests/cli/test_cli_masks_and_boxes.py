"""`edge-tta run` of segmenters and detectors: options that do not suit them are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.commands import assert_one_line_of_advice, call, needs_torch
from tests.cli.conftest import Folder

pytestmark = needs_torch

_MODEL = """
import numpy as np
from tests.networks import with_statistics
from tests.test_adapter_tasks import ANSWERS, Dense

INPUT = dict(size=(16, 24))
TASK = {"finder": "detect", "masks": "segment"}

def finder():
    return with_statistics(Dense(ANSWERS["detect"][1]))

def masks():
    return with_statistics(Dense(ANSWERS["segment"][1]))

def maps():
    return with_statistics(Dense(ANSWERS["features"][1]))

def decode(outputs):
    classes = np.arange(5)
    left = classes[:, None] / 5
    corners = np.concatenate([left, 0 * left, left + 0.1, 0 * left + 1], 1)
    return [(corners, 0 * classes + 0.5, classes)]
"""

_FEATURES = ("--task", "features")


@pytest.fixture
def model(tmp_path: Path) -> str:
    """A model file with a detector of five classes, and a segmenter of as many."""
    (tmp_path / "nets.py").write_text(_MODEL, "utf-8")
    return f"{tmp_path / 'nets.py'}:"


@pytest.mark.parametrize(
    ("factory", "words", "said"),
    [
        ("finder", ("--host", "tent"), "nanoadapt:tent trains by a loss on classes"),
        ("finder", ("--method", "nanoadapt:tent"), "give --host norm"),
        ("finder", ("--filter", "on"), "--filter on is for classifiers"),
        ("masks", ("--filter", "on"), "--filter on is for classifiers"),
        ("masks", ("--alarm-below", 50), "--alarm-below is for classifiers"),
        ("masks", ("--compare", "source+filter"), "+filter in --compare is for classifiers"),
        ("finder", ("--compare", "norm,norm+filter"), "+filter in --compare is for classifiers"),
        ("masks", ("--method", "source", "--guard", "on"), "--guard on is for networks that adapt"),
        (
            "maps",
            (*_FEATURES, "--guard", "on"),
            "--guard on is for outputs that tell how sure a network is",
        ),
    ],
    ids=str,
)
def test_what_was_asked_for_and_cannot_be_is_refused(
    model: str, folder: Folder, factory: str, words: tuple[object, ...], said: str
) -> None:
    done = call("run", folder(0, 1), "--model", model + factory, *words)
    assert_one_line_of_advice(done, said, "leave")


@pytest.mark.parametrize(
    ("factory", "words"),
    [
        ("finder", ()),
        ("finder", ("--host", "norm")),
        ("finder", ("--filter", "off")),
        ("maps", _FEATURES),
        ("maps", (*_FEATURES, "--guard", "off")),
    ],
    ids=str,
)
def test_what_nobody_asked_for_rests(
    model: str, folder: Folder, factory: str, words: tuple[object, ...]
) -> None:
    done = call("run", folder(0, 1), "--model", model + factory, *words)
    assert done.code == 0, done.err


@pytest.mark.parametrize(("count", "fits"), [(2, False), (4, False), (5, True)])
def test_class_names_are_as_many_as_the_boxes_have_classes(
    model: str, folder: Folder, tmp_path: Path, count: int, fits: bool
) -> None:
    names = tmp_path / "names.txt"
    names.write_text("\n".join("abcde"[:count]), "utf-8")
    done = call("run", folder(0, 1), "--model", f"{model}finder", "--labels", names)
    if fits:
        assert done.code == 0, done.err
    else:
        assert_one_line_of_advice(done, f"there are {count} class names", "class 4", "--labels")


def test_a_bundle_is_not_made_of_a_host_that_cannot_be(model: str, tmp_path: Path) -> None:
    words = ("--model", f"{model}finder", "--host", "tent", "--out", tmp_path / "bundle")
    done = call("export", "bundle", *words)
    assert_one_line_of_advice(done, "nanoadapt:tent trains by a loss on classes")
    assert not (tmp_path / "bundle").exists()
