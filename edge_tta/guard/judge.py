"""Whether adaptation does harm, judged without labels from a few running means.

What can be seen of a stream is not enough to know which of two networks is right. These are the
signs that hold where harm was measured and not where adaptation helped (docs/background/guard.md):

- *not finite*: the adapted network answers with NaN or infinity.
- *doubt*: it is far less certain than the source network on the same frames. Calibration that
  takes the evidence away ends in doubt: a still scene, frames after a black stretch. Under
  corruption the source is often surer, and wrong; so only a large gap counts.
- *narrow*: for long, most of the adapted network's predictions have been one class. Either it has
  collapsed, or the stream shows one thing (one class, a black picture, noise), and statistics that
  follow it are of that thing and not of the conditions.
- *dissolving*: the source mostly sees one class and the adapted network, which was not of quite
  another opinion, sees that one less and others more, one frame this, the next that. Statistics
  that follow a stream of one class calibrate the class away. A network that adaptation helps tells
  all classes apart, or those that come one after another.
- *fewer classes*: on the same frames its predictions are of far fewer classes than the source's,
  and mostly others. Under corruption it is the source whose classes become few, and where frames
  resemble each other both show few.
- *drift*: the trained parameters have moved far from the source's.

Chance-corrected agreement with the source (Cohen's kappa) tells whether the two networks see the
same thing at all. A source that corruption has broken agrees with nobody, so want of agreement is
no harm; but a state is kept as a good one only where there is some.
"""

from __future__ import annotations

import functools
import math
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from edge_tta.guard.running import Running, Vector, entropy


@dataclass(frozen=True)
class Dissolving:
    """When what is one thing to the source is taken for dissolving in the adapted network.

    Attributes:
        one_thing: the source sees one thing, where one class is more than this of its predictions.
        disagreement: fewer of the predictions than this are the same,
        opinion: but by chance they would be still fewer: chance-corrected they are above this.
        various, full: the adapted network's effective number of classes is above various x the
            source's, and below full x that of as many frames of any class.
        succession: successive predictions are the same less often than this, beyond chance.
    """

    one_thing: float = 0.35
    disagreement: float = 0.7
    opinion: float = 0.15
    various: float = 1.2
    full: float = 0.8
    succession: float = 0.1


@dataclass(frozen=True)
class Limits:
    """What the guard takes for harm, and how long it looks. Lengths are in frames.

    Attributes:
        every: the source network runs on one frame of so many.
        doubt_ratio, doubt_nats: a frame is doubtful, where its entropy is above ratio x the
            source's and more than so many nats above it.
        doubt: harm, where the excess over that, added up over compared frames and never below
            zero (Page's CUSUM), reaches so many times ln(classes).
        memory: compared frames that mean entropies and agreement are over.
        narrow: harm, where the share of the most frequent class in the predictions is above
            narrow + (1 - narrow) / classes.
        narrow_memory, narrow_after: how many predictions, and frames before it says anything.
        brief_memory: the same while fallen back, where its end is to be noticed; and successions.
        hysteresis: by how much that share must be below the limit before adaptation is trusted
            again.
        fewer, disagreement: harm, where the effective number of classes (the exponential of their
            entropy) predicted is below fewer x the source's, and less than `disagreement` of the
            predictions are the source's.
        fewer_memory, fewer_after: compared frames that this is over, and before it says anything.
        dissolving, dissolved: harm, where one thing dissolves, over as many frames; and after that,
            what still speaks of a stream of one thing, in which adaptation is not trusted anew.
        suspect_after: compared frames from which on that is looked at frame by frame.
        drift: harm, where |parameters - source's| / |source's| is above it.
        kappa: least chance-corrected agreement of a state that is kept.
        keep_every: frames between kept states.
        trial: frames that the adapter runs beside the source before it is trusted again.
        longest_trial: each return that soon ends in harm doubles the trial, up to this.
        relapse: a fall so soon after a return counts as its failure.
    """

    every: int = 8
    doubt_ratio: float = 1.75
    doubt_nats: float = 0.5
    doubt: float = 4.0
    memory: int = 32
    narrow: float = 0.5
    narrow_memory: int = 500
    narrow_after: int = 144
    brief_memory: int = 150
    hysteresis: float = 0.05
    fewer: float = 0.7
    disagreement: float = 0.5
    fewer_memory: int = 64
    fewer_after: int = 40
    dissolving: Dissolving = Dissolving()
    dissolved: Dissolving = Dissolving(
        one_thing=0.3, disagreement=1.1, opinion=-math.inf, various=0.0, full=0.85, succession=0.2
    )
    suspect_after: int = 16
    drift: float = 0.25
    kappa: float = 0.05
    keep_every: int = 256
    trial: int = 64
    longest_trial: int = 1024
    relapse: int = 512


class _Seen(NamedTuple):
    """Of the latest compared frames: how many; the share on which both networks predict the same,
    and that by chance; effective numbers of classes; how often the source's most frequent came."""

    n: int
    agree: float
    chance: float
    own_classes: float
    source_classes: float
    most: float


_NOTHING_SEEN = _Seen(0, 1.0, 0.0, math.nan, math.nan, 0.0)


class Judge:
    """The running means, and what follows from them. Knows neither networks nor states.

    Attributes:
        finite: whether the adapted network's latest output was.
        narrow: whether most of the adapted network's predictions have been one class, briefly.
        doubtful: whether it was far less certain than the source on the latest compared frame, or
            one thing seems to dissolve.
        drift: of the parameters, as it was told.
    """

    def __init__(self, classes: int, limits: Limits) -> None:
        self._limits = limits
        self._most_excess = limits.doubt * math.log(max(classes, 2))
        self._narrow = limits.narrow + (1 - limits.narrow) / classes
        self._classes = classes
        self._content = Running(limits.narrow_memory)
        self._brief = Running(limits.brief_memory)
        self._same = Running(limits.brief_memory)
        self._latest: int | None = None
        self._dissolving = False
        self.drift = 0.0
        self.finite = True
        self.narrow = False
        self.begin()

    def begin(self) -> None:
        """Forgets the comparison: another state, or the source's, predicts from now on."""
        memory = self._limits.memory
        self._own, self._source = Running(memory), Running(memory)
        self._own_content, self._source_content = Running(memory), Running(memory)
        self._agreement = Running(memory)
        self._pairs: deque[tuple[int, int]] = deque(maxlen=self._limits.fewer_memory)
        self._seen = _NOTHING_SEEN
        self._excess, self._in_doubt = 0.0, Running(math.inf)
        self.doubtful = False

    def predicted(self, p: Vector) -> None:
        """The adapted network's probabilities (C,) of a frame."""
        self.finite = bool(np.isfinite(p).all())
        if self.finite:
            predicted = int(p.argmax())
            content = np.zeros(self._classes)
            content[predicted] = 1
            self._content.add(content)
            self._brief.add(content)
            if self._latest is not None:
                self._same.add(float(predicted == self._latest))
            self._latest = predicted
            share = float(np.max(self._brief.value))
            # Two limits, so that it does not waver.
            limit = self._narrow - (self._limits.hysteresis if self.narrow else 0.0)
            self.narrow = share > limit

    def compared(self, own: Vector, source: Vector) -> None:
        """Both networks' probabilities (C,) of one frame."""
        if not (np.isfinite(own).all() and np.isfinite(source).all()):
            return
        here, there = float(entropy(own)), float(entropy(source))
        excess = here - self._tolerated(there)
        in_doubt = excess > 0
        if self._excess == 0:
            self._in_doubt = Running(math.inf)
        self._in_doubt.add(np.array([here, there]))
        self._excess = max(0.0, self._excess + excess)
        self._own.add(here)
        self._source.add(there)
        self._own_content.add(own)
        self._source_content.add(source)
        self._agreement.add(float(own.argmax() == source.argmax()))
        self._pairs.append((int(own.argmax()), int(source.argmax())))
        self._seen = _seen(self._pairs, self._classes)
        limits = self._limits
        self.doubtful = in_doubt or self._dissolves(limits.dissolving, limits.suspect_after)

    def trusted_again(self) -> None:
        """The stream is as the brief mean says: what was before the fall counts no more."""
        self._content.value, self._content.count = self._brief.value, self._brief.count

    @property
    def entropies(self) -> tuple[float, float]:
        """Mean entropies of the adapted and of the source network on compared frames, in nats."""
        return float(self._own.value), float(self._source.value)

    @property
    def agreement(self) -> float:
        """Share of compared frames with the same class; NaN before the first."""
        return float(self._agreement.value) if self._agreement.count else math.nan

    @property
    def kappa(self) -> float:
        """Agreement beyond chance, 1 at most; 1 where both always say the same one class."""
        if not self._agreement.count:
            return 1.0
        chance = float((self._own_content.value * self._source_content.value).sum())
        return (self.agreement - chance) / max(1 - chance, 1e-9) if chance < 1 else 1.0

    @property
    def share(self) -> float:
        """Of the most frequent class in the predictions, lately."""
        return float(np.max(self._content.value))

    @property
    def classes(self) -> tuple[float, float]:
        """Effective numbers of classes that the adapted and the source network have predicted on
        compared frames; NaN before the first."""
        return self._seen.own_classes, self._seen.source_classes

    def _has_fewer(self) -> bool:
        limits, seen = self._limits, self._seen
        return (
            seen.n >= limits.fewer_after
            and seen.own_classes < limits.fewer * seen.source_classes
            and seen.agree < limits.disagreement
        )

    def _dissolves(self, limits: Dissolving, after: int) -> bool:
        """Whether the adapted network sees several things in what is one to the source."""
        seen = self._seen
        if seen.n < after or seen.agree >= limits.disagreement:
            return False
        return (
            seen.most > limits.one_thing * seen.n
            and limits.various * seen.source_classes < seen.own_classes
            and seen.own_classes < limits.full * _effective_of_any(seen.n, self._classes)
            and seen.agree - seen.chance > limits.opinion * (1 - seen.chance)
            and self._succession() < limits.succession
        )

    def _succession(self) -> float:
        """How much more often than by chance a prediction is the one before, at most 1."""
        chance = float((self._brief.value**2).sum())
        return (float(self._same.value) - chance) / max(1 - chance, 1e-9)

    def harm(self) -> str | None:
        """Why the adapted network is not to be trusted any more; None: nothing says so."""
        limits = self._limits
        if not self.finite:
            return "its output is not finite"
        if self._excess > self._most_excess:
            own, source = self._in_doubt.value
            return f"far less certain than the source: {own:.2f} against {source:.2f} nats"
        own_classes, source_classes = self.classes
        if self._has_fewer():
            return f"it tells only {own_classes:.1f} classes apart, the source {source_classes:.1f}"
        self._dissolving = self._dissolves(limits.dissolving, limits.fewer_after)
        if self._dissolving:
            return (
                f"one class dissolves into {own_classes:.1f}, the source sees {source_classes:.1f}"
            )
        if self._content.count >= limits.narrow_after and self.share > self._narrow:
            return f"{self.share:.0%} of what it sees is one class"
        if self.drift > limits.drift:
            return f"parameters moved by {self.drift:.0%} of their size"
        return None

    def well(self) -> bool:
        """Whether a state that predicts so, on trial, is to be trusted."""
        own, source = self.entropies
        return (
            self.finite
            and own <= self._tolerated(source)
            and self._excess <= self._most_excess
            and not self.narrow
            and not self._has_fewer()
            and not (self._dissolving and self._dissolves(self._limits.dissolved, 0))
            and self.drift <= self._limits.drift
        )

    def _tolerated(self, source: float) -> float:
        """Entropy up to which a network is not doubtful where the source has this one, in nats."""
        return max(self._limits.doubt_ratio * source, source + self._limits.doubt_nats)


def _seen(pairs: Collection[tuple[int, int]], classes: int) -> _Seen:
    """What the predictions (own, source) of at least one compared frame show."""
    n = len(pairs)
    predicted = np.array(pairs)
    own, source = (
        np.bincount(column, minlength=classes).astype(np.float64) for column in predicted.T
    )
    agree = int((predicted[:, 0] == predicted[:, 1]).sum()) / n
    chance = float(own @ source) / n**2
    return _Seen(n, agree, chance, _effective(own), _effective(source), float(source.max()))


def _effective(counts: Vector) -> float:
    """The exponential of the entropy of how often each class occurs."""
    return float(np.exp(entropy(counts[None] / counts.sum())[0]))


@functools.lru_cache(maxsize=256)
def _effective_of_any(n: int, classes: int) -> float:
    """The exponential of the mean of that entropy for n frames of any of the classes.

    A class comes k ~ Binomial(n, 1 / classes) times; the entropy is ln n - sum of k ln k / n.
    """
    p = 1 / classes
    k = np.arange(1, n + 1)
    choose = np.array([math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) for i in k])
    of_k = np.exp(choose + k * math.log(p) + (n - k) * math.log1p(-p)) if classes > 1 else k == n
    return float(np.exp(math.log(n) - classes * float((of_k * k * np.log(k)).sum()) / n))
