"""The set of the order `drift`: every picture at the severity of its place in the stream."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench.corruptions.drift import UP_AND_DOWN
from bench.orders import drift_steps
from bench.sets import CLEAN, LabelledSet, load_set, severities_of
from edge_tta.errors import SourceError
from edge_tta.prepare import Pixels, Size

_SEVERITIES = tuple(sorted(set(UP_AND_DOWN)))


def load_drift_set(
    path: str | Path,
    size: Size,
    *,
    limit: int | None = None,
    only: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
) -> LabelledSet:
    """A set whose pictures go, kind after kind, through the severities 1 to 5 and back to 1.

    Picture i of corruption k has the severity UP_AND_DOWN[drift_steps(n, k)[i]]; the order `drift`
    shows the pictures by these steps. Clean pictures have no severity and are left out. Arguments
    as of `load_set`. Its severity is 0, for several.

    Memory: the result, and one severity of the set at a time.

    Raises:
        SourceError: the set has not all five severities of the same pictures, or as `load_set`.
    """
    path = Path(path)
    there = severities_of(path)
    if path.exists() and not set(_SEVERITIES) <= set(there):
        raise SourceError(
            f"the order drift needs the severities 1 to 5, and {path} has "
            f"{', '.join(map(str, there)) or 'not several'}; give a CIFAR-C folder or an ImageNet-C"
            " tree: edge-tta corrupt SRC FOLDER --severity all makes one"
        )
    corrupted = None if only is None else [name for name in only if name != CLEAN]
    drifting: dict[str, Pixels] = {}
    first: LabelledSet | None = None
    for severity in _SEVERITIES:
        part = load_set(path, size, severity=severity, limit=limit, only=corrupted, classes=classes)
        kinds = [name for name in part.corruptions if name != CLEAN]
        if first is None:
            first = part
            drifting = {name: part.corruptions[name].copy() for name in kinds}
        if kinds != list(drifting) or not np.array_equal(part.labels, first.labels):
            raise SourceError(
                f"{path} does not hold the same pictures and corruptions at severity {severity} "
                f"as at {_SEVERITIES[0]}; the order drift needs them"
            )
        for index, name in enumerate(kinds):
            own = np.array(UP_AND_DOWN)[drift_steps(len(part), index)] == severity
            drifting[name][own] = part.corruptions[name][own]
    assert first is not None
    return LabelledSet(first.name, 0, drifting, first.labels)
