"""What a stream has shown, by its definition, in Python floats."""

from __future__ import annotations

from edge_tta.config import MethodConfig
from edge_tta.method import content


def square_distance(a: list[float], b: list[float]) -> float:
    return sum((x - y) ** 2 for x, y in zip(a, b, strict=True))


def towards(old: list[float], new: list[float], rate: float) -> list[float]:
    return [x + rate * (y - x) for x, y in zip(old, new, strict=True)]


class OneContent:
    """The content of the statistics of one stream, frame by frame."""

    def __init__(self, config: MethodConfig, classes: int) -> None:
        self.config, self.classes = config, classes
        self.uniform = [1 / classes] * classes
        self.recent = self.lasting = self.frequency = self.uniform
        self.variety = 1.0

    def believed(self, t: int, doubt: float) -> list[float]:
        """Frequencies of the classes after t frames."""
        m = self.config.lasting_smoothing
        gap = square_distance(self.frequency, self.uniform)
        frames = min(t, (1 + m) / (1 - m))  # independent ones in the exponential mean
        trust = max(0.0, 1 - self.variety / (frames * gap)) if frames * gap > 0 else 0.0
        drawn = towards(self.uniform, self.frequency, trust)
        seen = min(t, 1 / (1 - m))
        return [(seen * f + doubt) / (seen + self.classes * doubt) for f in drawn]

    def rarity(self, t: int, p: list[float]) -> float:
        """Weight of a frame of prediction p."""
        f = self.believed(t, content.FRAMES_OF_DOUBT)
        return min(1.0, 1 / (self.classes * sum(a * b for a, b in zip(p, f, strict=True))))

    def share_of_lasting(self) -> float:
        """Of lasting against the source."""
        return square_distance(self.lasting, self.uniform) / self.variety

    def share_of_recent(self, trust: float) -> float:
        """Of recent against what lies so far between the source and lasting."""
        centre = towards(self.uniform, self.lasting, trust)
        return square_distance(self.recent, centre) / self.variety

    def variety_left(self) -> float:
        """1 - |f - u|^2 / variety: what predictions vary, of what they could."""
        return 1 - min(1.0, square_distance(self.frequency, self.uniform) / self.variety)

    def update(self, t: int, p: list[float], recently: float, news: float) -> None:
        m = self.config.lasting_smoothing
        self.recent = towards(self.recent, p, recently)
        self.lasting = towards(self.lasting, p, news)
        self.frequency = towards(self.frequency, p, max(1 - m, 1 / (t + 1)))
        self.variety += max(1 - m, 1 / (t + 2)) * (square_distance(p, self.uniform) - self.variety)
