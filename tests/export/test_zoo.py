"""Trained networks of other tasks as bundles, over real inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
import pytest
import torch

from edge_tta import nest
from edge_tta.adapter import Adapter
from edge_tta.models import Model, load_model
from edge_tta.models.factories import imported
from edge_tta.prepare import Images
from export import parity
from export.bundle import export_bundle
from export.folded import write_folded

_FRAMES = 3
_DIGITS = ("zero", "one", "two")
_ROUNDING = 1e-3
"""Of the largest output, after a few steps of each executor on its own state."""


def _digits(data: Path, speech: Path) -> list[Images]:
    """Spoken digits as a user prepares them: 16 kHz, a second each, log mel (1, 1, 40, T)."""
    with imported(speech) as module, np.load(data / "fsdd_8khz.npz") as sets:
        ends = sets["off"]
        words = [sets["pcm"][ends[i] : ends[i + 1]] for i in range(_FRAMES)]
        waves = np.zeros((_FRAMES, 16000), np.float32)
        for wave, word in zip(waves, words, strict=True):
            times = np.arange(min(2 * len(word), 16000)) / 2
            wave[: len(times)] = np.interp(times, np.arange(len(word)), word / 2**15)
        spectra = module.log_mel(torch.from_numpy(waves)).numpy()
    return [spectrum[None] for spectrum in spectra]


def _pictures(path: Path, model: Model) -> list[Images]:
    """JPEGs of a set as the network takes them."""
    with np.load(path) as sets:
        ends, jpegs = sets["jpeg_off"], sets["jpeg"]
        data = [jpegs[ends[i] : ends[i + 1]] for i in range(_FRAMES)]
    pictures = [cv2.imdecode(one, cv2.IMREAD_COLOR)[..., ::-1] for one in data]
    return [model.input.prepare(picture) for picture in pictures]


def _exported(
    model: Model, method: str, frames: Sequence[Images], folder: Path
) -> tuple[Adapter, Adapter]:
    """Return adapters of the network and of its bundle, which parity has been found to hold for."""
    model = model.with_task(None)
    adapter = Adapter(model.module, method, input_spec=model.input, task=model.task)
    done = export_bundle(model, [adapter], "edge", folder, frames)
    (found,) = done.parity.values()
    assert found.excess <= 1
    return adapter.fresh_copy(), Adapter(folder)


def _assert_same(outputs: Any, expected: Any) -> None:
    for one, other in zip(nest.leaves(outputs), nest.leaves(expected), strict=True):
        wanted = np.asarray(other)
        np.testing.assert_allclose(one, wanted, rtol=0, atol=_ROUNDING * np.abs(wanted).max())


@pytest.fixture(autouse=True)
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison of an export is as long as these streams."""
    monkeypatch.setattr(parity, "MIN_STEPS", _FRAMES)


def test_a_network_of_spoken_words_runs_as_a_bundle(outside_data: Path, tmp_path: Path) -> None:
    path = outside_data / "zoo" / "speech.py"
    frames = _digits(outside_data / "data", path)
    model = load_model(f"{path}:speech_bcresnet")
    spec = model.input.changed(size=frames[0].shape[2:], channels="gray")
    adapter, bundle = _exported(
        replace(model, input=spec), "nanoadapt:norm", frames, tmp_path / "b"
    )
    said = []
    for image in frames:
        outputs = bundle(image)
        _assert_same(outputs, adapter(torch.from_numpy(image)))
        said.append((model.labels or ())[int(outputs.argmax())])
    right = [word == digit for word, digit in zip(said, _DIGITS, strict=True)]
    assert sum(right) >= _FRAMES - 1


def test_a_detector_runs_as_a_bundle(outside_data: Path, tmp_path: Path) -> None:
    model = load_model(f"{outside_data / 'zoo' / 'detection.py'}:coco_fastestdet")
    frames = _pictures(outside_data / "data" / "coco_val64.npz", model)
    adapter, bundle = _exported(model, "nanoadapt", frames, tmp_path / "b")
    assert adapter.task is not None
    for image in frames:
        outputs, expected = bundle(image), adapter(torch.from_numpy(image))
        _assert_same(outputs, expected)
    assert bundle.task is not None
    assert bundle.task.name == "detect"


def test_a_segmenters_folded_graph_predicts_what_pytorch_predicts(
    outside_data: Path, tmp_path: Path
) -> None:
    model = load_model(f"{outside_data / 'zoo' / 'segmentation.py'}:camvid_espnet")
    model = replace(model, input=model.input.changed(size="96x128")).with_task(None)
    adapter = Adapter(model.module, input_spec=model.input, task=model.task)
    frames = _pictures(outside_data / "data" / "camvid_seq05vd.npz", model)
    for image in frames:
        adapter(torch.from_numpy(image))
    write_folded(adapter, model.input, tmp_path / "f.onnx")
    session = onnxruntime.InferenceSession(
        str(tmp_path / "f.onnx"), providers=["CPUExecutionProvider"]
    )
    _assert_same(
        session.run(None, {"images": frames[0]}), adapter.predict(torch.from_numpy(frames[0]))
    )
