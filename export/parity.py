"""Comparison of a bundle with PyTorch, on frames, step after step."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edge_tta.adapter import Adapter
from edge_tta.bundle.folder import Bundle
from edge_tta.checkpoint import Arrays
from edge_tta.engines.onnx import OnnxEngine
from edge_tta.errors import ModelError
from edge_tta.method.step import Step
from edge_tta.prepare import Images, InputSpec
from edge_tta.views import make_views
from export.graph.trace import exact_step, plain_step
from export.parity_frames import repeated
from export.parity_steps import as_arrays, as_numpy, differences, furthest, largest, run
from export.uncertainty import uncertainty

MIN_STEPS = 20
# Until an update of the parameters has been among them.
_MAX_STEPS = 200
# On every so many frames the bundle observes, on the others it learns.
_OBSERVE_EVERY = 5

STEP_TOLERANCE = 1e-4
"""Allowed difference of one step from the same state: of each tensor, relative to its largest."""

SAFETY = 8.0
"""Multiple of PyTorch's own uncertainty by which a step may differ where it is more than
STEP_TOLERANCE. ResNet-50 with random weights was seen at six."""

MOST_TOLERANCE = 0.15
"""Allowed difference of one step, however sensitive the network."""

DRIFT_TOLERANCE = 2e-2
"""Allowed difference of the logits after all steps, each executor on its own state, relative to the
largest."""


@dataclass(frozen=True)
class Parity:
    """Differences of a bundle from PyTorch, relative to the largest value.

    Attributes:
        steps, updates: how many were compared; an update ends a window, and may move nothing.
        logits: of one step, the worst.
        state: of one step, the worst tensor.
        drift: of the logits of the last step, each executor on its own state.
        tolerance: largest allowed difference of a tensor, STEP_TOLERANCE but where PyTorch's own
            step is less certain.
        excess: of one step, the largest difference as a multiple of what was allowed, of the
            logits or the tensor `worst`.
    """

    steps: int
    updates: int
    logits: float
    state: float
    drift: float
    tolerance: float = STEP_TOLERANCE
    excess: float = 0.0
    worst: str = "logits"


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
    engine = OnnxEngine(Bundle(folder, profile=profile), like.config.label, int8=False)
    bundle, alone = Adapter(engine), Adapter(engine)
    bundle.prepare(spec.shape)
    worst = Parity(0, 0, 0.0, 0.0, 0.0)
    allowed = _Allowed()
    for image in repeated(spec, frames, _MAX_STEPS):
        steps = worst.steps + 1
        learn = steps % _OBSERVE_EVERY != 0
        wanted = reference(image, learn)
        bundle.restore(reference.before)
        predicted = bundle.predict(image)
        step = bundle(image, learn=learn), bundle.state
        here = differences(step, wanted, reference.before)
        here["logits"] = largest(here["logits"], furthest(predicted, reference.predict(image)))
        if allowed.excess(here)[0] > 1:
            # Where rounding alone moves PyTorch's own step as far, no more can be asked.
            allowed.widen(reference.sensitivity(image, learn))
        drift = furthest(alone(image, learn=learn), wanted[0])
        windows = int(alone.state.get("opt.updates", 0))
        worst = replace(
            worst,
            steps=steps,
            updates=windows,
            logits=largest(worst.logits, here["logits"]),
            state=largest(worst.state, *(d for name, d in here.items() if name != "logits")),
            drift=drift,
            tolerance=max([STEP_TOLERANCE, *allowed.values()]),
        )
        if not (over := allowed.excess(here))[0] <= worst.excess:
            worst = replace(worst, excess=over[0], worst=over[1])
        if steps >= MIN_STEPS and (windows or not like.config.trains):
            break
    _refuse(worst, like.config.label)
    return worst


class _Allowed(dict[str, float]):
    """Allowed differences of one step, by tensor: STEP_TOLERANCE where nothing else is known."""

    def __missing__(self, name: str) -> float:
        return STEP_TOLERANCE

    def excess(self, differences: Mapping[str, float]) -> tuple[float, str]:
        """Return the largest difference as a multiple of what is allowed, and whose; NaN: inf."""
        over = {name: d / max(self[name], 1e-12) for name, d in differences.items()}
        return max((np.inf if np.isnan(value) else value, name) for name, value in over.items())

    def widen(self, uncertain: Mapping[str, float]) -> None:
        """Allow what PyTorch's own step is uncertain by, SAFETY times."""
        for name, value in uncertain.items():
            self[name] = max(self[name], min(SAFETY * value, MOST_TOLERANCE))


class _Reference:
    """PyTorch's own steps.

    Attributes:
        before: the state before the last step, as arrays.
    """

    def __init__(self, like: Adapter, spec: InputSpec) -> None:
        self._like, self._step = like, plain_step(like, spec.shape)
        self._config, self._spec, self._count = like.config, spec, 0
        self._state = self._old = self._step.initial_state()
        self.before: Arrays = {}

    def __call__(self, image: Images, learn: bool) -> tuple[Any, Arrays]:
        """Outputs and new state of the next step."""
        self._old, self.before = self._state, as_arrays(self._state)
        outputs, self._state = run(self._step, self._batch(image, learn), learn, self._old)
        self._count += 1
        return outputs, as_arrays(self._state)

    def predict(self, image: Images) -> Any:
        """Outputs at the state before the last step."""
        return as_numpy(self._step.predict(torch.from_numpy(image), self._old))

    def sensitivity(self, image: Images, learn: bool) -> dict[str, float]:
        """Uncertainty of the last step by tensor, of the logits as "logits"."""
        self._count -= 1
        batch = self._batch(image, learn)
        self._count += 1
        return uncertainty(self._step, self._exact, batch, learn, self._old)

    @functools.cached_property
    def _exact(self) -> Step | None:
        try:
            return exact_step(self._like, self._spec.shape)
        except (ModelError, RuntimeError):
            return None

    def _batch(self, image: Images, learn: bool) -> torch.Tensor:
        config = self._config
        count = config.views.count if learn and config.trains else 0
        rng = np.random.default_rng([config.views.seed, self._count])
        return torch.from_numpy(make_views(image, count, self._spec, rng))


def _refuse(parity: Parity, label: str) -> None:
    # NaN is no parity either.
    if not parity.excess <= 1 or not parity.drift <= DRIFT_TOLERANCE:
        raise ModelError(
            f"the bundle does not compute what PyTorch computes ({label}): one step differs by "
            f"{parity.logits:.1e} in the logits, {parity.state:.1e} in the state, in "
            f"{parity.worst} {parity.excess:.1f} times as far as allowed; {parity.steps} steps by "
            f"{parity.drift:.1e} (at most {DRIFT_TOLERANCE:g}); nothing was written; try other "
            "--frames, or run the model with --backend torch"
        )
