"""Interface of tasks, and of what is read from a network's outputs.

A task says what the step and the run need to know of outputs: the class votes of an image, whether
there is a loss on them, how a frame is fitted into the input, and how the outputs are read, drawn
and told. Outputs are tensors of PyTorch or arrays of NumPy, batch first, one or several
(`edge_tta.nest`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

from edge_tta.frames.source import Pixels
from edge_tta.prepare import Fit
from edge_tta.show.colours import Colour


@dataclass(frozen=True)
class Classes:
    """The network's classes: how many, and their names where they have any."""

    count: int
    names: tuple[str, ...] | None = None

    def name(self, index: int) -> str:
        """Name of a class, "class 7" when it has none."""
        names = self.names or ()
        return names[index] if index < len(names) else f"class {index}"


@dataclass(frozen=True)
class Reading:
    """What is read from the outputs of one image.

    Attributes:
        index, label: the class of a picture, and its name; of others a summary: the most frequent
            class, and a text.
        confidence: its softmax probability, share of the picture, or highest score, 0..1.
        entropy: of the softmax, or its mean over the picture, in nats; NaN where there is none.
        entropy_share: the same over its largest possible value, 0..1.
        likeliest: names of the first few classes with their probabilities or shares, the likeliest
            first.
    """

    index: int
    label: str
    confidence: float
    entropy: float
    entropy_share: float
    likeliest: tuple[tuple[str, float], ...]

    pictured: ClassVar[bool] = False
    """It is painted into the picture, and the source's beside it."""

    def record(self, height: int, width: int) -> dict[str, Any]:
        """Return what a record tells of it, in JSON's types, for a frame of that size in pixels."""
        return {
            "prediction": self.index,
            "label": self.label,
            "confidence": self.confidence,
            "entropy": self.entropy,
        }

    def compared(self, height: int, width: int) -> dict[str, Any]:
        """Return what a record tells of it where it is of a method compared with."""
        return {"prediction": self.index, "confidence": self.confidence}

    @property
    def legend(self) -> tuple[tuple[str, Colour], ...]:
        """Names and colours that explain what is painted."""
        return ()

    def painted(self, pixels: Pixels, source: Reading | None) -> Pixels:
        """Return a frame (H, W, 3) RGB with it drawn in, beside the source network's if given."""
        return pixels


FRAMEWISE: Mapping[str, Any] = {
    "calibration": "framewise",
    "smoothing": 0.98,
    "prior_frames": 8,
    "alpha": 0.0,
    "strength": 0.6,
    "coarsest": 64,
    "diversity": 0.0,
    "forgetting": 0.0,
}
"""Preset of the tasks whose frames show much at once: enough for statistics of their own."""


class Compared(NamedTuple):
    """Two networks' outputs of one image beside each other.

    Attributes:
        gain: how much more the adapted network's seem to know than the source's.
        differ: the share of parts, 0..1, in which they say another class.
    """

    gain: float
    differ: float


@runtime_checkable
class Comparable(Protocol):
    """A task whose outputs tell, without labels, which of two networks makes more of a frame.

    Attributes:
        margin: the gain from which an adapted network is believed.
        parts: what the outputs are many of, in a word.
    """

    margin: float
    parts: str

    def compare(self, adapted: Any, source: Any) -> Compared:
        """Return how the outputs of one image, N = 1, of both networks differ, all finite."""
        ...


class Task(Protocol):
    """What outputs mean.

    Attributes:
        name: as `--task` has it.
        learns: there is a loss on the votes; else statistics alone are calibrated.
        host: what NanoAdapt wraps where nothing is said.
        filtered: one class an image: the class filter is for it, and a guard that judges by it.
        fit: how a frame gets the input's shape.
        preset: fields of `edge_tta.config.fields.PLACES` that win over the preset `edge`.
    """

    name: str
    learns: bool
    host: str
    filtered: bool
    fit: Fit
    preset: Mapping[str, Any]

    def takes(self, outputs: Any, image_shape: Sequence[int]) -> str:
        """Return why outputs for images (channels, H, W) cannot be of this task; "": they can."""
        ...

    def votes(self, outputs: Any) -> Any | None:
        """Return logits (N * P, K) of P votes on each image, an image's together; None: there are
        none, and nothing is known of the classes that an image shows."""
        ...

    def read(self, outputs: Any, classes: Classes) -> Reading:
        """Return what the outputs of one image, N = 1, say."""
        ...


def can_be_guarded(task: Task) -> bool:
    """Tell whether two networks' outputs can be compared without labels, as a guard does."""
    return task.filtered or isinstance(task, Comparable)
