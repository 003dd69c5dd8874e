"""A state folded into a network's weights: the same predictions and observations, faster."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edge_tta.engines.folded
from edge_tta.adapter import Adapter
from edge_tta.bundle.folder import Bundle
from edge_tta.bundle.folding import FoldedSession, UnsuitableError, _layout, variable_tag
from edge_tta.engines.onnx import OnnxEngine
from tests.adapters import WINDOW, stream
from tests.bundle.bundles import copied, fresh, kept
from tests.bundle.test_bundle_adapter import assert_near

SPREAD = ("calib.from_lasting", "calib.from_recent")
IMAGES = [batch.numpy() for batch in stream(2 * WINDOW, n=1)]


def _by_graphs() -> Adapter:
    """One that gives its graphs the state as input."""
    adapter = fresh()
    engine = adapter.engine
    assert isinstance(engine, OnnxEngine)
    engine.not_folded = "for comparison"
    return adapter


def _is_folded(adapter: Adapter) -> bool:
    engine = adapter.engine
    assert isinstance(engine, OnnxEngine)
    return engine._folded is not None and not engine.not_folded


def test_predictions_are_those_of_the_graph_at_every_state() -> None:
    folded, by_graphs = fresh(), _by_graphs()
    states = [folded.state]
    for image in IMAGES:
        by_graphs(image)
        states.append(by_graphs.state)
    for k in (0, 3, 0, 5, 5, 8, 3, 0):  # to and fro
        folded.restore(states[k])
        by_graphs.restore(states[k])
        for image in IMAGES[:2]:
            expected = by_graphs.predict(image)
            np.testing.assert_allclose(folded.predict(image), expected, rtol=1e-4, atol=1e-5)
            source = by_graphs.predict_source(image)
            np.testing.assert_allclose(folded.predict_source(image), source, rtol=1e-4, atol=1e-5)
    assert _is_folded(folded)


def test_observations_are_those_of_the_graph_frame_after_frame() -> None:
    folded, by_graphs = fresh(), _by_graphs()
    for image in IMAGES:
        answers = [adapter(image, learn=False) for adapter in (folded, by_graphs)]
        np.testing.assert_allclose(*answers, rtol=1e-4, atol=1e-5)
        assert_near(folded.state, by_graphs.state)
    assert _is_folded(folded)
    assert not np.allclose(folded.state["calib.recent_offset"], 0)


def test_weights_change_in_place_and_no_session_is_made_for_a_state(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made, adapter = [], fresh()  # exporting loads sessions of its own

    class Counted(FoldedSession):
        def __init__(self, *arguments: Any) -> None:
            made.append(arguments)
            super().__init__(*arguments)

    monkeypatch.setattr(edge_tta.engines.folded, "FoldedSession", Counted)
    for image in IMAGES:
        adapter(image)
        adapter.predict(image)
        adapter.predict_source(image)
    assert len(made) == 2  # the source's, and the adapted one's


def test_a_state_is_made_ready_while_another_predicts() -> None:
    adapter, by_graphs = fresh(), _by_graphs()
    by_graphs(IMAGES[0])
    first = by_graphs.state
    by_graphs(IMAGES[1])
    second = by_graphs.state
    engine = adapter.engine
    by_graphs.restore(first)
    expected = by_graphs.predict(IMAGES[2])
    engine.predict(IMAGES[2], first)

    engine.ready(second)
    problems: list[Exception] = []

    def fold() -> None:
        try:
            for k in range(60):
                engine.ready(
                    {**second, "calib.from_lasting": second["calib.from_lasting"] * (1 + k / 60)}
                )
        except Exception as error:
            problems.append(error)

    folding = threading.Thread(target=fold)
    folding.start()
    times = 0
    while folding.is_alive() or times < 5:
        np.testing.assert_allclose(engine.predict(IMAGES[2], first), expected, atol=1e-5)
        times += 1
    folding.join()
    assert not problems
    engine.ready(second)
    by_graphs.restore(second)
    np.testing.assert_allclose(
        engine.predict(IMAGES[2], second), by_graphs.predict(IMAGES[2]), atol=1e-5
    )


def test_what_onnxruntime_makes_something_else_of_runs_by_graphs_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unsuitable(*arguments: Any) -> None:
        raise UnsuitableError("folded.onnx: a weight is in an unknown layout")

    monkeypatch.setattr(edge_tta.engines.folded, "FoldedSession", unsuitable)
    adapter, by_graphs = fresh(), _by_graphs()
    for image in IMAGES[:3]:
        np.testing.assert_array_equal(adapter(image), by_graphs(image))
        np.testing.assert_array_equal(adapter.predict(image), by_graphs.predict(image))
    engine = adapter.engine
    assert isinstance(engine, OnnxEngine)
    assert "unknown layout" in engine.not_folded


def test_where_there_is_no_room_for_the_optimised_graph_it_runs_by_graphs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    expected = _by_graphs().predict(IMAGES[0])  # which makes the bundle, if no test has yet
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    adapter = fresh()
    np.testing.assert_array_equal(adapter.predict(IMAGES[0]), expected)
    engine = adapter.engine
    assert isinstance(engine, OnnxEngine)
    assert "No such file" in engine.not_folded


def test_a_bundle_without_folded_graphs_opens_and_says_what_is_missing(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    path = folder / "manifest.json"
    fields = json.loads(path.read_text())
    for method in fields["methods"].values():
        del method["folded"]
    path.write_text(json.dumps(fields))
    engine = OnnxEngine(folder)
    adapter = Adapter(engine)
    np.testing.assert_array_equal(adapter(IMAGES[0]), _by_graphs()(IMAGES[0]))
    assert "earlier version" in engine.not_folded


def test_the_profile_memory_keeps_each_weight_once() -> None:
    engine = OnnxEngine(Bundle(kept(), profile="memory"))
    adapter = Adapter(engine)
    adapter(IMAGES[0], learn=False)
    adapter.predict(IMAGES[0])
    assert engine._folded is None
    assert "memory" in engine.not_folded


def test_what_becomes_unsuitable_later_runs_by_graphs_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    adapter, by_graphs = fresh(), _by_graphs()
    adapter.predict(IMAGES[0])  # one network is loaded, and no other can be

    def unsuitable(*arguments: Any) -> None:
        raise UnsuitableError("no room")

    monkeypatch.setattr(edge_tta.engines.folded, "FoldedSession", unsuitable)
    for image in IMAGES[:2]:
        for one in (adapter, by_graphs):
            one(image)
        expected = by_graphs.predict(image)
        np.testing.assert_allclose(adapter.predict(image), expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(adapter(image, learn=False), by_graphs(image, learn=False))
        # Since then it runs by graphs for good.
        np.testing.assert_array_equal(adapter.predict(image), by_graphs.predict(image))


@pytest.mark.parametrize("blocks", [1, 4, 8, 16])
@pytest.mark.parametrize("channels", [16, 12])
def test_a_weights_layout_is_told_from_its_values(blocks: int, channels: int) -> None:
    padded = -(-channels // blocks) * blocks
    trained = np.random.default_rng(0).normal(size=(channels, 3, 2, 2)).astype(np.float32)
    whole = np.zeros((padded, 3, 2, 2), np.float32)
    whole[:channels] = trained
    blocked = whole.reshape(padded // blocks, blocks, -1).transpose(0, 2, 1)
    weight = np.ascontiguousarray(blocked).reshape(padded, 3, 2, 2)
    layout = _layout(weight, trained.reshape(channels, -1), padded)
    assert layout == (padded // blocks, 12, blocks)


def test_weights_in_no_layout_of_blocks_are_refused() -> None:
    rng = np.random.default_rng(0)
    trained = rng.normal(size=(8, 9)).astype(np.float32)
    with pytest.raises(ValueError, match="unknown layout"):
        _layout(rng.permutation(trained.ravel()).reshape(8, 9), trained, 8)


def test_equal_weights_in_blocks_tell_no_layout() -> None:
    with pytest.raises(ValueError, match="unknown layout"):
        _layout(np.ones((16, 1, 3, 3), np.float32), np.ones((16, 9), np.float32), 16)
    assert _layout(np.ones((16, 1, 1, 1), np.float32), np.ones((16, 1), np.float32), 16)


def test_tags_of_sites_and_kinds_differ_and_are_exact() -> None:
    tags = [float(variable_tag(k, kind, 2)[0]) for k in (0, 1, 9999) for kind in ("bias", "shift")]
    assert len(set(tags)) == len(tags)
    assert all(tag == int(tag) for tag in tags)
