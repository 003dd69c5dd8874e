"""The class balance of a stream by its definition, in Python floats."""

from __future__ import annotations

import math

from edge_tta.config import CalibrationConfig
from edge_tta.method.calibration import class_balance


def square_distance(a: list[float], b: list[float]) -> float:
    return sum((x - y) ** 2 for x, y in zip(a, b, strict=True))


def towards(old: list[float], new: list[float], rate: float) -> list[float]:
    return [x + rate * (y - x) for x, y in zip(old, new, strict=True)]


class SlowBalance:
    """Which classes a stream has shown, frame by frame."""

    def __init__(self, table: CalibrationConfig, classes: int) -> None:
        self.table, self.classes = table, classes
        self.uniform = [1 / classes] * classes
        self.recent = self.lasting = self.frequency = self.usual = self.uniform
        self.dispersion = self.variety = 1.0

    def excess(self, t: int) -> list[float]:
        """How much more frequent than usual classes are after t frames, as logarithms from 0."""
        prior = class_balance.PRIOR_FRAMES_IN_LOSS
        both = zip(self.shrunk(t, prior), self.shrunk(t, prior, self.usual), strict=True)
        return [max(0.0, math.log(f / usual)) for f, usual in both]

    def shrunk(
        self, t: int, prior_frames: float, frequency: list[float] | None = None
    ) -> list[float]:
        """Frequencies of the classes after t frames."""
        frequency = frequency or self.frequency
        m = self.table.lasting_smoothing
        gap = square_distance(frequency, self.uniform)
        frames = min(t, (1 + m) / (1 - m))  # independent ones in the exponential mean
        factor = max(0.0, 1 - self.dispersion / (frames * gap)) if frames * gap > 0 else 0.0
        shrunk = towards(self.uniform, frequency, factor)
        seen = min(t, 1 / (1 - m))
        return [(seen * f + prior_frames) / (seen + self.classes * prior_frames) for f in shrunk]

    def weight(self, t: int, p: list[float]) -> float:
        """Class-balance weight of a frame of prediction p."""
        f = self.shrunk(t, class_balance.PRIOR_FRAMES)
        return min(1.0, 1 / (self.classes * sum(a * b for a, b in zip(p, f, strict=True))))

    def share_of_lasting(self) -> float:
        """Of lasting against the source."""
        return square_distance(self.lasting, self.uniform) / self.dispersion

    def share_of_recent(self, factor: float) -> float:
        """Of recent against what lies so far between the source and lasting."""
        centre = towards(self.uniform, self.lasting, factor)
        return square_distance(self.recent, centre) / self.dispersion

    def variance_left(self) -> tuple[float, float]:
        """What predictions vary about their mean and about the recent ones, of what they could."""
        gap = square_distance(self.frequency, self.uniform)
        return max(0.0, 1 - gap / self.dispersion), min(1.0, self.variety / self.dispersion)

    def update(self, t: int, p: list[float], in_recent: float, in_lasting: float) -> None:
        m = self.table.lasting_smoothing
        rate = max(1 - m, 1 / (t + 2))
        self.variety += rate * (square_distance(p, self.recent) - self.variety)
        self.recent = towards(self.recent, p, in_recent)
        self.lasting = towards(self.lasting, p, in_lasting)
        self.frequency = towards(self.frequency, p, max(1 - m, 1 / (t + 1)))
        in_usual = 1 / min(1000 * self.classes, 30 * self.classes + t + 1)
        self.usual = towards(self.usual, p, in_usual)
        distance = square_distance(p, self.uniform)
        self.dispersion += rate * (distance - self.dispersion)
