"""`Guard`: an adapter whose answers are blended with the source network's, as harm shows."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge_tta.adapter import Adapter
from edge_tta.errors import ConfigError
from edge_tta.guard.comparison import SOURCE_ANSWERS, Comparison, finite
from edge_tta.guard.judge import Judge
from edge_tta.guard.news import News
from edge_tta.nest import mapped
from edge_tta.probability import as_array, in_kind, log_probabilities, softmax
from edge_tta.tasks import Comparable, can_be_guarded
from edge_tta.temporal.novelty import Blocks, block_means

_EVENTS = 256
"""Latest events that are kept."""


@dataclass(frozen=True)
class Event:
    """Something the guard did.

    Attributes:
        frame: at which frame, from 0.
        kind: `fell back`, `returned`, `restored` (the adapter, to its last good state) or `reset`
            (to the source); of masks and boxes also `source answers`, `adapted answers`.
        why: in a few words.
    """

    frame: int
    kind: str
    why: str


@dataclass(frozen=True)
class Limits:
    """How closely the guard looks, and what it takes for harm. Lengths are in frames.

    Attributes:
        every: the source runs at least on one of so many frames that the adapter adapts by.
        worth: it runs on a frame where its weight times the networks' disagreement is above this;
            below, blending would change next to nothing.
        decided: a weight nearer to 0 or 1 than this is taken for it.
        fall, rise: the guard has fallen back from the one weight of the source on, and until it is
            below the other.
        patience: so long fallen back, the adapter begins anew; twice as long each time, until a
            good state is kept again.
        keep_every: between good states that are kept.
        drift: harm, where |parameters - source's| / |source's| is above it.
        news: the adapter adapts when frames have brought so much since it last did, or five times
            as much once a scene's first frames are over (`edge_tta.guard.news`).
    """

    every: int = 2
    worth: float = 0.02
    decided: float = 0.05
    fall: float = 0.75
    rise: float = 0.5
    patience: int = 256
    keep_every: int = 256
    drift: float = 0.25
    news: float = 0.2


class Guard:
    """`guard(images) -> logits`: of an adapter and of the source network, blended.

    The source network runs beside the adapter, on every frame as long as it matters. A judge
    (`edge_tta.guard.judge`) tells without labels which of the two is right more often, and how
    much each of them counts:

        log p = (1 - weight) log p of the adapter + weight log p of the source, up to a constant

    Where the source has most of the weight, the guard has *fallen back*. The adapter goes on
    beside it. Where that lasts, where its output is not finite, or its parameters have moved far,
    it goes back to its last good state, and from there to the source.

    By frames that are no news the adapter only predicts (`edge_tta.guard.news`).

    Of masks and boxes each answer is one network's, the source's while the guard has fallen back
    (`edge_tta.guard.comparison`), and every frame is adapted by.

    Args:
        adapter: what predicts and adapts; the guard alone calls it from now on.

    Raises ConfigError for features: here where the adapter is prepared, else after the first frame.

    Attributes:
        fallen: why most of the answer is the source's; None: it is not.
        weight: of the source in the latest answer, 0..1.
        frames, source_frames: images seen, and those that the source network ran on too.
        adapts: whether the latest frame was enough news to adapt by.
        own: the adapter's outputs of the latest call, or prediction.
        compared: the source's of the same; None: it did not run.
        blocks: the images' block means (`edge_tta.temporal.novelty`); None: of a prediction.
        judge: None before the first frame.
        drift: of the parameters, when the source last ran.
        events: the latest, oldest first. happened: how many there have been.
        falls: how often it fell back.
    """

    def __init__(self, adapter: Adapter, limits: Limits | None = None) -> None:
        self._adapter = adapter
        self._check_task()
        self._limits = limits or Limits()
        self.events: deque[Event] = deque(maxlen=_EVENTS)
        self.frames = self.source_frames = self.falls = self.happened = 0
        self.own: Any = None
        self.compared: Any = None
        self.blocks: Blocks | None = None
        self._begin()

    def _begin(self) -> None:
        self.fallen: str | None = None
        self.judge: Judge | Comparison | None = None
        self.weight = self.drift = 0.0
        self.adapts = True
        self._news, self._adapted = News(self._limits.news), 0
        self._good: deque[dict[str, Any]] = deque(maxlen=2)
        self._loaded: dict[str, Any] | None = None
        self._since_good = self._since_fall = 0
        self._patience = self._limits.patience

    def __call__(self, images: Any, *, learn: bool = True) -> Any:
        """Return logits (N, classes) or other outputs of images (N, channels, H, W)."""
        if self.judge is None and self._adapter.steps:
            self._loaded = self._adapter.state
        self.blocks = block_means(as_array(images))
        self.adapts = self._news.is_enough(self.blocks) or self._comparable() is not None
        own = self._adapter(images, learn=learn) if self.adapts else self._adapter.predict(images)
        self._check_task()
        self.own = own
        sound, n = finite(own), len(self.blocks)
        due = self._is_due(n)
        self.compared = None
        if due or not sound or self._matters():
            self.compared = self._adapter.predict_source(images)
            self.source_frames += n
            self._compare(self.blocks, own, self.compared)
        self.frames += n
        self._watch(n, sound)
        return self._answer(sound)

    def predict(self, images: Any) -> Any:
        """Return outputs as it would answer now; nothing is learned or judged."""
        self.blocks = None
        self.own = self._adapter.predict(images)
        self._check_task()
        sound = finite(self.own)
        runs = not sound or self._matters()
        self.compared = self._adapter.predict_source(images) if runs else None
        self.frames += len(images)
        self.source_frames += len(images) * runs
        return self._answer(sound)

    def latest(self, count: int) -> list[Event]:
        """Return the last so many events, oldest first."""
        return list(self.events)[-count:] if count > 0 else []

    def reset(self) -> None:
        """Go back to the source, adapter and guard."""
        self._adapter.reset()
        self._begin()

    def save(self, path: str | Path) -> None:
        """Write the adapter's state; while harmed, its last good one, else what it began with.

        Raises OutputError and StateError as `Adapter.save`.
        """
        state = self._good[0] if self._good else self._loaded or self._adapter.source_state
        self._adapter.save(path, state if self.harmed else None)

    def _is_due(self, n: int) -> bool:
        """Return whether the source is to run on n images whatever the judge says.

        Of near-copies both networks say again what they have said.
        """
        if not self.adapts:
            return False
        at, every = self._adapted % self._limits.every, self._limits.every
        self._adapted += n
        return at == 0 or at + n > every

    def _matters(self) -> bool:
        """Return whether the source would change the answer."""
        if self.judge is None:
            return True
        weight, differ = self.judge.weight, self.judge.disagreement
        return weight > self._limits.rise or (
            weight > self._limits.decided and weight * differ > self._limits.worth
        )

    def _compare(self, blocks: Blocks, own: Any, source: Any) -> None:
        if self.judge is None:
            task = self._comparable()
            self.judge = Judge(own.shape[1]) if task is None else Comparison(task)
        for i, means in enumerate(blocks):
            self.judge.compare(means, *(_of_image(i, outputs) for outputs in (own, source)))
        self.drift = self._adapter.drift()

    def _check_task(self) -> None:
        task = self._adapter.task
        if task is not None and not can_be_guarded(task):
            sure = f"a guard needs outputs that tell how sure a network is, not {task.name}"
            raise ConfigError(f"{sure}; leave it out")

    def _comparable(self) -> Comparable | None:
        """Return the task of outputs that are compared; None: one class an image."""
        task = self._adapter.task
        return task if isinstance(task, Comparable) else None

    def _answer(self, sound: bool) -> Any:
        """Return log probabilities (N, classes) of both networks; the adapted one's where the
        source counts for nothing or did not run; of masks and boxes one network's. What is not
        finite counts for nothing; sound: whether the adapted one's outputs are."""
        own, source, judge = self.own, self.compared, self.judge
        self.weight = 0.0 if sound else 1.0
        if sound and judge is not None and source is not None and finite(source):
            self.weight = judge.weight
        if self.weight < self._limits.decided:
            return own
        if self.weight > 1 - self._limits.decided:
            return source
        logs = [log_probabilities(softmax(as_array(logits))) for logits in (own, source)]
        blended = softmax((1 - self.weight) * logs[0] + self.weight * logs[1])
        return in_kind(log_probabilities(blended).astype(np.float32), own)

    def _watch(self, n: int, sound: bool) -> None:
        """Notice harm and its end; keep good states, and go back to them."""
        limits, judge = self._limits, self.judge
        assert judge is not None
        if not sound:
            self._fall("its output is not finite")
            self._go_back("its output was not finite")
        elif self.drift > limits.drift:
            self._fall(f"parameters moved by {self.drift:.0%} of their size")
            self._go_back("its parameters had moved far")
        elif judge.weight > limits.fall and (self.fallen is None or isinstance(judge, Comparison)):
            self._fall(judge.doubt)
        elif self.fallen is None:
            self._since_good += n
            if self._since_good >= limits.keep_every:
                self._good.append(self._adapter.state)
                self._loaded = None
                self._since_good, self._patience = 0, limits.patience
        elif judge.weight < limits.rise:
            self.fallen = None
            self._note(judge.returns, judge.trust)
        elif isinstance(judge, Judge):  # statistics alone recover by themselves
            self._since_fall += n
            if self._since_fall >= self._patience:
                self._patience *= 2
                self._go_back(f"{self._since_fall} frames brought no recovery")

    @property
    def harmed(self) -> bool:
        """True where it has fallen back, and not for want of gain alone, as of masks and boxes."""
        wants = isinstance(self.judge, Comparison) and self.fallen == self.judge.doubt
        return self.fallen is not None and not wants

    def _fall(self, why: str) -> None:
        before = self.fallen is not None, self.harmed
        self.fallen = why
        if before != (True, self.harmed):
            self.falls += self.harmed
            self._note("fell back" if self.harmed else SOURCE_ANSWERS, why)
        self._since_good = self._since_fall = 0

    def _go_back(self, why: str) -> None:
        """Go back to the last good state; from the second time on to the source."""
        self._since_fall = 0
        self._note("restored" if self._good else "reset", why)
        # The latest state that was kept may already hold the beginning of the harm.
        self._adapter.restore(self._good[0] if self._good else self._adapter.source_state)
        self._good.clear()
        self.drift = self._adapter.drift()

    def _note(self, kind: str, why: str) -> None:
        self.events.append(Event(self.frames - 1, kind, why))
        self.happened += 1


def _of_image(i: int, outputs: Any) -> Any:
    """Return one image's outputs, without the axis of images."""
    return mapped(lambda tensor: tensor[i], outputs)
