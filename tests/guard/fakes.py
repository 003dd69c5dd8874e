"""An adapter whose predictions a test writes, to see what the guard decides."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Logits = npt.NDArray[np.float64]
CLASSES = 10
_DRAWN = np.random.default_rng(0).integers(CLASSES, size=4096)


def sure(number: int, confidence: float = 8.0) -> Logits:
    """Logits (1, C) that are certain of one class, another one each time."""
    logits = np.zeros((1, CLASSES))
    logits[0, number % CLASSES] = confidence
    return logits


def mixed(frame: int) -> Logits:
    """Logits (1, C) that are certain of a class drawn for the frame."""
    return sure(int(_DRAWN[frame % len(_DRAWN)]))


def unsure(number: int) -> Logits:
    """Logits (1, C) that say next to nothing."""
    return sure(number, 0.1)


def always(number: int) -> Logits:
    """Logits (1, C) that are certain of one and the same class."""
    return sure(3)


class Scripted:
    """Predicts what `own` and `source` say of the number of the frame; its state is a counter.

    own: gets the frame's number and the state's age, the steps since the source or since what was
    restored began.
    """

    task = None

    def __init__(
        self,
        own: Callable[[int, int], Logits],
        source: Callable[[int], Logits] = mixed,
    ) -> None:
        self._own, self._source = own, source
        self.frame = -1
        self.steps = 0
        self.learned: list[bool] = []
        self.restored: list[int] = []
        self.resets = 0
        self.moved = 0.0
        self.saved: list[int] = []

    def __call__(self, images: Any, *, learn: bool = True) -> Logits:
        self.frame += 1
        self.steps += 1
        self.learned.append(learn)
        return self._own(self.frame, self.steps)

    def predict_source(self, images: Any) -> Logits:
        return self._source(self.frame)

    def predict(self, images: Any) -> Logits:
        return self._own(self.frame, self.steps)

    @property
    def state(self) -> dict[str, Any]:
        return {"steps": self.steps}

    def restore(self, state: dict[str, Any]) -> None:
        self.steps = state["steps"]
        if self.steps:
            self.restored.append(self.steps)
        else:
            self.resets += 1

    def reset(self) -> None:
        self.steps = 0
        self.resets += 1

    def drift(self) -> float:
        return self.moved

    @property
    def source_state(self) -> dict[str, Any]:
        return {"steps": 0}

    def save(self, path: str | Path, state: dict[str, Any] | None = None) -> None:
        self.saved.append((state or self.state)["steps"])
