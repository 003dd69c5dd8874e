"""`edge-tta run` over folders of pictures: its options, and what it tells."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from edge_tta.adapter import Adapter
from edge_tta.demo.spec import INPUT, LABELS
from edge_tta.frames import open_source
from edge_tta.frames.source import Pixels
from edge_tta.models import load_model
from edge_tta.prepare import InputSpec
from tests.cli.commands import assert_one_line_of_advice, call, records, rows_of
from tests.cli.conftest import Folder

_SEGMENTER = """
import torch

TASK = {"network": "segment"}


def network():
    layers = torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.BatchNorm2d(4), torch.nn.Conv2d(4, 3, 1)
    return torch.nn.Sequential(*layers)
"""


def test_source_predicts_as_the_network_itself_and_changes_nothing(
    folder: Folder, tmp_path: Path
) -> None:
    pictures, log, state = folder(0, 6), tmp_path / "log.jsonl", tmp_path / "state.safetensors"
    words = ("--method", "source", "--jsonl", log, "--state", state)
    assert call("run", pictures, *words).code == 0
    network = load_model("demo").module
    seen = records(log)
    with open_source(str(pictures)) as source, torch.no_grad():
        for record, frame in zip(seen, source, strict=True):
            expected = network(torch.from_numpy(INPUT.prepare(frame.pixels)))[0]
            assert record["raw"]["prediction"] == int(expected.argmax())
            confidence = float(expected.softmax(0).max())
            assert record["raw"]["confidence"] == pytest.approx(confidence, abs=1e-5)
    assert not any(record["adapted"] for record in seen)
    assert {name: int(value) for name, value in load_file(state).items()} == {"steps": 6}


def test_adapt_every_adapts_by_every_third_frame_and_predicts_between(
    folder: Folder, tmp_path: Path
) -> None:
    log, state = tmp_path / "log.jsonl", tmp_path / "state.safetensors"
    words = ("--adapt-every", 3, "--jsonl", log, "--state", state)
    assert call("run", folder(0, 8), *words).code == 0
    seen = records(log)
    learned = [r["frame"] for r in seen if r["why"].startswith("learning")]
    assert learned == [0, 3, 6]
    between = [r for r in seen if r["frame"] not in learned]
    assert {r["why"] for r in between} == {"predicted; adapts on every 3 frames"}
    assert not any(r["adapted"] for r in between)
    assert load_file(state)["opt.position"] == 3
    assert load_file(state)["steps"] == 3


@pytest.mark.parametrize("adapt", ["sync", "async"])
def test_a_budget_of_time_that_predictions_exceed_is_told_once_and_nothing_adapts(
    folder: Folder, tmp_path: Path, adapt: str
) -> None:
    log = tmp_path / "log.jsonl"
    words = ("--budget-ms", 1e-3, "--adapt", adapt, "--jsonl", log)
    done = call("run", folder(0, 30), *words)
    assert done.code == 0
    assert done.err.count("--budget-ms 0.001 cannot be met: predictions alone take") == 1
    assert [r["why"] for r in records(log)][5:] == [
        "predicted; adapts when the budget has time for it"
    ] * 25


def test_a_budget_of_time_that_is_ample_changes_nothing(folder: Folder, tmp_path: Path) -> None:
    pictures, logs = folder(0, 6), [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    for log, words in zip(logs, ((), ("--budget-ms", 60_000)), strict=True):
        assert call("run", pictures, "--jsonl", log, *words).code == 0
    assert [r["why"] for r in records(logs[0])] == [r["why"] for r in records(logs[1])]
    done = call("run", pictures, "--method", "source", "--budget-ms", 50)
    assert_one_line_of_advice(done, "--budget-ms says how often to adapt", "leave it out")


def test_checkpointing_leaves_the_state_as_it_would_be(folder: Folder, tmp_path: Path) -> None:
    pictures, states = folder(0, 4), []
    for words in ((), ("--checkpoint-activations", "auto"), ("--checkpoint-activations", 2)):
        state = tmp_path / f"{len(states)}.safetensors"
        assert call("run", pictures, "--saved", "stock", "--state", state, *words).code == 0
        states.append(load_file(state))
    for found in states[1:]:
        for name, value in states[0].items():
            np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-6, err_msg=name)


def test_one_segment_is_refused(folder: Folder) -> None:
    words = ("--model", "demo", "--backend", "torch", "--checkpoint-activations", 1)
    done = call("run", folder(0, 1), *words)
    assert done.code == 1
    assert "checkpointing must be 'auto', or a number of segments from 2" in done.err


@pytest.mark.parametrize("words", [("run", "demo"), ("bench", "latency", "--model", "demo")])
def test_the_old_name_of_an_option_tells_the_new_one(words: tuple[str, ...]) -> None:
    done = call(*words, "--recompute", "auto")
    assert done.code == 2
    assert "--recompute is now called --checkpoint-activations" in done.err


def test_a_run_without_labels_tells_of_entropy_and_of_no_error(
    folder: Folder, tmp_path: Path
) -> None:
    log, plot = tmp_path / "log.jsonl", tmp_path / "plot.png"
    result = call("run", folder(0, 5), "--jsonl", log, "--plot", plot)
    assert result.code == 0
    assert "error" not in result.out
    assert "entropy (nats)" in " ".join(result.out.split())
    assert "│ source" not in result.out
    assert not plot.exists()
    for record in records(log):
        assert not {"truth", "condition", "compared"} & set(record)
        assert "compare" not in record["ms"]


def test_a_picture_that_was_there_before_is_not_told_to_be_written(
    folder: Folder, tmp_path: Path
) -> None:
    plot = tmp_path / "plot.png"
    plot.write_bytes(b"of yesterday")
    result = call("run", folder(0, 2), "--plot", plot)
    assert plot.read_bytes() == b"of yesterday"
    assert "wrote" not in result.err


def test_a_run_with_labels_shows_the_source_network_beside(labelled: Path, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    result = call("run", labelled, "--jsonl", log)
    assert result.code == 0
    seen = records(log)
    assert all(set(record["compared"]) == {"source", "source+filter"} for record in seen)
    rows = rows_of(result.out)
    both = {"source", "nanoadapt:tent"}
    assert set(rows) == both | {f"{name}+filter" for name in both}
    source = np.mean([r["compared"]["source"]["prediction"] != r["truth"] for r in seen])
    assert rows["source"] == [f"{100 * source:.1f}"]
    assert source < 0.5  # clean signs, so that labels.csv was understood


def test_compare_none_runs_nothing_beside(labelled: Path, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    result = call("run", labelled, "--jsonl", log, "--compare", "none")
    assert set(rows_of(result.out)) == {"nanoadapt:tent", "nanoadapt:tent+filter"}
    assert all("compared" not in record for record in records(log))


def test_class_names_of_a_file_are_those_of_the_log(folder: Folder, tmp_path: Path) -> None:
    names, log = tmp_path / "names.txt", tmp_path / "log.jsonl"
    names.write_text("\n".join(f"sign {index}" for index in range(len(LABELS))))
    assert call("run", folder(0, 3), "--labels", names, "--jsonl", log).code == 0
    for record in records(log):
        assert record["label"] == f"sign {record['prediction']}"


def test_records_on_standard_output_are_alone_there(folder: Folder) -> None:
    result = call("run", folder(0, 4), "--jsonl", "-")
    assert result.code == 0
    assert [json.loads(line)["frame"] for line in result.out.splitlines()] == [0, 1, 2, 3]
    assert "4 frames" in result.err


def test_damaged_pictures_are_counted_and_told(folder: Folder) -> None:
    pictures = folder(0, 3)
    (pictures / "1.png").write_bytes(b"not a picture")
    result = call("run", pictures)
    assert result.code == 0
    assert "2 frames" in result.out
    assert "left out: 1 unreadable" in result.out


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a display is not a variable")
def test_without_a_display_the_run_goes_on_with_one_line(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    result = call("run", folder(0, 3), "--show")
    assert result.code == 0
    assert "3 frames" in result.out
    (line,) = result.err.splitlines()
    assert line.startswith("edge-tta: no display")
    assert line.endswith("going on without a window")


class _ShortWindow:
    """A window whose user presses q at the third frame."""

    shown: ClassVar[list[Any]] = []

    def __init__(self, title: str) -> None:
        self.shown.clear()

    def close(self) -> None:
        self.shown.append("closed")

    def show(self, pixels: Pixels) -> bool:
        self.shown.append(pixels.shape)
        return len(self.shown) < 3


def test_q_in_the_window_ends_the_run_after_that_frame(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_tta.cli.run.display_problem", lambda: None)
    monkeypatch.setattr("edge_tta.run.sinks.pictures.Window", _ShortWindow)
    log = tmp_path / "log.jsonl"
    result = call("run", folder(0, 6), "--show", "--jsonl", log)
    assert result.code == 0
    assert len(records(log)) == 3
    assert _ShortWindow.shown == [(480, 640, 3)] * 3 + ["closed"]


def test_a_model_of_an_own_file_runs_with_the_input_that_was_given(
    folder: Folder, tmp_path: Path
) -> None:
    (tmp_path / "net.py").write_text(
        "from torch import nn\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.bn = nn.BatchNorm2d(3)\n"
        "    def forward(self, x):\n"
        "        assert x.shape[-1] == 20, x.shape\n"
        "        return self.bn(x).mean((2, 3))\n"
    )
    log = tmp_path / "log.jsonl"
    words = ("--model", f"{tmp_path / 'net.py'}:Net", "--size", 20, "--method", "source")
    given = ("--scale", 1, "--mean", "100", "90", "80", "--std", "2")
    pictures = folder(0, 2)
    assert call("run", pictures, *words, *given, "--jsonl", log).code == 0
    seen = records(log)
    assert [record["label"] for record in seen] == [f"class {r['prediction']}" for r in seen]
    as_pixels = InputSpec(20, 1.0, (0.0,) * 3, (1.0,) * 3)
    with open_source(str(pictures)) as source:
        for record, frame in zip(seen, source, strict=True):
            means = (as_pixels.prepare(frame.pixels)[0].mean((1, 2)) - [100, 90, 80]) / 2
            logits = means / np.sqrt(1 + 1e-5)
            share = np.exp(logits - logits.max())
            assert record["raw"]["prediction"] == int(logits.argmax())
            assert record["raw"]["confidence"] == pytest.approx(share.max() / share.sum(), abs=1e-4)


def test_an_output_that_cannot_be_made_is_told_before_the_first_frame(
    folder: Folder, tmp_path: Path
) -> None:
    log = tmp_path / "log.jsonl"
    log.mkdir()
    state = tmp_path / "state.safetensors"
    result = call("run", folder(0, 2), "--jsonl", log, "--state", state)
    assert_one_line_of_advice(result, "it is a folder")
    assert not state.exists()


@pytest.mark.parametrize("option", ["--state", "--jsonl", "--save", "--plot"])
def test_a_result_is_not_written_over_the_source(option: str, folder: Folder) -> None:
    picture = folder(0, 1) / "0.png"
    # A name that each option takes; only the file matters.
    alias = picture.with_suffix(".mp4" if option == "--save" else ".png")
    if alias != picture:
        alias.hardlink_to(picture)
    before = picture.read_bytes()
    result = call("run", picture, option, alias)
    assert result.code == 1
    assert picture.read_bytes() == before
    if option != "--state":  # which is refused before, as damaged
        assert_one_line_of_advice(result, "is the source itself")


def _numbered(folder: Folder) -> Path:
    """A folder of two pictures with the names of masks."""
    pictures = folder(0, 2)
    for number in range(2):
        (pictures / f"{number}.png").rename(pictures / f"{number:06d}.png")
    return pictures


@pytest.mark.parametrize("form", ["{}", "{}/*", "{}/*.png", "{}/%06d.png", "{}/000000.png"])
@pytest.mark.parametrize("option", ["--masks", "--plot"])
def test_the_sources_pictures_are_not_written_over(
    form: str, option: str, folder: Folder, tmp_path: Path
) -> None:
    pictures = _numbered(folder)
    before = {path: path.read_bytes() for path in pictures.iterdir()}
    (tmp_path / "net.py").write_text(_SEGMENTER)
    words = ("--model", f"{tmp_path / 'net.py'}:network") if option == "--masks" else ()
    place = pictures if option == "--masks" else pictures / "000000.png"
    result = call("run", form.format(pictures), option, place, *words)
    assert_one_line_of_advice(result, "choose another")
    assert {path: path.read_bytes() for path in pictures.iterdir()} == before


def test_results_beside_and_below_the_sources_pictures_are_written_again_and_again(
    folder: Folder, tmp_path: Path
) -> None:
    pictures = folder(0, 2)
    (tmp_path / "net.py").write_text(_SEGMENTER)
    words = ("--model", f"{tmp_path / 'net.py'}:network", "--masks", pictures / "masks")
    for _ in range(2):
        result = call("run", pictures / "0.png", *words, "--save", pictures / "out.mp4")
        assert result.code == 0, result.err
    assert sorted(path.name for path in (pictures / "masks").iterdir()) == ["000000.png"]


def test_two_results_of_one_name_are_refused(folder: Folder, tmp_path: Path) -> None:
    same, other = tmp_path / "same", tmp_path / ".." / tmp_path.name / "same"
    result = call("run", folder(0, 1), "--jsonl", same, "--state", other)
    assert_one_line_of_advice(result, "--jsonl and --state are both")
    assert not same.exists()


@pytest.mark.parametrize("option", ["--source-frames", "--first-frames", "--source-accuracy"])
def test_what_a_bundle_was_exported_with_is_refused(option: str) -> None:
    result = call("run", "demo", "--backend", "onnx", option, 9)
    assert_one_line_of_advice(result, f"{option} is fixed in a bundle")


def test_class_names_of_another_network_are_told(folder: Folder, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("cat\ndog\n")
    result = call("run", folder(0, 1), "--labels", names)
    assert_one_line_of_advice(result, "2 class names", f"{len(LABELS)} outputs", "--labels")


def test_a_label_that_is_no_class_of_the_network_is_told(folder: Folder, tmp_path: Path) -> None:
    pictures = folder(0, 2)
    (pictures / "labels.csv").write_text("file,label\n0.png,3\n1.png,40\n")
    (tmp_path / "net.py").write_text(
        "from torch import nn\n"
        "def make():\n"
        "    return nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5),\n"
        "                         nn.AdaptiveAvgPool2d(1), nn.Flatten())\n"
    )
    result = call("run", pictures, "--model", f"{tmp_path / 'net.py'}:make", "--size", 16)
    assert result.code == 1
    assert "1.png has the label 40 and the network has 5 classes" in result.err
    assert "Traceback" not in result.err


def test_the_demo_has_no_truth_for_a_network_of_other_classes(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "from torch import nn\n"
        "LABELS = ['cat', 'dog', 'owl', 'ant', 'bee']\n"
        "def make():\n"
        "    return nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5),\n"
        "                         nn.AdaptiveAvgPool2d(1), nn.Flatten())\n"
    )
    model = ("--model", f"{tmp_path / 'net.py'}:make", "--size", 16)
    result = call("run", "demo", *model, "--max-frames", 3)
    assert result.code == 0
    assert "error %" not in result.out


def test_compared_methods_take_the_preset_of_the_run(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Adapter] = []

    class Noted(Adapter):
        def __init__(self, *args: Any, **more: Any) -> None:
            super().__init__(*args, **more)
            made.append(self)

    for module in ("edge_tta.adapter", "edge_tta.cli.loading"):
        monkeypatch.setattr(f"{module}.Adapter", Noted)
    words = ("--preset", "paper", "--compare", "nanoadapt:norm")
    assert call("run", folder(0, 1), *words).code == 0
    assert [adapter.config.calibration.smoothing for adapter in made] == [0.98, 0.98]


def test_an_alarm_needs_the_filter_and_a_share(folder: Folder) -> None:
    pictures = folder(0, 1)
    assert_one_line_of_advice(
        call("run", pictures, "--alarm-below", 70, "--filter", "off"), "leave --filter on"
    )
    for wrong in ("0", "100", "x", "nan"):
        result = call("run", pictures, "--alarm-below", wrong)
        assert result.code == 2
        assert "expected per cent" in result.err


def test_an_alarm_is_told_and_recorded_from_the_first_estimate_on() -> None:
    words = ("--method", "source", "--max-frames", 130, "--alarm-below", 99, "--jsonl", "-")
    result = call("run", "demo", "--model", "demo", *words)
    lines = list(map(json.loads, result.out.splitlines()))
    below = [line["frame"] for line in lines if "alarm_below" in line]
    known = [line["frame"] for line in lines if line["filter"]["accuracy"] is not None]
    assert below == known == list(range(99, 130))
    assert {line["alarm_below"] for line in lines[99:]} == {0.99}
    assert result.err.count("alarm: below 99%: estimated accuracy") == 1
    assert re.search(r"estimated accuracy, latest 130 frames: \d.*; without the filter", result.err)
