"""A row of `bench error`: the error of one method on one corruption."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

Estimates = tuple[tuple[float | None, ...], ...]
"""What an accuracy was, what was estimated, and the ends of the interval, time after time."""


@dataclass(frozen=True)
class ErrorRow:
    """Error of one method on one corruption.

    Attributes:
        method, host: what ran; host is None but for nanoadapt.
        label: the method as it was asked for; the result file has its fields.
        severity: 1 to 5, or 0 where it is unknown or changes along the stream (drift).
        error: share of wrong predictions, 0..1, over `n` frames of all seeds together.
        error_low, error_high: its 95 % interval (Wilson), over the different pictures of `n`.
        by_seed: the error of each seed.
        falls: how often the guard fell back, in all streams together; None: no guard.
        source_share: of the streams' frames, on which it ran the source network too.
        own_over_time, weight_over_time: the error of the guard's adapted network alone, and the
            weight that its judge gave the source, in the parts of `over_time`; None: no guard.
        over_time: the error in equal parts of the stream, one after another, over all seeds;
            empty where there are fewer frames than parts.
        estimates: of the accuracy, without labels, every 300 frames: what it was, what was
            estimated, and the ends of the interval, the latter three None where it was unknown;
            None: no filter, which they are made by.
        own_estimates, source_estimates: the same of the guard's adapted network alone and of its
            source, on the frames of the latest 300 that this ran on; None: no guard.
    """

    method: str
    host: str | None
    label: str
    model: str
    data: str
    corruption: str
    severity: int
    batch_size: int
    order: str
    seed: int
    n: int
    error: float
    error_low: float
    error_high: float
    by_seed: tuple[float, ...]
    over_time: tuple[float, ...] = ()
    falls: int | None = None
    source_share: float | None = None
    own_over_time: tuple[float, ...] | None = None
    weight_over_time: tuple[float, ...] | None = None
    estimates: Estimates | None = None
    own_estimates: Estimates | None = None
    source_estimates: Estimates | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for files; what only the guard or the filter has where there is one."""
        always = {"host": self.host}
        return {k: v for k, v in asdict(self).items() if v is not None} | always
