"""Bundles made to stall a device or to fill its memory, and failures of onnxruntime: one line."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from edge_tta.bundle.folder import Bundle
from edge_tta.bundle.manifest import MANIFEST
from edge_tta.bundle.runtime import check_threads, open_session
from edge_tta.cli.loading import DEMO_BUNDLE
from edge_tta.errors import BundleError, ConfigError
from edge_tta.prepare import Channels, InputSpec


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the demo's bundle."""
    return Path(shutil.copytree(DEMO_BUNDLE, tmp_path / "bundle"))


def _edited(folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    fields = json.loads((folder / MANIFEST).read_text())
    change(fields)
    (folder / MANIFEST).write_text(json.dumps(fields))
    return folder


def _refused(folder: Path, match: str) -> None:
    with pytest.raises(BundleError, match=match) as told:
        Bundle(folder)
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 400


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
@pytest.mark.parametrize("name", [MANIFEST, "weights.bin", "observe.onnx", "state.safetensors"])
def test_a_pipe_among_a_bundles_files_is_refused_and_not_waited_for(
    folder: Path, name: str
) -> None:
    (folder / name).unlink()
    os.mkfifo(folder / name)
    _refused(folder, "no ordinary file")


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no /dev/zero here")
@pytest.mark.parametrize("name", [MANIFEST, "weights.bin"])
def test_a_device_among_a_bundles_files_is_refused(folder: Path, name: str) -> None:
    (folder / name).unlink()
    (folder / name).symlink_to("/dev/zero")
    _refused(folder, "no ordinary file")


@pytest.mark.parametrize("profile", [0, None, True, "fast", ["speed"], "speed" * 10**5])
def test_absurd_advice_is_refused(folder: Path, profile: Any) -> None:
    _refused(_edited(folder, lambda m: m.update(advice={"profile": profile})), "is damaged")


def test_a_manifest_of_absurd_size_is_not_parsed(folder: Path) -> None:
    with (folder / MANIFEST).open("r+b") as file:
        file.truncate(100 << 20)
    _refused(folder, "more than 64 MiB")


def test_names_of_files_cannot_flood_a_terminal(folder: Path) -> None:
    name = "../" + "long name " * 500
    _refused(
        _edited(folder, lambda m: m["files"].update({name: m["files"]["weights.bin"]})), "names"
    )


def test_a_square_size_is_a_number_as_ever_and_others_are_two(folder: Path) -> None:
    assert json.loads((folder / MANIFEST).read_text())["input"]["size"] == 64
    assert Bundle(folder).manifest.input.shape == (3, 64, 64)

    def change(fields: dict[str, Any]) -> None:
        fields["image_shape"] = [1, 48, 80]
        fields["input"] |= {"size": [48, 80], "mean": [0.5], "std": [0.2], "channels": "gray"}

    spec = Bundle(_edited(folder, change)).manifest.input
    assert spec == InputSpec((48, 80), 255.0, (0.5,), (0.2,), Channels.GRAY)


@pytest.mark.parametrize(
    "change",
    [
        {"size": [64, 80]},
        {"size": 32},
        {"size": [64]},
        {"size": "64"},
        {"channels": "gray"},
        {"channels": "cmyk"},
        {"channels": 3},
        {"mean": [0.5, 0.5], "std": [0.5, 0.5]},
    ],
)
def test_an_input_that_is_not_the_images_is_refused(folder: Path, change: dict[str, Any]) -> None:
    _refused(_edited(folder, lambda m: m["input"].update(change)), "is damaged")


@pytest.mark.parametrize(
    ("operator", "shape"),
    [
        ("ConstantOfShape", [2**32]),
        ("ConstantOfShape", [2**16] * 60),
        ("Expand", [1, 2**20, 2**20]),
    ],
)
def test_a_graph_that_makes_a_tensor_of_absurd_size_is_refused_before_it_runs(
    folder: Path, operator: str, shape: Sequence[int]
) -> None:
    path = folder / "observe.onnx"
    model = onnx.load(path, load_external_data=False)
    constant = onnx.numpy_helper.from_array(np.array(shape, np.int64), "much")
    inputs = ["much"] if operator == "ConstantOfShape" else ["images", "much"]
    model.graph.initializer.append(constant)
    model.graph.node.add(op_type=operator, input=inputs, output=["huge"])
    data = model.SerializeToString()
    path.write_bytes(data)
    record = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    _edited(folder, lambda m: m["files"].update({"observe.onnx": record}))
    _refused(folder, rf"makes a tensor of 2\^\d+ values or more \({operator}\)")


def _failing(path: Path) -> Path:
    """A graph that loads, and cannot be run on five values."""
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node("Reshape", ["images", "shape"], ["logits"])],
        "failing",
        [helper.make_tensor_value_info("images", kind, ["n"])],
        [helper.make_tensor_value_info("logits", kind, [2, "m"])],
        [onnx.numpy_helper.from_array(np.array([2, -1]), "shape")],
    )
    opset = [helper.make_opsetid("", 17)]
    path.write_bytes(
        helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()
    )
    return path


def test_a_failure_of_onnxruntime_in_a_run_is_told_in_one_line_and_nothing_else_printed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    session = open_session(_failing(tmp_path / "graph.onnx"), 1, "speed")
    assert session.run(None, {"images": np.zeros(4, np.float32)})[0].shape == (2, 2)
    with pytest.raises(BundleError, match=r"onnxruntime cannot run .*graph\.onnx: ") as told:
        session.run(None, {"images": np.zeros(5, np.float32)})
    assert "\n" not in str(told.value)
    assert str(told.value).endswith("export the bundle again")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("threads", [0, -1, 100_000, 10**12])
def test_threads_that_would_stall_the_machine_are_refused(tmp_path: Path, threads: int) -> None:
    with pytest.raises(ConfigError, match="threads must be a whole number from 1 to"):
        check_threads(threads)
    with pytest.raises(ConfigError, match="threads must be"):
        open_session(_failing(tmp_path / "graph.onnx"), threads, "speed")


def test_as_many_threads_as_there_are_cores_are_taken() -> None:
    for threads in (1, 2, os.cpu_count() or 1):
        check_threads(threads)
