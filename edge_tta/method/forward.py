"""The BatchNorm hooks of a forward pass: collect moments, choose statistics, normalise.

`edge_tta.network.program` runs the network and asks a hook, at each BatchNorm, for the parameters
and for the statistics to normalise with.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from edge_tta.config import CalibrationConfig
from edge_tta.method import moments
from edge_tta.method.calibration.base import Calibration, Collected
from edge_tta.method.calibration.class_balance import mean_prediction
from edge_tta.method.gradient import PATHS, GradientPath
from edge_tta.method.state import Layout, State, finite_or_old, layer_layout
from edge_tta.method.taylor.shift import Shift, Taylor
from edge_tta.network.kernels import Kernels, Moments
from edge_tta.network.program import AsTrained, Program, Site, Statistics, Watched


class Fixed(AsTrained):
    """A hook that normalises with given statistics and collects nothing.

    Args:
        values: trained parameters by name; others are the source's.
        used: offset from the source mean, and variance, of all layers, (C,) each.
    """

    def __init__(self, program: Program, values: Mapping[str, Tensor], used: Moments) -> None:
        super().__init__(program, values)
        self._statistics = statistics_by_layer(program, used)

    def statistics(
        self, site: Site, z: Tensor, watched: Watched | None, kernels: Kernels
    ) -> Statistics:
        """Return the statistics of the site's layer."""
        return self._statistics[site.layer.name]


@dataclass(frozen=True)
class Setting:
    """Constants that all passes of one method share.

    Attributes:
        path: the gradient's way through the statistics; None: there is none.
        layout: where each layer's channels stand in a vector of all.
        taylor: None: nothing is shifted.
    """

    program: Program
    layout: Layout
    calibration: Calibration
    path: GradientPath | None
    taylor: Taylor | None

    def without_gradient(self) -> Setting:
        """Return the setting of passes that only observe."""
        return replace(self, path=None)


def make_setting(
    program: Program, calibration: Calibration, table: CalibrationConfig, trained: Set[str]
) -> Setting:
    """Return what the passes of a configuration have in common.

    trained: names of the trained parameters.
    """
    taylor = Taylor(program, table, trained) if trained and table.taylor != "none" else None
    layout = layer_layout(program.layers)
    return Setting(program, layout, calibration, PATHS.get(table.gradient), taylor)


class Forward:
    """The hook of one pass that calibrates.

    Args:
        values: the trained parameters by name.
        changes: what the last step did to them; None: nothing.
        frames: N; the images are N times as many views.
    """

    def __init__(
        self,
        setting: Setting,
        state: State,
        values: Mapping[str, Tensor],
        changes: Mapping[str, Tensor] | None,
        frames: int,
    ) -> None:
        self._setting, self._state, self._frames = setting, state, frames
        self._layout = setting.layout
        self._parameters = {**setting.program.parameters, **values}
        self._rule = setting.calibration.rule(state)
        # What each layer had before the batch: the history, or the shrunk estimate.
        self._base = by_layer(self._layout, setting.calibration.statistics(state))
        self._batches: dict[str, list[Moments]] = {}
        self._used: dict[int, Statistics] = {}
        self._shift: Shift | None = None
        if setting.taylor is not None:
            self._shift = Shift(setting.taylor, state, changes, self._used)

    def run(self, images: Tensor) -> Any:
        """Return the outputs of images (N * V, channels, H, W), a frame's views together."""
        watch = self._shift is not None and self._shift.watches
        return self._setting.program.run(images, self, watch=watch)

    def parameter(self, name: str) -> Tensor:
        """Return a parameter."""
        return self._parameters[name]

    def statistics(
        self, site: Site, z: Tensor, watched: Watched | None, kernels: Kernels
    ) -> Statistics:
        """Return what z (N * V, C, *spatial) is normalised with."""
        layer, path = site.layer, self._setting.path
        base = self._base[layer.name]
        if self._shift is not None and watched is not None:
            with torch.no_grad():
                base = self._shift.shifted(site, base, z, watched, self)  # Eq. 8
        if self._setting.calibration.by_frame:
            with torch.no_grad():
                frames = self._frame_moments(z, layer.mean, kernels)
            self._batches.setdefault(layer.name, []).append(frames)
        used = self._base[layer.name] = base
        with torch.set_grad_enabled(path is not None):
            if path is not None or self._rule is not None:
                batch = kernels.moments(z, layer.mean)  # Eq. 4; of k + 1 views as one: Eq. 11
                if self._rule is not None:
                    used, self._base[layer.name] = self._rule(layer, base, batch)  # Eq. 5
                if path is not None:
                    used = path(batch, used, layer.eps)  # Eq. 12
        chosen = Statistics(layer.mean + used[0], used[1])
        self._used[site.index] = Statistics(chosen.mean.detach(), chosen.variance.detach())
        return chosen

    def new_state(self, votes: Tensor) -> State:
        """Return calibration and Jacobians after the pass; the old ones if any is not finite.

        votes: class votes of all images, an image's together, (N * V * P, K).
        """
        calibration, state = self._setting.calibration, self._state
        new: State = {}
        if self._shift is not None:
            new |= self._shift.new_jacobians
            if self._shift.total:
                new |= calibration.shifted(state, self._shifted)
        p = mean_prediction(votes.view(self._frames, -1, votes.shape[-1]))
        collected = Collected(flat(self._layout, self._base), self._frame_list(), p)
        new |= calibration.updated({**state, **new}, collected)
        return finite_or_old(new, state)

    def _frame_moments(self, z: Tensor, centre: Tensor, kernels: Kernels) -> Moments:
        """Return the moments (N * C,) of each frame of z, views together, at sampled positions."""
        z, weights = moments.sampled(z)
        if self._frames == 1:
            return kernels.moments(z, centre, weights)
        by_frame = z.reshape(self._frames, -1, *z.shape[1:]).transpose(0, 1).flatten(1, 2)
        return kernels.moments(by_frame, centre.repeat(self._frames), weights)

    def _frame_list(self) -> list[Moments]:
        """Return the moments of each frame, (C,) each, uses of a layer together."""
        if not self._batches:
            return []
        shape = (self._frames, -1)
        pooled = {name: moments.pooled(uses) for name, uses in self._batches.items()}
        offsets, variances = (
            torch.cat([pooled[name][part].view(shape) for name in self._layout.names], 1)
            for part in (0, 1)
        )
        return list(zip(offsets.unbind(), variances.unbind(), strict=True))

    def _shifted(self, history: Moments) -> Moments:
        """Return a history of all layers, shifted as the pass has shifted each."""
        assert self._shift is not None
        layers, total = self._setting.program.layers, self._shift.total
        zeros = {layer.name: torch.zeros_like(layer.mean) for layer in layers}
        mean = self._layout.join({**zeros, **{n: c.mean for n, c in total.items()}})
        square = self._layout.join({**zeros, **{n: c.square for n, c in total.items()}})
        source = torch.cat([layer.variance for layer in layers])
        return moments.shift(history, mean, square, source)


def by_layer(layout: Layout, vectors: Moments) -> dict[str, Moments]:
    """Return moments (C,) of all layers as views by layer."""
    offsets, variances = layout.split(vectors[0]), layout.split(vectors[1])
    return {name: (offsets[name], variances[name]) for name in layout.names}


def flat(layout: Layout, by_name: Mapping[str, Moments]) -> Moments:
    """Return moments by layer as two vectors (C,), the inverse of `by_layer`."""
    return (
        layout.join({name: value[0] for name, value in by_name.items()}),
        layout.join({name: value[1] for name, value in by_name.items()}),
    )


def statistics_by_layer(program: Program, used: Moments) -> dict[str, Statistics]:
    """Return mean and variance (C,) of each layer, of offsets and variances of all."""
    parts = by_layer(layer_layout(program.layers), used)
    return {
        layer.name: Statistics(layer.mean + parts[layer.name][0], parts[layer.name][1])
        for layer in program.layers
    }
