"""`edge-tta run demo` with every output: what it writes, what it tells."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_tta.adapter import Adapter
from edge_tta.demo.spec import INPUT, LABELS
from edge_tta.demo.stream import drive
from edge_tta.models import load_model
from tests.cli.commands import Result, call, records, rows_of

FRAMES = 40
STAGES = {"read", "prepare", "adapt", "filter", "compare", "show", "save"}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """One run with every output."""
    where = tmp_path_factory.mktemp("demo")
    result = call(
        *("run", "demo", "--max-frames", FRAMES, "--compare", "source,norm", "--guard", "off"),
        *("--save", where / "out.mp4", "--jsonl", where / "out.jsonl"),
        *(
            "--state",
            where / "state.safetensors",
            "--save-every",
            "1000",
            "--plot",
            where / "out.png",
        ),
    )
    return where, result


def test_a_run_with_every_output_succeeds_and_leaves_nothing_else(
    demo: tuple[Path, Result],
) -> None:
    where, result = demo
    assert result.code == 0, result.err
    names = {path.name for path in where.iterdir()}
    assert names == {"out.mp4", "out.jsonl", "state.safetensors", "out.png"}
    for name in ("out.mp4", "state.safetensors", "out.png"):
        assert f"wrote {where / name}" in result.err


def test_the_log_has_a_record_a_frame_with_the_documented_keys(demo: tuple[Path, Result]) -> None:
    seen = records(demo[0] / "out.jsonl")
    assert [record["frame"] for record in seen] == list(range(FRAMES))
    assert [record["step"] for record in seen] == list(range(1, FRAMES + 1))
    for record, frame in zip(seen, drive(FRAMES), strict=True):
        assert record["source"] == "demo"
        assert record["name"] == f"demo#{record['frame']}"
        assert record["time_s"] == pytest.approx(record["frame"] / 10)
        assert record["label"] == LABELS[record["prediction"]]
        assert 1 / len(LABELS) <= record["confidence"] <= 1
        assert 0 <= record["entropy"] <= np.log(len(LABELS)) + 1e-6
        assert record["adapted"] is True
        assert record["why"]
        assert set(record["ms"]) == STAGES
        assert all(value >= 0 for value in record["ms"].values())
        assert (record["truth"], record["condition"]) == (frame.label, frame.condition)
        assert set(record["compared"]) == {"source", "norm"}
        assert set(record["raw"]) == {"prediction", "label", "confidence", "entropy"}
        estimates = {"accuracy", "accuracy_alone", "frames"}
        assert set(record["filter"]) == {"alone", "stay_frames", "stay_s", "novelty"} | estimates
        assert 0 <= record["filter"]["alone"] <= 1 <= record["filter"]["stay_frames"]


def test_the_log_tells_of_updates_once_a_window(demo: tuple[Path, Result]) -> None:
    why = [record["why"] for record in records(demo[0] / "out.jsonl")]
    assert why[14:17] == [
        "learning: 15 of 16 to an update",
        "updates so far: 1",
        "learning: 1 of 16 to an update",
    ]
    assert [at for at, text in enumerate(why) if text.startswith("updates so far")] == [15, 31]


def test_compared_predictions_are_those_of_methods_run_alone(demo: tuple[Path, Result]) -> None:
    network = load_model("demo").module
    alone = {name: Adapter(network, name, input_spec=INPUT) for name in ("source", "norm")}
    for record, frame in zip(records(demo[0] / "out.jsonl"), drive(FRAMES), strict=True):
        image = INPUT.prepare(frame.frame)
        for name, adapter in alone.items():
            assert record["compared"][name]["prediction"] == int(adapter(image).argmax())


def test_the_video_has_every_frame_at_the_source_rate(demo: tuple[Path, Result]) -> None:
    capture = cv2.VideoCapture(str(demo[0] / "out.mp4"))
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(10)
    frames = []
    while (read := capture.read())[0]:
        frames.append(read[1])
    capture.release()
    assert len(frames) == FRAMES
    assert {frame.shape for frame in frames} == {(480, 480, 3)}


def test_the_plot_is_a_picture(demo: tuple[Path, Result]) -> None:
    picture = cv2.imread(str(demo[0] / "out.png"))
    assert picture is not None
    assert min(picture.shape[:2]) > 300
    assert picture.std() > 5


def test_the_state_goes_on_from_the_last_frame(demo: tuple[Path, Result]) -> None:
    adapter = Adapter(load_model("demo").module, input_spec=INPUT)
    adapter.load(demo[0] / "state.safetensors")
    adapter.prepare((3, INPUT.size, INPUT.size))
    assert (adapter.steps, adapter.updates, adapter.position) == (FRAMES, 2, FRAMES % 16)


def test_the_summary_has_the_errors_that_the_log_has(demo: tuple[Path, Result]) -> None:
    where, result = demo
    seen = records(where / "out.jsonl")
    wrong = {
        "source": [r["compared"]["source"]["prediction"] != r["truth"] for r in seen],
        "Pred BN (norm)": [r["compared"]["norm"]["prediction"] != r["truth"] for r in seen],
        "nanoadapt:tent": [r["raw"]["prediction"] != r["truth"] for r in seen],
        "nanoadapt:tent+filter": [r["prediction"] != r["truth"] for r in seen],
    }
    rows = rows_of(result.out)
    assert f"{FRAMES} frames" in result.out
    for name, values in wrong.items():
        assert rows[name][0] == f"{100 * np.mean(values):.1f}"
    adapted = zip(wrong["nanoadapt:tent"], seen, strict=True)
    fog = [value for value, record in adapted if record["condition"] == "fog"]
    assert rows["nanoadapt:tent"][2] == f"{100 * np.mean(fog):.1f}"
    assert "ms a frame, median (p90): read " in result.out
