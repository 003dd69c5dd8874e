"""The BatchNorm hooks of a forward pass: collect moments, choose statistics, normalise.

`edge_tta.network.program` runs the network and asks a hook, at each BatchNorm, for the parameters
and for the statistics to normalise with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from edge_tta.config import CalibrationConfig
from edge_tta.method import moments
from edge_tta.method.calibration.base import Calibration, Collected
from edge_tta.method.calibration.class_balance import mean_prediction
from edge_tta.method.gradient import PATHS, Path
from edge_tta.method.moments import smoothing_at
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
        layers: where each layer's channels stand in a vector of all.
        taylor: None: nothing is shifted. smoothing: of its running Jacobians, by step.
    """

    program: Program
    layers: Layout
    calibration: Calibration
    path: Path | None
    taylor: Taylor | None
    smoothing: Callable[[Tensor], Tensor]

    def without_gradient(self) -> Setting:
        """Return the setting of passes that only observe."""
        return replace(self, path=None)


def make_setting(
    program: Program, calibration: Calibration, table: CalibrationConfig, trained: Set[str]
) -> Setting:
    """Return what the passes of a configuration have in common.

    trained: names of the trained parameters.
    """
    taylor = None
    if trained and table.taylor != "none":
        taylor = Taylor(program, table.taylor, table.jacobian == "history", trained)
    initial = "source" if table.kind == "renormalised" else table.initial

    def smoothing(steps: Tensor) -> Tensor:
        return smoothing_at(steps, table.smoothing, table.prior_frames, initial)[..., None]

    path = PATHS.get(table.gradient)
    layers = layer_layout(program.layers)
    return Setting(program, layers, calibration, path, taylor, smoothing)


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
        program, self._layers = setting.program, setting.layers
        self._parameters = {**program.parameters, **values}
        self._rule = setting.calibration.rule(state["steps"])
        used = setting.calibration.statistics(state)
        self._history = by_layer(self._layers, used)
        self._batches: dict[str, list[Moments]] = {}
        self._used: dict[int, Moments] = {}
        self._shift: Shift | None = None
        if setting.taylor is not None:
            smoothing = setting.smoothing(state["steps"])
            self._shift = Shift(setting.taylor, state, changes, smoothing, self._used)

    def run(self, images: Tensor) -> Tensor:
        """Return the logits of images (N * V, channels, H, W), a frame's views together."""
        watch = self._shift is not None and self._shift.watches
        return self._setting.program.run(images, self, watch=watch)

    def parameter(self, name: str) -> Tensor:
        """Return a parameter."""
        return self._parameters[name]

    def statistics(
        self, site: Site, z: Tensor, watched: Watched | None, kernels: Kernels
    ) -> Statistics:
        """Return what z (N * V, C, *spatial) is normalised with, by the calibration's rule."""
        layer, history = site.layer, self._history[site.layer.name]
        calibration, path = self._setting.calibration, self._setting.path
        if self._shift is not None and watched is not None:
            with torch.no_grad():
                history = self._shift.shifted(site, history, z, watched, self)
        with torch.set_grad_enabled(path is not None):
            batch = history
            if calibration.by_frame:
                with torch.no_grad():
                    frames = self._frame_moments(z, layer.mean, kernels)
                self._batches.setdefault(layer.name, []).append(frames)
            if path is not None or (calibration.measures and not calibration.by_frame):
                batch = kernels.moments(z, layer.mean)
            used, self._history[layer.name] = self._rule(layer, history, batch)
            if path is not None:
                used = path(batch, used, layer.eps)
        chosen = Statistics(layer.mean + used[0], used[1])
        self._used[site.index] = chosen.mean.detach(), chosen.variance.detach()
        return chosen

    def new_state(self, logits: Tensor) -> State:
        """Return calibration and Jacobians after the pass; the old ones if any is not finite.

        logits: of all images, (N * V, K).
        """
        calibration, state = self._setting.calibration, self._state
        new: State = {}
        if self._shift is not None:
            new |= self._shift.new_jacobians
            if self._shift.total:
                new |= calibration.shifted(state, self._shifted)
        p = mean_prediction(logits.view(self._frames, -1, logits.shape[-1]))
        collected = Collected(flat(self._layers, self._history), self._frame_list(), p)
        new |= calibration.updated({**state, **new}, collected)
        return finite_or_old(new, state)

    def _frame_moments(self, z: Tensor, centre: Tensor, kernels: Kernels) -> Moments:
        """Return the moments (N * C,) of each frame of z, views together."""
        if self._frames == 1:
            return kernels.moments(z, centre)
        by_frame = z.view(self._frames, -1, *z.shape[1:]).transpose(0, 1).flatten(1, 2)
        return kernels.moments(by_frame, centre.repeat(self._frames))

    def _frame_list(self) -> list[Moments]:
        """Return the moments of each frame, (C,) each, uses of a layer together."""
        if not self._batches:
            return []
        shape = (self._frames, -1)
        pooled = {name: moments.pooled(uses) for name, uses in self._batches.items()}
        offsets, variances = (
            torch.cat([pooled[name][part].view(shape) for name in self._layers.names], 1)
            for part in (0, 1)
        )
        return list(zip(offsets.unbind(), variances.unbind(), strict=True))

    def _shifted(self, history: Moments) -> Moments:
        """Return a history of all layers, shifted as the pass has shifted each."""
        assert self._shift is not None
        layers, total = self._setting.program.layers, self._shift.total
        zeros = {layer.name: torch.zeros_like(layer.mean) for layer in layers}
        mean = self._layers.join({**zeros, **{n: c.mean for n, c in total.items()}})
        square = self._layers.join({**zeros, **{n: c.square for n, c in total.items()}})
        source = torch.cat([layer.variance for layer in layers])
        return moments.shift(history, mean, square, source)


def by_layer(layers: Layout, vectors: Moments) -> dict[str, Moments]:
    """Return moments (C,) of all layers as views by layer."""
    offsets, variances = layers.split(vectors[0]), layers.split(vectors[1])
    return {name: (offsets[name], variances[name]) for name in layers.names}


def flat(layers: Layout, by_name: Mapping[str, Moments]) -> Moments:
    """Return moments by layer as two vectors (C,), the inverse of `by_layer`."""
    return (
        layers.join({name: value[0] for name, value in by_name.items()}),
        layers.join({name: value[1] for name, value in by_name.items()}),
    )


def statistics_by_layer(program: Program, used: Moments) -> dict[str, Statistics]:
    """Return mean and variance (C,) of each layer, of offsets and variances of all."""
    parts = by_layer(layer_layout(program.layers), used)
    return {
        layer.name: Statistics(layer.mean + parts[layer.name][0], parts[layer.name][1])
        for layer in program.layers
    }
