"""Fits a bundle into memory: views, profile and depth.

A graph has its views and its depth built in, so each pair of them is exported and run by the onnx
executor in a fresh process (`export.probe`), once for each profile.
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edge_tta.adapter import Adapter
from edge_tta.budget.choices import Choice, Plan, chosen, depths_of, layers_of, plans
from edge_tta.bundle.runtime import PROFILES
from edge_tta.engines.torch import engine_of
from edge_tta.errors import OutputError
from edge_tta.models import Model
from edge_tta.prepare import Images
from export.bundle import write_bundle
from export.probe import peak

Build = Callable[[int, float], Adapter]
Probe = Callable[[int, float, str], float]


def fit(
    probe: Probe, *, views: int, depths: list[float], budget_bytes: float
) -> tuple[Choice, str]:
    """Return the choice that gives up least, and the reason in a line; its `saving` is the profile.

    Args:
        probe: the peak of a bundle's process in bytes, by (views, depth, profile); asked for as
            little as can be.
        views: as asked for; no more is chosen.
        depths: to choose among, each half of the one before; the first as asked for.

    Raises:
        BudgetError: nothing fits; the least that would be needed is in the message.
    """
    probed = functools.cache(probe)

    def priced(plan: Plan) -> Choice:
        return plan.costing(probed(plan.views, plan.depth, plan.saving))

    asked, *others = plans(PROFILES, depths, views)
    # What gives up most tells at once where nothing fits.
    leanest = [plan for plan in others if (plan.views, plan.depth) == (0, depths[-1])]
    if priced(asked).needed_bytes > budget_bytes:
        chosen(map(priced, leanest), budget_bytes)
    return chosen(map(priced, [asked, *others]), budget_bytes)


def depths_for(adapter: Adapter, shape: tuple[int, ...]) -> list[float]:
    """Return depths to choose among; shape: of an image, (channels, H, W)."""
    adapter.prepare(shape)
    layers = engine_of(adapter).step.program.layers
    return depths_of(len(layers), adapter.config.layers.depth)


@dataclass
class Exporting:
    """A `Probe` that exports what it is asked about, and forgets the files.

    Args:
        build: an adapter of one network by (views, depth).
        place: a folder on a disk with room for a bundle.
        tell: told what is being measured.
        int8: as of `export.bundle.write_bundle`.
    """

    model: Model
    build: Build
    preset: str
    place: Path
    threads: int | None
    tell: Callable[[str], None]
    int8: Sequence[Images] | None = None
    _known: dict[tuple[int, float], dict[str, float]] = field(default_factory=dict)

    def __call__(self, views: int, depth: float, profile: str) -> float:
        key = views, depth
        if key not in self._known:
            self.tell(f"Measuring {views} views, {layers_of(depth)}")
            self._known[key] = self._measured(*key)
        return self._known[key][profile]

    def _measured(self, views: int, depth: float) -> dict[str, float]:
        try:
            with tempfile.TemporaryDirectory(dir=self.place, prefix=".edge-tta-") as folder:
                built = [self.build(views, depth)]
                write_bundle(self.model, built, self.preset, Path(folder), int8=self.int8)
                return {name: peak(Path(folder), name, self.threads) for name in PROFILES}
        except OSError as error:
            raise OutputError(f"cannot write into {self.place}: {error.strerror}") from error
