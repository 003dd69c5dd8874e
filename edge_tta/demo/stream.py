"""A drive past road signs in changing weather, frame by frame, and sets of independent frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge_tta.demo.conditions import CONDITIONS
from edge_tta.demo.faces import CLASSES
from edge_tta.demo.scenery import make_scenery
from edge_tta.demo.signs import FRAME_SIZE, Pose, compose, random_light, reach, render

CLEAR = "clear"

_FIRST_CLEAR = 0.1  # part of the drive
_GAP, _RAMP = 0.07, 0.16  # parts of one condition's time: clear, then growing; and back at its end
_LENGTHS = (4, 10)  # frames that one sign is seen
_Composed: TypeAlias = tuple[NDArray[np.uint8], NDArray[np.uint8]]


@dataclass(frozen=True)
class DemoFrame:
    """One frame, uint8 (160, 160, 3) RGB, of the sign `CLASSES[label]`.

    `condition`: a name of `CONDITIONS`, or "clear" where `severity` (0 to 1) is 0. `mask`: uint8
    (160, 160), the place in `scenery.KINDS` of what each position shows.
    """

    frame: NDArray[np.uint8]
    label: int
    condition: str
    severity: float
    mask: NDArray[np.uint8]


def _encounter(rng: np.random.Generator) -> tuple[int, Callable[[float], _Composed]]:
    """A sign that comes closer: its label, and its clean frame and mask at a time from 0 to 1.

    The distance, not the scale, changes evenly.
    """
    scenery = make_scenery(rng)
    side = scenery.side
    first_yaw = -side * rng.uniform(-0.1, 0.4)
    label = int(rng.integers(len(CLASSES)))
    light = random_light(rng)
    far, near = rng.uniform(0.37, 0.46), rng.uniform(0.58, 0.73)
    height, offset = rng.uniform(-0.08, 0.08), rng.uniform(-0.08, 0.14)
    last_yaw = first_yaw * rng.uniform(1.0, 1.3)
    roll = rng.normal(0.0, 0.04)
    view_x, view_y = rng.uniform(-10.0, 10.0), rng.uniform(-10.0, 10.0)
    phase = rng.uniform(0.0, 2 * np.pi)

    def at(time: float) -> _Composed:
        scale = 1.0 / (1.0 / far + time * (1.0 / near - 1.0 / far))
        closer = (scale - far) / (near - far)
        sway = np.sin(2.6 * time + phase), np.cos(3.1 * time + phase)
        room = reach(scale)
        x = side * (offset + 0.1 * closer) + 0.012 * sway[0]
        y = height - 0.05 * closer + 0.012 * sway[1]
        pose = Pose(
            x=0.5 + float(np.clip(x, -room, room)),
            y=0.5 + float(np.clip(y, -room, room)),
            scale=scale,
            yaw=first_yaw + (last_yaw - first_yaw) * closer,
            pitch=0.02 * sway[1],
            roll=roll + 0.012 * sway[0],
            view_x=view_x - 4.0 * side * closer - 2.0 * sway[0],
            view_y=view_y - 2.0 * sway[1],
            zoom=1.0 + 0.16 * closer,
        )
        return compose(scenery, pose, light, label)

    return label, at


def weather(frames: int) -> list[tuple[str, float]]:
    """Condition and severity of each frame of a drive: clear, then one condition after another."""
    first = round(_FIRST_CLEAR * frames)
    names = tuple(CONDITIONS)
    plan = [(CLEAR, 0.0)] * first
    for index in range(first, frames):
        progress = (index - first) / max(1, frames - first) * len(names)
        which = int(progress)
        inside = progress - which
        severity = min(1.0, max(0.0, (min(inside, 1.0 - inside) - _GAP) / _RAMP))
        plan.append((names[which] if severity > 0.0 else CLEAR, severity))
    return plan


def drive(
    frames: int = 1800, seed: int = 0, plan: Sequence[tuple[str, float]] | None = None
) -> Iterator[DemoFrame]:
    """A drive of `frames` frames; the same seed gives the same drive.

    Signs come one after the other, each seen for 4 to 10 frames. After a clear start the conditions
    come and go, with a short clear stretch between them. `seed` is at least 0. `plan`: condition
    and severity of each frame, in place of these.
    """
    if frames < 1:
        raise ValueError(f"frames must be at least 1, got {frames}")
    if seed < 0:
        raise ValueError(f"seed must not be negative, got {seed}")
    plan = weather(frames) if plan is None else plan
    index = sign = 0
    while index < frames:
        rng = np.random.default_rng((seed, sign))
        label, frame_at = _encounter(rng)
        length = int(rng.integers(_LENGTHS[0], _LENGTHS[1] + 1))
        for step in range(min(length, frames - index)):
            condition, severity = plan[index]
            frame, mask = frame_at(step / (length - 1))
            if severity > 0.0:
                # What stays is drawn anew for each sign, what flickers for each frame.
                lasting = np.random.default_rng((seed, sign, 1))
                flicker = np.random.default_rng((seed, index, 2))
                frame = CONDITIONS[condition](frame, severity, lasting, flicker)
            yield DemoFrame(frame, label, condition, severity, mask)
            index += 1
        sign += 1


def clean_set(n: int, seed: int | tuple[int, ...]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """`n` independent clean frames, uint8 (n, 160, 160, 3) RGB, and labels (n,), classes evenly."""
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % len(CLASSES)).astype(np.int64)
    frames = np.empty((n, FRAME_SIZE, FRAME_SIZE, 3), np.uint8)
    for index, label in enumerate(labels):
        frames[index] = render(rng, int(label))
    return frames, labels
