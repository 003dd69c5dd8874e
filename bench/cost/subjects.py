"""The interface of what a case runs, whatever computes it."""

from __future__ import annotations

from typing import Protocol

from bench.cost.case import Case
from edge_tta.method.stages import OnStage
from edge_tta.prepare import Images, InputSpec


class Subject(Protocol):
    """Adapts to one frame at a time."""

    def listen(self, on_stage: OnStage) -> None:
        """Tell `on_stage` each stage's name when it has ended, from now on."""

    def frame(self, image: Images) -> None:
        """Adapts to an image (1, 3, size, size) and predicts."""

    def learned(self) -> int:
        """Frames learned from so far, when what goes on beside has ended."""

    def sizes(self, image: Images) -> dict[str, int]:
        """Bytes by the names of `bench.cost.memory.HOW`, where they can be told: of what is there
        between frames, and of what a step on `image` saves for backward.
        """


class Maker(Protocol):
    """Makes the subjects of one network in a process; a backend's module has a `Maker`."""

    @property
    def spec(self) -> InputSpec:
        """The network's input."""

    def make(self, case: Case) -> Subject:
        """The subject of a case.

        Raises:
            EdgeTTAError: the case cannot run.
        """
