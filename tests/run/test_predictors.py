"""Each network sees a frame once, and what happened is one outcome."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pytest

from edge_tta.adapter import Adapter
from edge_tta.config import make_config
from edge_tta.frames.source import Frame
from edge_tta.guard import Guard, Limits, guard
from edge_tta.prepare import Images
from edge_tta.probability import Threshold
from edge_tta.run.alarm import Alarm
from edge_tta.run.frame_result import FilterReport, FrameResult, Outcome
from edge_tta.run.predictors import Predictors
from edge_tta.run.schedule import Schedule
from edge_tta.run.timing import Stages
from edge_tta.tasks import Classes
from edge_tta.temporal import Filtered, filtered
from edge_tta.temporal.accuracy import LEAST_FRAMES
from edge_tta.temporal.novelty import block_means

IMAGE = np.zeros((1, 3, 4, 4), np.float32)
PIXELS = np.zeros((4, 4, 3), np.uint8)
LOGITS = {"own": 0, "source": 1, "norm": 2, "kept": 3}
"""Class that each network answers with."""


class Counted:
    """An adapter that counts its runs, by network."""

    task = None

    def __init__(self, label: str, runs: Counter[str]) -> None:
        self.config = make_config(*label.split(":"))
        self.label, self.runs, self.others = label, runs, dict[str, Counted]()
        self.steps = self.updates = self.position = 0

    def _run(self, network: str) -> Images:
        self.runs[network] += 1
        return np.eye(4, dtype=np.float32)[None, LOGITS[network]]

    def __call__(self, images: Images, *, learn: bool = True) -> Images:
        self.steps += 1
        self.position = (self.position + learn) % self.config.optimizer.accumulation
        return self._run("own" if self.label == "nanoadapt:tent" else self.label)

    def predict(self, images: Images) -> Images:
        return self._run("kept")

    def predict_source(self, images: Images) -> Images:
        return self._run("source")

    def with_method(self, method: str) -> Counted:
        return self.others.setdefault(method, Counted(method, self.runs))

    def drift(self) -> float:
        return 1.0

    @property
    def state(self) -> dict[str, Any]:
        return {}

    source_state = state

    def restore(self, state: dict[str, Any]) -> None:
        pass

    def reset(self) -> None:
        pass


def _seeing(
    label: str = "nanoadapt:tent",
    limits: Limits | None = None,
    compare: Sequence[str] | None = (),
    filtered: bool = False,
    sure_above: Threshold | None = None,
    **more: Any,
) -> tuple[Predictors, Counted]:
    adapter = Counted(label, Counter())
    inner = cast(Adapter, adapter)
    guard = None if limits is None else Guard(inner, limits)
    over_time = Filtered(guard or inner, sure_above, of_source=label == "source")
    by_filter = over_time if filtered else None
    beside = {"guard": guard, "by_filter": by_filter, "compare": compare}
    return Predictors(inner, Classes(4), **beside, **more), adapter


def _see(
    predictors: Predictors, held: Outcome | None = None, label: int | None = None
) -> FrameResult:
    frame = Frame(0, PIXELS, 0.0, "x", label)
    return predictors.see(frame, IMAGE, held, None, Stages())


@pytest.mark.parametrize("every", [1, 1000])
def test_guard_comparison_and_page_share_one_run_of_the_source(every: int) -> None:
    predictors, adapter = _seeing(
        limits=Limits(every=every, drift=2.0, news=0.0), compare=("norm", "source")
    )
    predictors.source_wanted = True
    for number in range(1, 4):
        result = _see(predictors)
        assert adapter.runs == {"own": number, "source": number, "norm": number}
        assert result.source == result.compared["source"]
        assert {name: one.index for name, one in result.readings.items()} == {
            "source": 1, "norm": 2, "nanoadapt:tent": 0,
        }  # fmt: skip


def test_the_source_runs_only_where_somebody_asks_for_it() -> None:
    predictors, adapter = _seeing()
    assert _see(predictors, label=1).source is None
    predictors.source_wanted = True
    result = _see(predictors)
    assert result.source is not None
    assert not result.compared
    assert adapter.runs == {"own": 2, "source": 1}


def test_the_source_is_compared_with_from_the_first_label_on_unless_asked_otherwise() -> None:
    predictors, _ = _seeing(compare=None)
    compared = [list(_see(predictors, label=label).compared) for label in (None, 1, None)]
    assert compared == [[], ["source"], ["source"]]


def test_method_source_runs_once_and_is_its_own_comparison() -> None:
    predictors, adapter = _seeing("source", compare=("source",))
    predictors.source_wanted = True
    result = _see(predictors, label=1)
    assert adapter.runs == {"source": 1}
    assert result.source == result.reading
    assert not result.compared
    assert result.why == "method source changes nothing"


def test_a_paused_run_adapts_no_more_but_methods_beside_go_on() -> None:
    predictors, adapter = _seeing(compare=("norm",))
    result = _see(predictors, Outcome.PAUSED)
    assert adapter.runs == {"kept": 1, "norm": 1}
    assert (result.why, result.outcome.adapts, result.steps) == ("paused", False, 0)


def test_an_empty_picture_changes_none_of_them() -> None:
    predictors, adapter = _seeing(compare=("norm",))
    result = _see(predictors, Outcome.BLACK)
    assert adapter.runs == {"kept": 2}
    assert result.why == "black picture: nothing to learn from"


def test_after_a_fall_the_source_has_the_weight_also_while_paused_and_runs_once() -> None:
    predictors, adapter = _seeing(limits=Limits(every=1, drift=0.5), compare=("source",))
    fell = _see(predictors)
    assert (fell.outcome.adapts, fell.own.index) == (True, 0)
    assert fell.guard is not None
    assert [event.kind for event in fell.guard.events] == ["fell back", "reset"]
    assert fell.why == f"fell back to source: {fell.guard.fallen}"
    adapter.runs.clear()
    paused = _see(predictors, Outcome.PAUSED)
    assert adapter.runs == {"kept": 1, "source": 1}
    assert paused.reading.confidence == pytest.approx(fell.reading.confidence)
    assert paused.guard is not None
    assert not paused.guard.events


def test_outcomes_tell_learning_from_calibrating() -> None:
    predictors, adapter = _seeing(schedule=Schedule(2))
    size = adapter.config.optimizer.accumulation
    assert [_see(predictors).why for _ in range(3)] == [
        f"learning: 1 of {size} to an update",
        "predicted; adapts on every 2 frames",
        f"learning: 2 of {size} to an update",
    ]
    assert adapter.runs == {"own": 2, "kept": 1}
    adapter.position, adapter.updates = size - 1, 7
    _see(predictors)
    result = _see(predictors)
    assert (result.outcome, result.why) == (Outcome.UPDATED, "updates so far: 7")
    assert _see(_seeing("norm")[0]).why == "calibrated"
    assert [one.name for one in Outcome if one.learns] == ["UPDATED", "ACCUMULATED", "BESIDE"]
    assert [one.name for one in Outcome if one.adapts and not one.learns] == ["CALIBRATED"]


def test_frames_that_are_held_leave_the_schedule_alone() -> None:
    predictors, _ = _seeing(schedule=Schedule(2))
    outcomes = [_see(predictors, held).outcome for held in (None, Outcome.PAUSED, None, None)]
    assert outcomes == [Outcome.ACCUMULATED, Outcome.PAUSED, Outcome.SPACED, Outcome.ACCUMULATED]


def test_between_frames_adapted_by_a_guard_judges_nothing_and_answers_as_before() -> None:
    predictors, adapter = _seeing(limits=Limits(every=1), schedule=Schedule(3))
    first, second = _see(predictors), _see(predictors)
    assert first.guard is not None
    assert second.guard is not None
    assert second.outcome is Outcome.SPACED
    assert second.guard.weight == first.guard.weight
    assert adapter.runs["own"] == 1


def test_a_guards_figures_are_of_all_frames_whatever_the_schedule() -> None:
    predictors, _ = _seeing(limits=Limits(every=1, drift=2.0), schedule=Schedule(3))
    results = [_see(predictors) for _ in range(7)]
    assert results[-1].guard is not None
    assert 0 < results[-1].guard.source_share <= 1
    assert predictors.guard is not None
    assert predictors.guard.frames == 7


def test_filter_and_compared_methods_count_in_a_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    schedule = Schedule(budget_s=60.0)
    seen = []
    monkeypatch.setattr(schedule, "took", lambda seconds, adapted: seen.append(seconds))
    predictors, _ = _seeing(filtered=True, compare=("source", "norm"), schedule=schedule)
    result = _see(predictors)
    assert seen == [sum(result.stages[stage] for stage in ("adapt", "filter", "compare"))]


def test_a_filter_answers_beside_what_the_frame_alone_says() -> None:
    predictors, adapter = _seeing(filtered=True, compare=("source+filter", "norm", "norm+filter"))
    for number in range(1, 4):
        result = _see(predictors)
        assert adapter.runs == {"own": number, "source": number, "norm": number}
    assert list(result.readings) == [
        "source+filter", "norm", "norm+filter", "nanoadapt:tent", "nanoadapt:tent+filter",
    ]  # fmt: skip
    assert result.readings["nanoadapt:tent"] == result.raw
    assert result.readings["nanoadapt:tent+filter"] == result.reading
    assert result.filter is not None
    assert "filter" in result.stages.ms()


def test_with_a_filter_the_source_is_compared_with_filtered_too() -> None:
    predictors, _ = _seeing(filtered=True, compare=None)
    compared = [list(_see(predictors, label=label).compared) for label in (None, 1, None)]
    assert compared == [[], *[["source", "source+filter"]] * 2]


def test_the_source_is_filtered_alike_beside_another_method_and_by_itself() -> None:
    beside, by_itself = _seeing(compare=("source+filter",))[0], _seeing("source", filtered=True)[0]
    for _ in range(5):
        assert _see(beside).readings["source+filter"] == _see(by_itself).reading


def test_without_a_filter_the_answer_is_what_the_frame_says() -> None:
    result = _see(_seeing()[0])
    assert result.reading == result.raw
    assert result.filter is None


def test_an_empty_picture_tells_the_filter_nothing() -> None:
    predictors, _ = _seeing(filtered=True)
    before = _see(predictors).filter
    result = _see(predictors, Outcome.BLACK)
    assert result.filter == before
    assert result.reading == result.raw
    first = _see(_seeing(filtered=True)[0], Outcome.BLACK).filter
    assert first is not None
    assert first.alone == 1.0


def test_a_reset_forgets_what_was_believed() -> None:
    predictors, _ = _seeing(filtered=True)
    first = _see(predictors)
    for _ in range(20):
        _see(predictors)
    predictors.reset()
    assert _see(predictors).filter == first.filter


@pytest.mark.parametrize("method", ["source", "norm"])
def test_a_run_without_a_filter_is_compared_with_its_own_method_filtered(method: str) -> None:
    predictors, adapter = _seeing(method, compare=(method, f"{method}+filter"))
    result = _see(predictors)
    assert list(result.readings) == [f"{method}+filter", method]
    assert adapter.runs == {method: 1}


def test_guard_and_filter_measure_a_picture_once(monkeypatch: pytest.MonkeyPatch) -> None:
    measured: Counter[str] = Counter()

    def counting(images: Images) -> Any:
        measured["pictures"] += len(images)
        return block_means(images)

    for module in (guard, filtered):
        monkeypatch.setattr(module, "block_means", counting)
    beside, alone = (_seeing(limits=limits, filtered=True)[0] for limits in (Limits(), None))
    for number in range(1, 4):
        news = [_see(predictors).filter.novelty for predictors in (beside, alone)]  # type: ignore[union-attr]
        assert news[0] == news[1] == (number == 1)
        assert measured["pictures"] == 2 * number


@pytest.mark.parametrize(("label", "known"), [("nanoadapt:tent", True), ("source", False)])
def test_in_random_order_the_accuracy_of_a_network_that_adapts_is_known_by_a_threshold(
    label: str, known: bool
) -> None:
    predictors, _ = _seeing(label, filtered=True, sure_above=Threshold(0.4, 0.3, 0.5))
    result = _see(predictors)
    for _ in range(LEAST_FRAMES - 1):
        assert result.filter is not None
        assert result.filter.accuracy is None
        result = _see(predictors)
    assert result.filter is not None
    accuracy = result.filter.accuracy
    assert (accuracy is not None) == known
    # Logits of one 1 and three 0 are surer than 0.4, and not surer than 0.5.
    assert accuracy is None or accuracy == (1.0, 0.0, 1.0)


def test_an_alarm_is_of_the_filtered_answers() -> None:
    predictors, _ = _seeing(filtered=True, sure_above=Threshold(0.9, 0.9, 0.9), alarm=Alarm(0.5))
    alarms = [_see(predictors).alarm for _ in range(LEAST_FRAMES + 1)]
    # Logits of one 1 and three 0 are not surer than 0.9.
    assert alarms == [None] * (LEAST_FRAMES - 1) + [0.5] * 2
    predictors.reset()
    assert _see(predictors).alarm is None
    assert _see(_seeing(alarm=Alarm(0.5))[0]).alarm is None


def test_while_the_guard_has_fallen_back_a_threshold_tells_nothing() -> None:
    predictors, _ = _seeing(limits=Limits(), filtered=True, sure_above=Threshold(0.2, 0.2, 0.2))
    for _ in range(LEAST_FRAMES):
        _see(predictors)
    filtering, guard = predictors._filter, predictors.guard
    assert filtering is not None
    assert guard is not None
    for fallen in (None, "the source seems to be right more often"):
        guard.fallen = fallen
        report = FilterReport.of(filtering, guard)
        assert (report.accuracy is None) == (report.accuracy_alone is None) == (fallen is not None)
