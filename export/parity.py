"""Comparison of a bundle with PyTorch, on frames, step after step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch

from edge_tta import nest
from edge_tta.adapter import Adapter
from edge_tta.bundle.folder import Bundle
from edge_tta.checkpoint import Arrays
from edge_tta.engines.onnx import OnnxEngine
from edge_tta.errors import ModelError
from edge_tta.frames import open_source
from edge_tta.method.state import State
from edge_tta.prepare import Images, InputSpec
from edge_tta.views import make_views
from export.graph.trace import plain_step

MIN_STEPS = 20
# Until an update of the parameters has been among them.
_MAX_STEPS = 200
# On every so many frames the bundle observes, on the others it learns.
_OBSERVE_EVERY = 5

STEP_TOLERANCE = 1e-4
"""Allowed difference of one step from the same state: of each tensor, relative to its largest."""

PERTURBATION = 1e-6
"""Relative change of the image and the state that stands for rounding in a deep network. It turns
units on and off that stand at the bend of their activation, as all do that have a constant input,
and moves the shrinkage factor of statistics where the frames seem all alike."""

# All values by that much, and then as often each up or down by chance, as rounding is: each of them
# finds a unit at the bend with a chance of one half.
_DRAWS = 8

SAFETY = 8.0
"""Multiple of that by which a step may differ, where it is more than STEP_TOLERANCE. ResNet-50 with
random weights was seen at six."""

MOST_TOLERANCE = 0.15
"""Allowed difference of one step, however sensitive the network."""

DRIFT_TOLERANCE = 2e-2
"""Allowed difference of the logits after all steps, each executor on its own state, relative to the
largest."""

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Parity:
    """Differences of a bundle from PyTorch, relative to the largest value.

    Attributes:
        steps, updates: how many were compared; an update ends a window, and may move nothing.
        logits: of one step, the worst.
        state: of one step, the worst tensor; `worst` is its name.
        drift: of the logits of the last step, each executor on its own state.
        tolerance: of logits and state, STEP_TOLERANCE but where PyTorch's own step is less certain.
    """

    steps: int
    updates: int
    logits: float
    state: float
    worst: str
    drift: float
    tolerance: float


def compare(
    folder: Path,
    like: Adapter,
    spec: InputSpec,
    frames: Sequence[Images] | None = None,
    profile: str = "speed",
) -> Parity:
    """Runs a bundle beside PyTorch.

    Args:
        like: gives network and configuration; is not changed.
        frames: images (1, channels, H, W), repeated as needed; None: made ones.

    Raises:
        ModelError: they differ by more than the tolerances.
    """
    adapter = like.fresh_copy()
    reference = _Reference(adapter, spec)
    engine = OnnxEngine(Bundle(folder, profile=profile), like.config.label)
    bundle, alone = Adapter(engine), Adapter(engine)
    bundle.prepare(spec.shape)
    worst = Parity(0, 0, 0.0, 0.0, "", 0.0, STEP_TOLERANCE)
    for image in _images(spec, frames):
        steps = worst.steps + 1
        learn = steps % _OBSERVE_EVERY != 0
        wanted = reference(image, learn)
        bundle.restore(reference.before)
        predicted = bundle.predict(image)
        step = bundle(image, learn=learn), bundle.state
        here = _differences(step, wanted, reference.before)
        logits, (state, name) = here["logits"], _largest(here)
        logits = max(logits, _furthest(predicted, reference.predict(image)))
        tolerance = worst.tolerance
        if not max(logits, state) <= tolerance:
            # Where rounding alone moves PyTorch's own step as far, no more can be asked.
            tolerance = max(
                tolerance, min(SAFETY * reference.sensitivity(image, learn), MOST_TOLERANCE)
            )
        drift = _furthest(alone(image, learn=learn), wanted[0])
        windows = int(alone.state.get("opt.updates", 0))
        if not state <= worst.state:
            worst = replace(worst, state=state, worst=name)
        worst = replace(
            worst,
            steps=steps,
            updates=windows,
            logits=max(worst.logits, logits),
            drift=drift,
            tolerance=tolerance,
        )
        if steps >= MIN_STEPS and (windows or not like.config.trains):
            break
    _refuse(worst, like.config.label)
    return worst


class _Reference:
    """PyTorch's own steps.

    Attributes:
        before: the state before the last step, as arrays.
    """

    def __init__(self, like: Adapter, spec: InputSpec) -> None:
        self._step = plain_step(like, spec.shape)
        self._config, self._spec, self._count = like.config, spec, 0
        self._state = self._old = self._step.initial_state()
        self.before: Arrays = {}

    def __call__(self, image: Images, learn: bool) -> tuple[Any, Arrays]:
        """Outputs and new state of the next step."""
        self._old, self.before = self._state, _arrays(self._state)
        logits, self._state = self._run(self._batch(image, learn), learn, self._old)
        self._count += 1
        return logits, _arrays(self._state)

    def predict(self, image: Images) -> Any:
        """Outputs at the state before the last step."""
        return _numpy(self._step.predict(torch.from_numpy(image), self._old))

    def sensitivity(self, image: Images, learn: bool) -> float:
        """Largest change of the last step with a PERTURBATION of the image and the state."""
        self._count -= 1
        batch = self._batch(image, learn)
        self._count += 1
        wanted = self._run(batch, learn, self._old)
        largest = 0.0
        for draw in range(1 + _DRAWS):
            old = {name: _perturbed(value, draw) for name, value in self._old.items()}
            logits, new = self._run(_perturbed(batch, draw), learn, old)
            moved = _differences(
                (logits, _arrays(new)), (wanted[0], _arrays(wanted[1])), self.before
            )
            largest = max(largest, *moved.values())
        return largest

    def _run(self, batch: torch.Tensor, learn: bool, state: State) -> tuple[Any, State]:
        views = len(batch)
        run = self._step.learn if learn else self._step.observe
        logits, new = run(batch, state, views=views)
        return _numpy(logits), new

    def _batch(self, image: Images, learn: bool) -> torch.Tensor:
        config = self._config
        count = config.views.count if learn and config.trains else 0
        rng = np.random.default_rng([config.views.seed, self._count])
        return torch.from_numpy(make_views(image, count, self._spec, rng))


def _perturbed(values: torch.Tensor, draw: int) -> torch.Tensor:
    """Values larger by PERTURBATION (draw 0), or each up or down by chance; counters stay."""
    if not values.is_floating_point():
        return values
    if not draw:
        return values * (1 + PERTURBATION)
    generator = torch.Generator().manual_seed(draw)
    up = torch.randint(0, 2, values.shape, generator=generator).to(values)
    return values * (1 + PERTURBATION * (2 * up - 1))


def _numpy(outputs: Any) -> Any:
    return nest.mapped(lambda tensor: tensor.detach().numpy(), outputs)


def _arrays(state: State) -> Arrays:
    return {name: value.detach().numpy() for name, value in state.items()}


def _differences(
    step: tuple[Any, Arrays], wanted: tuple[Any, Arrays], before: Arrays
) -> dict[str, float]:
    """Differences of the outputs and of each tensor of the state, relative to its largest value."""
    differences = {"logits": _furthest(step[0], wanted[0])}
    for key, value in wanted[1].items():
        # A change is a difference of parameters, and as exact as they are.
        like_it = before["opt.parameters"] if key == "taylor.change" else before[key]
        scale = float(np.abs(like_it).max(initial=0))
        differences[key] = relative(step[1][key], value, scale)
    return differences


def _largest(differences: dict[str, float]) -> tuple[float, str]:
    """The worst tensor of the state; NaN is worse than anything."""
    state = {name: d for name, d in differences.items() if name != "logits"}
    name = max(state, key=lambda n: np.inf if np.isnan(state[n]) else state[n])
    return state[name], name


def _furthest(outputs: Any, wanted: Any) -> float:
    """Largest of the outputs' relative differences."""
    pairs = zip(nest.leaves(outputs), nest.leaves(wanted), strict=True)
    return max(relative(*pair) for pair in pairs)


def relative(values: Array, wanted: Array, scale: float = 0.0) -> float:
    """Largest difference over the largest value, or over `scale` where that is more."""
    if not values.size:
        return 0.0
    largest = max(float(np.abs(wanted).max()), scale, 1e-12)
    gap = values.astype(np.float64) - wanted.astype(np.float64)
    return float(np.abs(gap).max()) / largest


def images_of(source: str, spec: InputSpec, count: int = 64) -> list[Images]:
    """The first frames of a folder, video or picture, as images.

    Raises:
        SourceError: it cannot be opened, or holds no frame.
    """
    images: list[Images] = []
    with open_source(source, max_frames=count) as opened:
        while (frame := opened.read()) is not None:
            image = spec.prepare(frame.pixels) if frame.array is None else frame.array[None]
            images.append(image)
    return images


def _images(spec: InputSpec, frames: Sequence[Images] | None) -> Iterator[Images]:
    """Yield _MAX_STEPS images: the frames in turn, or made ones."""
    rng = np.random.default_rng(0)
    for i in range(_MAX_STEPS):
        yield frames[i % len(frames)] if frames else _made(spec, rng)


def _made(spec: InputSpec, rng: np.random.Generator) -> Images:
    """A picture of soft patches and some noise, darker or lighter than the last."""
    channels, height, width = spec.shape
    coarse = rng.uniform(0, 255, (6, 6, channels)).astype(np.float32)
    soft = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    soft = soft.reshape(height, width, channels)
    noisy = soft * rng.uniform(0.4, 1.2) + rng.normal(0, 8, soft.shape)
    return spec.normalise(np.clip(noisy, 0, 255).astype(np.uint8)[None])


def _refuse(parity: Parity, label: str) -> None:
    step, worst = max(parity.logits, parity.state), parity.worst or "the state"
    # NaN is no parity either.
    if not step <= parity.tolerance or not parity.drift <= DRIFT_TOLERANCE:
        raise ModelError(
            f"the bundle does not compute what PyTorch computes ({label}): one step differs by "
            f"{parity.logits:.1e} in the logits, {parity.state:.1e} in {worst}"
            f" (at most {parity.tolerance:.1e}), {parity.steps} steps by {parity.drift:.1e} (at "
            f"most {DRIFT_TOLERANCE:g}); nothing was written; run the model with --backend torch"
        )
