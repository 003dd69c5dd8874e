"""The examples in docs/examples, run as they are."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import cv2
import pytest

from edge_tta.cli.loading import DEMO_BUNDLE
from edge_tta.demo.spec import LABELS
from tests.cli.commands import needs_torch
from tests.demo.signs import labelled_signs
from tests.docs.pages import ROOT
from tests.frames.media import textured


def _example(name: str) -> ModuleType:
    path = ROOT / "docs" / "examples" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"example_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_classifier_of_ones_own_predicts_every_frame_and_what_it_learned_is_saved(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(8):
        cv2.imwrite(str(pictures / f"{number}.png"), textured(number))
    example = _example("webcam")
    example.main([str(pictures), "6"])
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 7
    assert all(line.endswith(example.LABELS) for line in said[:6])
    assert said[6].startswith("6 frames, ")
    assert Path("webcam.safetensors").is_file()


def test_a_segmenter_in_fog_gains_by_adapting() -> None:
    before, after = _example("segmenter").main()
    assert after > before + 0.1


def test_a_bundle_goes_on_where_it_stopped(capsys: pytest.CaptureFixture[str]) -> None:
    example = _example("device")
    for frames in (4, 8):
        example.main([str(DEMO_BUNDLE), "demo", "4"])
        said = capsys.readouterr().out.splitlines()
        assert said[0].partition(": ")[2] in LABELS
        assert said[-1] == f"{frames} frames so far, saved in device.safetensors"


@needs_torch
def test_pictures_with_labels_give_the_error_of_each_method(tmp_path: Path) -> None:
    folder = labelled_signs(tmp_path)
    example = _example("evaluate")
    example.METHODS, example.CORRUPTIONS = "source,norm", "fog"  # fewer, to be quick
    found = example.main([str(folder)])
    assert set(found) == {("source", "fog"), ("norm", "fog")}
    assert all(0.0 < error <= 1.0 for error in found.values())
