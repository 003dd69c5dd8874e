"""The step's two halves where the statistics used are known before the frame is seen.

Between two updates an adapted network then is a folded network: each BatchNorm multiplies and adds
what the state says (`Affine`), and a frame's moments are all that calibration asks of a forward
pass (`calibrated`). Both together are `Step.observe`.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from edge_tta.method import moments
from edge_tta.method.batches import Outputs
from edge_tta.method.calibration.base import Collected
from edge_tta.method.calibration.class_balance import mean_prediction
from edge_tta.method.forward import flat
from edge_tta.method.state import State, finite_or_old, layer_layout
from edge_tta.method.step import Step
from edge_tta.network.kernels import Moments


def observes_folded(step: Step) -> bool:
    """Return whether a folded network can observe: no layer reads the frame to normalise it."""
    return step.calibration.by_frame and step.observing.taylor is None


class Affine:
    """`affine(state) -> (scale, offset, bias)` of all layers, (C,): y = scale (u - offset) + bias.

    u is a layer's input less the source's mean. What each channel takes from the parameters is told
    by indices, not layer by layer: a graph of it has few nodes.
    """

    def __init__(self, step: Step) -> None:
        self._step = step
        layers, parameters = step.program.layers, step.program.parameters
        self.eps = torch.cat([torch.full_like(layer.variance, layer.eps) for layer in layers])
        one = torch.ones_like(layers[0].mean[:1])
        fixed = {"1": one, "0": 0 * one}  # names that no parameter has
        for layer in layers:
            for name in (layer.weight, layer.bias):
                if name is not None and name not in step.parameters.names:
                    fixed[name] = parameters[name]
        self._fixed = list(fixed.values())
        sizes = {**dict(zip(step.parameters.names, step.parameters.sizes, strict=True))}
        sizes |= {name: len(value) for name, value in fixed.items()}
        begins = dict(zip(sizes, itertools.accumulate(sizes.values(), initial=0), strict=False))

        def places(part: str, otherwise: str) -> Tensor:
            of_layers = [(layer.channels, getattr(layer, part)) for layer in layers]
            indices = [
                begins[name or otherwise] + (channel if name else 0)
                for channels, name in of_layers
                for channel in range(channels)
            ]
            return torch.tensor(indices, device=one.device)

        self._weights, self._biases = places("weight", "1"), places("bias", "0")

    def __call__(self, state: State) -> tuple[Tensor, Tensor, Tensor]:
        """Return scale, offset and bias at a state."""
        trained = [state["opt.parameters"]] if self._step.parameters.names else []
        values = torch.cat([*trained, *self._fixed])
        offset, variance = self._step.calibration.statistics(state)
        scale = torch.rsqrt(variance + self.eps) * values.index_select(0, self._weights)
        return scale, offset, values.index_select(0, self._biases)


def by_site(step: Step, vector: Tensor) -> Tensor:
    """Return a vector of all layers as one of all sites: of a layer used twice, twice."""
    if _is_plain(step):
        return vector
    parts = layer_layout(step.program.layers).split(vector)
    return torch.cat([parts[site.layer.name] for site in step.program.sites])


def calibrated(step: Step, outputs: Outputs, frame: Moments, state: State) -> State:
    """Return the state after a frame, of what a forward pass at that state has measured.

    Args:
        outputs: of one frame.
        frame: offsets from the source mean, and variances, of all sites, one after the other.
    """
    program = step.program
    if not _is_plain(step):
        counts = [site.layer.channels for site in program.sites]
        uses: dict[str, list[Moments]] = {}
        parts = (torch.split(part, counts) for part in frame)
        for site, offset, variance in zip(program.sites, *parts, strict=True):
            uses.setdefault(site.layer.name, []).append((offset, variance))
        pooled = {name: moments.pooled(own) for name, own in uses.items()}
        frame = flat(layer_layout(program.layers), pooled)
    votes = program.votes(outputs)
    p = mean_prediction(votes.view(1, -1, votes.shape[-1]))
    new = step.calibration.updated(state, Collected(frame, [frame], p))
    return {**state, **finite_or_old(new, state), "steps": state["steps"] + 1}


def _is_plain(step: Step) -> bool:
    """Tell whether each layer is used once, in the layers' order."""
    return [site.layer for site in step.program.sites] == list(step.program.layers)
