"""Gradual drift: kind and severity of the corruption change slowly along a stream of frames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bench.corruptions.frost import load_frost_textures
from bench.corruptions.generate import CORRUPTIONS, FrostTextures, corrupt

UP_AND_DOWN = (1, 2, 3, 4, 5, 4, 3, 2, 1)
"""Severities of one kind, as in the "gradual" setting of CoTTA (Wang et al., 2022)."""


def drift_schedule(
    n: int, names: Sequence[str] = CORRUPTIONS, severities: Sequence[int] = UP_AND_DOWN
) -> list[tuple[str, int]]:
    """(name, severity) for each of ``n`` frames: every kind in turn runs through ``severities``.

    The frames are shared out evenly over the len(names) * len(severities) steps; with fewer frames
    than steps, steps are left out evenly. Severity 0 is a clean frame.

    >>> drift_schedule(6, ["fog", "snow"], [1, 5, 0])
    [('fog', 1), ('fog', 5), ('fog', 0), ('snow', 1), ('snow', 5), ('snow', 0)]
    """
    if n < 0:
        raise ValueError(f"n must not be negative, got {n}")
    if not names or not severities:
        raise ValueError("names and severities must not be empty")
    for name in names:
        if name not in CORRUPTIONS:
            raise ValueError(f"names must be out of {', '.join(CORRUPTIONS)}, got {name!r}")
    for severity in severities:
        if severity not in range(6):
            raise ValueError(f"severities must be in 0..5, got {severity}")
    steps = [(name, int(severity)) for name in names for severity in severities]
    return [steps[step] for step in shared_out(n, len(steps))]


def shared_out(n: int, steps: int) -> list[int]:
    """The step, from 0, of each of ``n`` frames, shared out evenly.

    >>> shared_out(5, 2)
    [0, 0, 0, 1, 1]
    """
    return [i * steps // n for i in range(n)]


def apply_drift(
    frames: Iterable[NDArray[np.uint8]],
    schedule: Sequence[tuple[str, int]],
    seed: int,
    *,
    table: Literal["auto", "cifar", "imagenet"] = "auto",
    frost_textures: FrostTextures | None = None,
) -> Iterator[NDArray[np.uint8]]:
    """Frames uint8 (H, W, 3), frame i corrupted by ``schedule[i]``; severity 0 leaves it as it is.

    Lazy, so it serves a camera as well as an array (n, H, W, 3). It ends with the shorter of the
    two. Noise, fog and so on are drawn anew for each frame, as published, without motion in time.
    """
    if isinstance(frost_textures, str | Path):
        frost_textures = load_frost_textures(frost_textures)
    # The schedule comes first in zip: at its end no further frame is taken from the source.
    for index, ((name, severity), frame) in enumerate(zip(schedule, frames, strict=False)):
        if severity == 0:
            yield frame
        else:
            yield corrupt(
                frame,
                name,
                severity,
                seed,
                table=table,
                first_index=index,
                frost_textures=frost_textures,
            )
