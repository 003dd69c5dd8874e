"""Gradual drift: kind and severity of the corruption change slowly along a stream of frames."""

from __future__ import annotations

from collections.abc import Sequence

from bench.corruptions.generate import CORRUPTIONS

UP_AND_DOWN = (1, 2, 3, 4, 5, 4, 3, 2, 1)
"""Severities of one kind, as in the "gradual" setting of CoTTA (Wang et al., 2022)."""


def drift_schedule(
    n: int, names: Sequence[str] = CORRUPTIONS, severities: Sequence[int] = UP_AND_DOWN
) -> list[tuple[str, int]]:
    """Return (name, severity) for each of ``n`` frames: kinds in turn run through ``severities``.

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
