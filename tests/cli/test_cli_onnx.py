"""`--model FILE.onnx` with --source-frames and --first-frames on the command line."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch

from edge_tta import Adapter
from edge_tta.bundle.folder import Bundle
from edge_tta.models import source_frames
from edge_tta.prepare import InputSpec
from tests.cli.commands import Result, assert_one_line_of_advice, call
from tests.network.onnx_file.graphs import exported, images_of, model, node, written
from tests.networks import Residual, with_statistics

FRAMES = 24


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a folded network and frames, which is the working directory."""
    monkeypatch.chdir(tmp_path)
    exported(with_statistics(Residual()), tmp_path / "net.onnx")
    pictures = np.random.default_rng(0).integers(0, 255, (FRAMES, 12, 12, 3), np.uint8)
    np.savez("good.npz", pictures=pictures, labels=np.zeros(FRAMES))
    return tmp_path


def assert_refused(result: Result, words: str) -> None:
    """A line of advice stands below those of the progress."""
    assert result.code == 1
    assert words in result.err.splitlines()[-1]
    assert all(
        line.startswith(("source frames", "net.onnx")) for line in result.err.splitlines()[:-1]
    )


@pytest.mark.usefixtures("files")
def test_what_was_learned_comes_back_in_the_same_graph() -> None:
    frames = ("--model", "net.onnx", "--source-frames", "good.npz")
    ran = call("run", "demo", *frames, "--max-frames", 3, "--state", "net.safetensors")
    assert ran.code == 0, ran.err
    assert f"5 BatchNorms have the statistics of {FRAMES} source frames" in ran.err
    state = ("--state", "net.safetensors")
    done = call("export", "folded", *frames, *state, "--out", "net.adapted.onnx")
    assert done.code == 0, done.err
    assert "net.adapted.onnx" in done.out
    before, after = onnx.load("net.onnx").graph, onnx.load("net.adapted.onnx").graph
    assert [n.op_type for n in before.node] == [n.op_type for n in after.node]
    assert_one_line_of_advice(
        call("export", "folded", *frames, *state, "--out", "net.onnx"), "itself", "another name"
    )
    other = ("--model", "net.onnx", "--source-frames", "good.npz", "--first-frames", 12)
    assert_refused(
        call("export", "folded", *other, *state, "--out", "other.onnx"), "another network"
    )


@pytest.mark.usefixtures("files")
def test_the_streams_own_first_frames_are_taken_and_that_is_said() -> None:
    ran = call("run", "demo", "--model", "net.onnx", "--first-frames", 10, "--max-frames", 2)
    assert ran.code == 0, ran.err
    assert "first 10 frames of demo are taken for good conditions" in ran.err
    assert "the statistics of 10 source frames" in ran.err


@pytest.mark.usefixtures("files")
def test_frames_that_do_not_do_are_told_of() -> None:
    proto = model(
        [
            node("Conv", "x w", "c"),
            node("Relu", "c", "r"),
            node("GlobalAveragePool", "r", "p"),
            node("Flatten", "p", "y"),
        ],
        {"w": images_of(4, 3, 3, 3)},
    )
    written(Path("all.onnx"), proto)
    run = ("run", "demo", "--max-frames", 1, "--model")
    assert_one_line_of_advice(call(*run, "all.onnx"), "folded into its conv", "--source-frames")
    few = ("--source-frames", "good.npz", "--first-frames", 3)
    assert_refused(call(*run, "all.onnx", *few), "3 source frames are too few")
    ran = call(*run, "demo", "--source-frames", "good.npz")
    assert ran.code == 0, ran.err
    # The demo's network was trained on what it sees, and these are no pictures of a drive.
    assert f"its statistics of training serve the {FRAMES} source frames as well" in ran.err
    export = ("export", "frozen", "--model", "all.onnx", "--out", "parts")
    assert_one_line_of_advice(call(*export, "--first-frames", 9), "give these too")
    assert_one_line_of_advice(call(*export, "--source-accuracy", 90), "give these too")
    scale = {name: np.ones(4, np.float32) for name in "gbmv"}
    kept = [
        node("Conv", "x w", "c"),
        node("BatchNormalization", "c g b m v", "n"),
        node("GlobalAveragePool", "n", "p"),
        node("Flatten", "p", "y"),
    ]
    written(Path("kept.onnx"), model(kept, {"w": images_of(4, 3, 3, 3), **scale}))
    ran = call(*run, "kept.onnx", "--source-frames", "good.npz")
    assert ran.code == 0, ran.err
    assert "kept.onnx: 1 BatchNorms have the statistics of" in ran.err
    np.savez("none.npz", labels=np.zeros(3))
    none = ("--source-frames", "none.npz")
    assert_refused(call(*run, "all.onnx", *none), "holds no pictures")
    weights = ("--weights", "net.onnx")
    assert_one_line_of_advice(call(*run, "all.onnx", *weights), "leave --weights out")


@pytest.mark.usefixtures("files")
def test_every_update_is_handed_to_a_command_as_the_users_own_file() -> None:
    Path("take.py").write_text(
        "import onnx, shutil, sys\n"
        "onnx.checker.check_model(onnx.load(sys.argv[2]))\n"
        "shutil.copy(sys.argv[2], sys.argv[1])\n"
    )
    frames = ("--model", "net.onnx", "--source-frames", "good.npz", "--guard", "off")
    Path("clip").mkdir()
    for place, picture in enumerate(np.random.default_rng(1).integers(0, 99, (33, 12, 12, 3))):
        cv2.imwrite(f"clip/{place:02d}.png", picture)
    command = f"{sys.executable} take.py taken.onnx"
    ran = call("run", "clip", *frames, "--max-frames", 18, "--on-update", command)
    assert ran.code == 0, ran.err
    before, after = onnx.load("net.onnx").graph, onnx.load("taken.onnx").graph
    assert list(before.node) == list(after.node)
    old, new = (
        {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
        for graph in (before, after)
    )
    assert old.keys() == new.keys()
    assert any(not np.allclose(old[name], new[name], atol=1e-3) for name in old)
    failing = f"{sys.executable} -c 'raise SystemExit(3)'"
    ran = call("run", "clip", *frames, "--on-update", failing)
    assert ran.code == 0, ran.err
    assert ran.err.count("failed (exit code 3); the run goes on") == 1
    assert_one_line_of_advice(call("run", "demo", "--on-update", "x"), "none; give --model")


@pytest.mark.usefixtures("files")
def test_a_bundle_of_a_restored_network_adapts_as_the_network_does() -> None:
    frames = ("--model", "net.onnx", "--source-frames", "good.npz")
    known = ("--source-accuracy", 80)
    done = call("export", "bundle", *frames, *known, "--host", "tent", "--out", "b")
    assert done.code == 0, done.err
    sure_above = Bundle("b").manifest.sure_above
    assert sure_above is not None
    assert 0 == sure_above.low < sure_above.value <= sure_above.high < 1  # of few frames
    spec = InputSpec(size=(12, 12))
    labelled = source_frames.labelled_images_of("good.npz", spec, FRAMES)
    sources = np.concatenate([image for image, _ in labelled])
    adapter, bundle = Adapter("net.onnx", source_images=sources, input_spec=spec), Adapter("b")
    for image in images_of(6, 3, 12, 12)[:, None] * 0.4:
        expected = adapter(torch.from_numpy(image))
        np.testing.assert_allclose(bundle(image), expected, rtol=1e-3, atol=1e-3)
    assert bundle.steps == adapter.steps == 6
    moved = np.abs(bundle.predict(image) - bundle.predict_source(image)).max()
    assert moved > 5e-2
