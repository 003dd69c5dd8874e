"""Whether a bundle computes what PyTorch computes, on frames, step after step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edge_tta.adapter import Adapter
from edge_tta.bundle.adapter import BundleAdapter
from edge_tta.errors import ModelError
from edge_tta.frames import open_source
from edge_tta.prepare import Images, InputSpec

MIN_STEPS = 20
# Until an update of the parameters has been among them.
_MAX_STEPS = 200
# On every so many frames the bundle observes, on the others it learns.
_OBSERVE_EVERY = 5

STEP_TOLERANCE = 1e-4
"""Of one step from the same state: every tensor of the new one, relative to its largest value."""

DRIFT_TOLERANCE = 2e-2
"""Of the logits after all steps, each executor on its own state, relative to the largest."""

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Parity:
    """How far a bundle was from PyTorch; differences are relative to the largest value.

    Attributes:
        steps, updates: how many were compared.
        logits: of one step, the worst.
        state: of one step, the worst tensor; `worst` is its name.
        drift: of the logits of the last step, each executor on its own state.
    """

    steps: int
    updates: int
    logits: float
    state: float
    worst: str
    drift: float


def compare(
    folder: Path, like: Adapter, spec: InputSpec, frames: Sequence[Images] | None = None
) -> Parity:
    """Runs a bundle beside PyTorch.

    Args:
        like: gives network and configuration; is not changed.
        frames: images (1, channels, H, W), repeated as needed; None: made ones.

    Raises:
        ModelError: they differ by more than the tolerances.
    """
    adapter = like.beside_itself()
    bundle = BundleAdapter(folder, like.config.label)
    alone = BundleAdapter(bundle.network, like.config.label)
    worst, name, worst_logits, drift, steps = 0.0, "", 0.0, 0.0, 0
    for image in _images(spec, frames):
        learn = (steps + 1) % _OBSERVE_EVERY != 0
        wanted = np.asarray(adapter(image, learn=learn))
        before = bundle.state
        found = bundle(image, learn=learn)
        worst_logits = max(worst_logits, relative(found, wanted))
        drift = relative(alone(image, learn=learn), wanted)
        after = {key: value.numpy() for key, value in adapter.state.items()}
        for key, value in bundle.state.items():
            # A change is a difference of parameters, and as exact as they are.
            like_it = before["parameters"] if key == "change" else before[key]
            scale = float(np.abs(like_it).max(initial=0))
            difference = relative(value, after[key], scale)
            if difference > worst or not np.isfinite(difference):
                worst, name = difference, key
        bundle.state = after
        steps += 1
        if steps >= MIN_STEPS and (adapter.updates or not adapter.config.trains):
            break
    parity = Parity(steps, adapter.updates, worst_logits, worst, name, drift)
    _refuse(parity, like.config.label)
    return parity


def relative(found: Array, wanted: Array, scale: float = 0.0) -> float:
    """Largest difference over the largest value, or over `scale` where that is more."""
    if not found.size:
        return 0.0
    largest = max(float(np.abs(wanted).max()), scale, 1e-12)
    gap = found.astype(np.float64) - wanted.astype(np.float64)
    return float(np.abs(gap).max()) / largest


def images_of(source: str, spec: InputSpec, count: int = 64) -> list[Images]:
    """The first frames of a folder, video or picture, as images.

    Raises:
        SourceError: it cannot be opened, or holds no frame.
    """
    found: list[Images] = []
    with open_source(source, max_frames=count) as opened:
        while (frame := opened.read()) is not None:
            found.append(spec.prepare(frame.pixels))
    return found


def _images(spec: InputSpec, frames: Sequence[Images] | None) -> Iterator[Images]:
    """At most _MAX_STEPS images."""
    rng = np.random.default_rng(0)
    for i in range(_MAX_STEPS):
        yield frames[i % len(frames)] if frames else _made(spec, rng)


def _made(spec: InputSpec, rng: np.random.Generator) -> Images:
    """A picture of soft patches and some noise, darker or lighter than the last."""
    channels = len(spec.mean)
    coarse = rng.uniform(0, 255, (6, 6, channels)).astype(np.float32)
    soft = cv2.resize(coarse, (spec.size, spec.size), interpolation=cv2.INTER_CUBIC)
    soft = soft.reshape(spec.size, spec.size, channels)
    noisy = soft * rng.uniform(0.4, 1.2) + rng.normal(0, 8, soft.shape)
    return spec.normalise(np.clip(noisy, 0, 255).astype(np.uint8)[None])


def _refuse(parity: Parity, label: str) -> None:
    step, worst = max(parity.logits, parity.state), parity.worst or "the state"
    # NaN is no parity either.
    if not step <= STEP_TOLERANCE or not parity.drift <= DRIFT_TOLERANCE:
        raise ModelError(
            f"the bundle does not compute what PyTorch computes ({label}): one step differs by "
            f"{parity.logits:.1e} in the logits, {parity.state:.1e} in {worst}"
            f" (at most {STEP_TOLERANCE:g}), {parity.steps} steps by {parity.drift:.1e} (at most "
            f"{DRIFT_TOLERANCE:g}); nothing was written; run the model with --backend torch"
        )
