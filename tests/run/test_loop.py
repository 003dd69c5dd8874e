"""The loop and its sinks: opened, in their order, and closed whatever happens."""

from __future__ import annotations

import pytest

from edge_tta.adapter import Adapter
from edge_tta.errors import OutputError
from edge_tta.frames.source import FrameSource
from edge_tta.prepare import InputSpec
from edge_tta.run.frame_result import FrameResult
from edge_tta.run.loop import Loop
from edge_tta.run.predictors import Predictors
from edge_tta.run.sinks import Sink
from edge_tta.run.stopping import StopRequest
from edge_tta.show.overlay import Tone
from edge_tta.tasks import Classes
from tests.frames.media import textured
from tests.networks import network
from tests.run.test_loop_faults import BLACK, Script


class Noted(Sink):
    """Writes down what it is told; fails where it is told to."""

    def __init__(self, name: str, notes: list[str], fails: str = "") -> None:
        self._name, self._notes, self._fails = name, notes, fails

    def _note(self, what: str) -> None:
        self._notes.append(f"{self._name} {what}")
        if what == self._fails:
            raise OutputError("no room")

    def open(self, source: FrameSource) -> None:
        self._note(f"opens {source.name}")

    def take(self, result: FrameResult) -> None:
        self._note(f"takes {result.frame.index}")

    def close(self) -> None:
        self._note("closes")


class Timed(Noted):
    stage = "save"


def _loop(*sinks: Sink) -> Loop:
    adapter = Adapter(network("plain"), "norm")
    classes = Classes(adapter.prepare((3, 16, 16)))
    pixels = [textured(0), BLACK]
    return Loop(Script(pixels), Predictors(adapter, classes, compare=()), InputSpec(16), sinks)


def test_sinks_take_every_frame_in_their_order_and_close_in_the_opposite_one() -> None:
    notes: list[str] = []
    with _loop(Timed("a", notes), Noted("b", notes)) as loop:
        stages = [set(result.stages) for result in loop.frames(StopRequest())]
    assert stages == [{"read", "prepare", "adapt", "save"}] * 2
    assert notes == [
        "a opens script", "b opens script", "a takes 0", "b takes 0", "a takes 1", "b takes 1",
        "b closes", "a closes",
    ]  # fmt: skip


@pytest.mark.parametrize("fails", ["opens script", "takes 0", "closes"])
def test_a_sink_that_fails_leaves_no_other_open(fails: str) -> None:
    notes: list[str] = []
    with (
        pytest.raises(OutputError, match="no room"),
        _loop(Noted("a", notes), Noted("b", notes, fails)) as loop,
    ):
        list(loop.frames(StopRequest()))
    assert notes[-1] == "a closes"


def test_a_stop_that_a_sink_asks_for_ends_the_run_after_that_frame() -> None:
    stop = StopRequest()

    class Ends(Sink):
        def take(self, result: FrameResult) -> None:
            stop.ask()

    assert len(list(_loop(Ends()).frames(stop))) == 1
    assert stop
    assert stop.exit_code == 0


def test_the_dot_on_the_picture_has_the_colour_of_what_happened() -> None:
    calibrated, empty = _loop().frames(StopRequest())
    for result, tone in ((calibrated, Tone.CALM), (empty, Tone.DOUBTFUL)):
        dot = result.picture[12:22, 14:24]
        assert (dot == tone.value).all(-1).sum() > 30
