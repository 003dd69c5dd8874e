"""Bad bundles get one clear line, and nothing of them is loaded."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from safetensors.numpy import load, save

import edge_tta.bundle.folder
from edge_tta.bundle.folder import Bundle
from edge_tta.bundle.manifest import MANIFEST, Advice
from edge_tta.engines.onnx import OnnxEngine
from edge_tta.errors import BundleError
from tests.bundle.bundles import copied, kept


def _edit_manifest(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    fields = json.loads((folder / MANIFEST).read_text())
    change(fields)
    (folder / MANIFEST).write_text(json.dumps(fields))


def _vouch(folder: Path, name: str) -> None:
    """Enters a changed file into the manifest, as one who means harm would."""
    data = (folder / name).read_bytes()

    def enter(fields: dict[str, Any]) -> None:
        digest = hashlib.sha256(data).hexdigest()
        fields["files"][name] = {"bytes": len(data), "sha256": digest}

    _edit_manifest(folder, enter)


def _edit_graph(folder: Path, change: Callable[[onnx.GraphProto], None]) -> None:
    path = folder / "learn.onnx"
    model = onnx.load(path, load_external_data=False)
    change(model.graph)
    path.write_bytes(model.SerializeToString())
    _vouch(folder, "learn.onnx")


def _external(graph: onnx.GraphProto) -> onnx.TensorProto:
    return next(t for t in graph.initializer if t.external_data)


def _set_external(key: str, value: str) -> Callable[[Path], None]:
    def change(graph: onnx.GraphProto) -> None:
        for entry in _external(graph).external_data:
            if entry.key == key:
                entry.value = value

    return lambda folder: _edit_graph(folder, change)


def _edit_weights(folder: Path) -> None:
    path = folder / "weights.bin"
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)


def _oversize(folder: Path) -> None:
    def change(graph: onnx.GraphProto) -> None:
        _external(graph).dims[0] *= 1000

    _edit_graph(folder, change)


def _add_subgraph(folder: Path) -> None:
    def change(graph: onnx.GraphProto) -> None:
        attribute = onnx.helper.make_attribute("then_branch", onnx.GraphProto(name="inner"))
        graph.node.add(op_type="If", input=["images"], output=["x"]).attribute.append(attribute)

    _edit_graph(folder, change)


def _outside(folder: Path) -> None:
    def change(fields: dict[str, Any]) -> None:
        fields["files"]["../weights.bin"] = fields["files"]["weights.bin"]
        fields["weights"] = "../weights.bin"

    _edit_manifest(folder, change)


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no manifest": (lambda f: (f / MANIFEST).unlink(), "no bundle"),
    "manifest is no JSON": (lambda f: (f / MANIFEST).write_text("{"), "cannot be read"),
    "manifest of another program": (
        lambda f: (f / MANIFEST).write_text('{"format": "x"}'),
        "not the manifest of a bundle",
    ),
    "another version": (
        lambda f: _edit_manifest(f, lambda m: m.update(version=99)),
        "format version 99",
    ),
    "an earlier version": (
        lambda f: _edit_manifest(f, lambda m: m.update(version=1)),
        "format version 1, this edge_tta reads version 5; export the bundle with this edge_tta",
    ),
    "manifest without methods": (
        lambda f: _edit_manifest(f, lambda m: m.update(methods={})),
        "is damaged",
    ),
    "manifest with a number for a name": (
        lambda f: _edit_manifest(f, lambda m: m.update(weights=3)),
        "is damaged",
    ),
    "an unknown profile is advised": (
        lambda f: _edit_manifest(f, lambda m: m["advice"].update(profile="thrift")),
        "is damaged",
    ),
    "a threshold of more than certainty": (
        lambda f: _edit_manifest(f, lambda m: m.update(sure_above=[0.9, 0.8, 1.5])),
        "is damaged",
    ),
    "a threshold outside its interval": (
        lambda f: _edit_manifest(f, lambda m: m.update(sure_above=[0.5, 0.9, 0.1])),
        "is damaged",
    ),
    "a threshold without an interval": (
        lambda f: _edit_manifest(f, lambda m: m.update(sure_above=0.9)),
        "is damaged",
    ),
    "a file outside the folder": (_outside, "expected names in its folder"),
    "missing weights": (lambda f: (f / "weights.bin").unlink(), "lacks .*weights.bin"),
    "missing graph": (lambda f: (f / "learn.onnx").unlink(), "lacks .*learn.onnx"),
    "edited weights": (_edit_weights, "SHA-256 differs"),
    "cut weights": (
        lambda f: (f / "weights.bin").write_bytes((f / "weights.bin").read_bytes()[:-1]),
        "is not of .* bytes",
    ),
    "absolute path": (_set_external("location", "/etc/passwd"), "takes .* from '/etc/passwd'"),
    "parent path": (_set_external("location", "../weights.bin"), "from '../weights.bin'"),
    "offset beyond the end": (_set_external("offset", str(1 << 40)), "wants .* bytes at"),
    "negative offset": (_set_external("offset", "-64"), "wants .* bytes at"),
    "oversized tensor": (_oversize, "wants .* bytes at"),
    "subgraph": (_add_subgraph, "holds a subgraph"),
    "graph is no ONNX": (
        lambda f: ((f / "learn.onnx").write_bytes(b"\xff" * 50), _vouch(f, "learn.onnx")),
        "is no ONNX file",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_bad_bundle_is_told_in_one_line_and_nothing_is_loaded(
    damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loaded(*_: object) -> None:
        raise AssertionError("a session was opened")

    folder = copied(tmp_path)
    monkeypatch.setattr(edge_tta.bundle.folder, "open_session", loaded)
    change, message = DAMAGES[damage]
    change(folder)
    with pytest.raises(BundleError, match=message) as caught:
        Bundle(folder)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_method_that_trains_does_not_observe_where_its_graph_is_missing(tmp_path: Path) -> None:
    folder, gone = copied(tmp_path), {"learn": None, "compact": None}
    _edit_manifest(folder, lambda m: m["methods"]["nanoadapt:tent"].update(gone))
    with pytest.raises(BundleError, match="names no graph that learns"):
        OnnxEngine(folder).prepare((3, 8, 8))


def test_a_whole_bundle_is_taken(tmp_path: Path) -> None:
    assert Bundle(copied(tmp_path)).fingerprint == Bundle(kept()).fingerprint


def test_a_bundle_is_opened_as_it_advises_and_one_without_advice_as_ever(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    _edit_manifest(folder, lambda m: m["advice"].update(profile="memory"))
    assert Bundle(folder).profile == "memory"
    assert Bundle(folder, profile="speed").profile == "speed"
    _edit_manifest(folder, lambda m: m.pop("advice"))
    assert Bundle(folder).profile == "speed"
    assert Bundle(folder).manifest.advice == Advice("speed")


def test_a_state_that_is_not_the_manifests_is_refused(tmp_path: Path) -> None:
    folder = copied(tmp_path)

    def change(fields: dict[str, Any]) -> None:
        first = next(iter(fields["methods"].values()))
        first["layout"]["calib.recent_offset"][0] = [3]

    _edit_manifest(folder, change)
    bundle = Bundle(folder)
    with pytest.raises(BundleError, match="recent_offset"):
        bundle.source_state("nanoadapt:tent")


def _edit_state(folder: Path, **metadata: str) -> None:
    """Changes the header of the first method's state, as one who means harm would."""
    name = Bundle(folder).manifest.methods["nanoadapt:tent"].state
    data = (folder / name).read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
    (folder / name).write_bytes(save(load(data), {**header, **metadata}))
    _vouch(folder, name)


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ({"version": "1"}, "state format version 1, this edge_tta reads version 5"),
        ({"config": '{"method": "nanoadapt", "host": "tent"}'}, "another version of edge_tta"),
        ({"config": "{}"}, "another version of edge_tta"),
    ],
)
def test_a_bundle_whose_state_is_of_another_version_is_to_be_exported_again(
    metadata: dict[str, str], said: str, tmp_path: Path
) -> None:
    folder = copied(tmp_path)
    _edit_state(folder, **metadata)
    with pytest.raises(BundleError, match=f"{said}.*export") as caught:
        OnnxEngine(folder)
    assert "\n" not in str(caught.value)
