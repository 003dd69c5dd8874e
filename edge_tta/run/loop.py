"""The loop: read a frame, predict and adapt, hand the result to the sinks. One frame at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING

from edge_tta.closing import Closing
from edge_tta.errors import SourceError
from edge_tta.frames.faults import empty_picture, not_a_picture
from edge_tta.frames.source import Frame, FrameSource
from edge_tta.inputs import input_of
from edge_tta.prepare import InputSpec
from edge_tta.run.controls import Controls, Wish
from edge_tta.run.frame_result import FrameResult, Outcome
from edge_tta.run.predictors import Predictors
from edge_tta.run.sinks import Sink
from edge_tta.run.stopping import Stopped, StopRequest
from edge_tta.run.tally import Tally
from edge_tta.run.timing import Rate, Stages

if TYPE_CHECKING:
    from typing_extensions import Self


class Loop(Closing):
    """A run over one source. In a `with` block its sinks are opened, and closed at the end.

    Args:
        spec: what the network takes.
        sinks: where the results go, in this order; closed in the opposite one.
        controls: what may be asked of the run while it goes on.

    Attributes:
        source, predictors: as given.
        tally: what has been seen so far.
    """

    def __init__(
        self,
        source: FrameSource,
        predictors: Predictors,
        spec: InputSpec,
        sinks: Sequence[Sink] = (),
        controls: Controls | None = None,
    ) -> None:
        self.source, self.predictors, self._spec = source, predictors, spec
        self._sinks, self._opened = sinks, ExitStack()
        self._controls = controls or Controls()
        self._controls.does[Wish.RESET] = predictors.reset
        self._rate = Rate()
        self.tally = Tally()

    def __enter__(self) -> Self:
        with ExitStack() as opened:
            for sink in self._sinks:
                sink.open(self.source)
                opened.callback(sink.close)
            self._opened = opened.pop_all()
        return self

    @property
    def fps(self) -> float | None:
        """Frames per second lately; None before the second frame."""
        return self._rate.fps

    def close(self) -> None:
        """Closes the sinks."""
        self._opened.close()

    def frames(self, stop: StopRequest) -> Iterator[FrameResult]:
        """Runs to the end of the source or until `stop`, giving each result when it is dealt with.

        Raises:
            SourceError: the source fails; OutputError: a file cannot be written.
        """
        while not stop:
            stages = Stages()
            with stages.timed("read"):
                frame = self._read(stop)
            if frame is None:
                return
            self._controls.grant()
            result = self._see(frame, stages)
            self.tally.count(result)
            for sink in self._sinks:
                with stages.timed(sink.stage) if sink.stage else nullcontext():
                    sink.take(result)
            self.tally.time(stages)
            self._rate.tick()
            yield result

    def _read(self, stop: StopRequest) -> Frame | None:
        """The next frame that is a picture; None at the end. Others are counted and left out."""
        while True:
            try:
                with stop.wait():
                    frame = self.source.read()
            except Stopped:
                return None
            why = None if frame is None else not_a_picture(frame.pixels)
            if why is None:
                return frame
            self.source.dropped[why] += 1
            if stop:
                return None

    def _see(self, frame: Frame, stages: Stages) -> FrameResult:
        """Return the networks' result on a frame. Raises SourceError for an impossible label."""
        count = self.predictors.classes.count
        if not self.predictors.task.filtered:  # a picture's label says nothing of these outputs
            frame = replace(frame, label=None)
        if frame.label is not None and not 0 <= frame.label < count:
            raise SourceError(
                f"{frame.name} has the label {frame.label} and the network has {count} classes "
                f"(0 to {count - 1}); correct or remove the labels, or give the network of them"
            )
        with stages.timed("prepare"):
            image = input_of(frame, self._spec)
        held = Outcome.PAUSED if self._controls.paused else None
        if frame.array is None and (empty := empty_picture(frame.pixels)) is not None:
            held = Outcome[empty.upper()]
        self.predictors.source_wanted = any(sink.wants_source() for sink in self._sinks)
        return self.predictors.see(frame, image, held, self._rate.fps, stages)
