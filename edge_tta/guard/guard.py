"""`Guard`: an adapter that falls back to the source network where adaptation does harm."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_tta.adapter import Adapter
from edge_tta.guard.judge import Judge, Limits
from edge_tta.guard.running import as_array, softmax

_EVENTS = 256
"""Latest events that are kept."""


@dataclass(frozen=True)
class Event:
    """Something the guard did.

    Attributes:
        frame: at which frame, from 0.
        kind: `fell back`, `returned`, or `reset`: what it went back to did no better, so that it
            began anew from the source.
        why: in a few words.
    """

    frame: int
    kind: str
    why: str


class Guard:
    """`guard(images) -> logits`: those of an adapter, or of the source network where that is safer.

    On one frame of `limits.every`, and after doubtful ones, the source network runs too. Where the
    comparison, or what the stream shows, speaks of harm (`edge_tta.guard.judge`), the guard *falls
    back*: predictions are the source's, and the adapter goes back to its last good state. From
    there it runs on trial, beside the source and without learning, for some frames at a time, each
    time from the same state. When a trial goes well the guard *returns* to the adapter, with what
    it has calibrated.

    Args:
        adapter: what predicts and adapts; the guard alone calls it from now on.

    Attributes:
        fallen: why the source predicts now; None: the adapter does.
        frames, source_frames: images seen, and those that the source network ran on too.
        own: the adapter's logits (N, classes) of the latest call, also on trial.
        compared: the source's logits (N, classes) of the latest call; None: it did not run.
        events: the latest, oldest first. happened: how many there have been.
        falls: how often it fell back.
    """

    def __init__(self, adapter: Adapter, limits: Limits | None = None) -> None:
        self._adapter = adapter
        self._limits = limits or Limits()
        self.events: deque[Event] = deque(maxlen=_EVENTS)
        self.frames = self.source_frames = self.falls = self.happened = 0
        self.own: Any = None
        self.compared: Any = None
        self._begin()

    def _begin(self) -> None:
        self.fallen: str | None = None
        self._judge: Judge | None = None
        self._kept: deque[dict[str, Any]] = deque(maxlen=2)
        self._base: dict[str, Any] | None = None
        self._healthy = self._tried = 0
        self._was_narrow = False
        self._since_return: int | None = None
        self._trial = self._limits.trial
        self._trials = 0

    def __call__(self, images: Any, *, learn: bool = True) -> Any:
        """Return logits (N, classes) of images (N, channels, H, W); see `Adapter`."""
        on_trial = self.fallen is not None
        own = self.own = self._adapter(images, learn=learn and not on_trial)
        n = len(own)
        every = self._limits.every
        due = self.frames % every == 0 or self.frames % every + n > every
        # Doubt is looked into at once: where it goes on, every frame is compared.
        compare = on_trial or due or (self._judge is not None and self._judge.doubtful)
        self.compared = self._adapter.predict_source(images) if compare else None
        self._look(own, self.compared)
        self.frames += n
        if compare:
            self.source_frames += n
        if on_trial:
            self._try(n)
            return self.compared
        self._watch(n)
        if self.fallen is None:
            return own
        # The frame on which harm is noticed is answered by the source already.
        if self.compared is None:
            self.compared = self._adapter.predict_source(images)
            self.source_frames += n
        return self.compared

    @property
    def judge(self) -> Judge | None:
        """The running means; None before the first frame."""
        return self._judge

    def predict(self, images: Any) -> Any:
        """Return logits as it would answer now; nothing changes, nothing is counted."""
        if self.fallen is None:
            return self._adapter.predict(images)
        return self._adapter.predict_source(images)

    def latest(self, count: int) -> list[Event]:
        """The last so many events, oldest first."""
        return list(self.events)[-count:] if count > 0 else []

    def reset(self) -> None:
        """Back to the source, adapter and guard."""
        self._adapter.reset()
        self._begin()

    def save(self, path: str | Path) -> None:
        """Writes the adapter's state; while fallen back, the one that trials begin from.

        Raises OutputError and StateError as `Adapter.save`.
        """
        if self.fallen is None:
            self._adapter.save(path)
            return
        on_trial = self._adapter.state
        try:
            self._to_base()
            self._adapter.save(path)
        finally:
            self._adapter.restore(on_trial)

    def _look(self, own: Any, source: Any) -> None:
        """Update the running means with what both networks say."""
        p = softmax(as_array(own))
        if self._judge is None:
            self._judge = Judge(p.shape[1], self._limits)
        for row in p:
            self._judge.predicted(row)
        if source is not None:
            for row, other in zip(p, softmax(as_array(source)), strict=True):
                self._judge.compared(row, other)
            self._judge.drift = self._adapter.drift()

    def _watch(self, n: int) -> None:
        """While the adapter predicts: keeps good states, falls back at the first sign of harm."""
        assert self._judge is not None
        harm = self._judge.harm()
        if harm is None:
            before, self._healthy = self._healthy, self._healthy + n
            every = self._limits.keep_every
            due = before // every < self._healthy // every
            if due and self._judge.kappa > self._limits.kappa and not self._judge.narrow:
                self._kept.append(self._adapter.state)
            if self._since_return is not None:
                self._since_return += n
                if self._since_return > 4 * self._limits.relapse:
                    self._trial, self._since_return = self._limits.trial, None
            return
        if self._since_return is not None and self._since_return < self._limits.relapse:
            self._trial = min(2 * self._trial, self._limits.longest_trial)
        # The latest kept state may already hold the beginning of the harm.
        self._base = self._kept[0] if len(self._kept) == 2 else None
        self._kept.clear()
        self.falls += 1
        self._trials = 0
        self.fallen = harm
        self._note("fell back", harm)
        self._try_anew()

    def _try(self, n: int) -> None:
        """While the source predicts: looks whether the adapter on trial has recovered."""
        assert self._judge is not None
        self._tried += n
        was_narrow, self._was_narrow = self._was_narrow, self._judge.narrow
        if was_narrow and not self._judge.narrow:
            # The stream shows something else now: what has been calibrated, and how often the
            # adapter has failed, was of what it showed before.
            self._trial = self._limits.trial
            self._try_anew()
            return
        if self._tried < self._trial:
            return
        if self._judge.well():
            self.fallen, self._base = None, None
            self._healthy, self._since_return = 0, 0
            self._judge.trusted_again()
            self._note("returned", f"a trial of {self._tried} frames went well")
        elif self._tried >= 2 * self._trial or not self._judge.finite:
            self._trials += 1
            if self._trials == 1 and self._base is not None:
                self._base = None
                self._note("reset", "the last good state did no better")
            self._try_anew()

    def _try_anew(self) -> None:
        assert self._judge is not None
        self._to_base()
        self._judge.begin()
        self._tried = 0
        self._was_narrow = self._judge.narrow

    def _to_base(self) -> None:
        if self._base is None:
            self._adapter.reset()
        else:
            self._adapter.restore(self._base)

    def _note(self, kind: str, why: str) -> None:
        self.events.append(Event(self.frames - 1, kind, why))
        self.happened += 1
