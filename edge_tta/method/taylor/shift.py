"""Statistics shifted to changed parameters (NanoAdapt Eq. 8), layer by layer in a forward pass.

In the state, under keys that begin with `taylor.`: `change`, what the last step did to the
parameters, and, with jacobian = "history", the running Jacobians of Eq. 8.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

import torch
from torch import Tensor

from edge_tta.config import CalibrationConfig
from edge_tta.method import moments
from edge_tta.method.state import State
from edge_tta.method.taylor import closed_forms
from edge_tta.method.taylor.closed_forms import Change, Jacobian
from edge_tta.method.taylor.terms import Term, site_terms
from edge_tta.network.kernels import Moments
from edge_tta.network.program import BatchNormHook, Program, Site, Statistics, Watched


class Taylor:
    """The terms of a network and a configuration. Holds nothing that changes.

    Args:
        table: its `taylor` is not `none`.
        trained: names of the trained parameters.

    Attributes:
        jacobians: running Jacobians are kept; else one derivative is taken on the newest frame.
    """

    def __init__(
        self, program: Program, table: CalibrationConfig, trained: AbstractSet[str]
    ) -> None:
        self.jacobians = table.jacobian == "history"
        self.sites = program.sites
        self.terms = [site_terms(site, program, table.taylor, trained) for site in program.sites]
        self._smoothing, self._prior_frames = table.smoothing, table.prior_frames
        # A layer that is called several times gets an equal share of the shift at each call.
        names = [site.layer.name for site in program.sites]
        self.share = {name: 1 / names.count(name) for name in names}

    def initial(self, parameters: Tensor) -> State:
        """Return the state before the first frame; parameters: (P,)."""
        state: State = {"taylor.change": torch.zeros_like(parameters)}
        if self.jacobians:
            for terms in self.terms:
                for term in terms:
                    for key, shape in term.shapes.items():
                        state[key] = parameters.new_zeros(shape)
        return state

    def smoothing(self, steps: Tensor) -> Tensor:
        """Return the weight on the old Jacobians, m of Eq. 5, (1,); the source's are unknown."""
        m = moments.smoothing_at(steps, self._smoothing, self._prior_frames, "first")
        return m[..., None]


class Shift:
    """The shifts of one forward pass, and the Jacobians that it measures.

    Args:
        changes: of the trained parameters by name; None: nothing has changed.
        statistics: mean and variance that each site of this pass was normalised with, filled in as
            the pass goes on.

    Attributes:
        new_jacobians: after the pass, by state key.
        total: the shift of each layer so far, by name.
    """

    def __init__(
        self,
        taylor: Taylor,
        state: State,
        changes: Mapping[str, Tensor] | None,
        statistics: Mapping[int, Statistics],
    ) -> None:
        self._taylor, self._state, self._changes = taylor, state, changes
        self._smoothing, self._statistics = taylor.smoothing(state["steps"]), statistics
        self.new_jacobians: State = {}
        self.total: dict[str, Change] = {}

    @property
    def watches(self) -> bool:
        """Return True where the pass needs the inputs of linear maps at all."""
        return self._taylor.jacobians or self._changes is not None

    def shifted(
        self, site: Site, history: Moments, z: Tensor, watched: Watched, hook: BatchNormHook
    ) -> Moments:
        """Return a layer's history at the present parameters (Eq. 8); measures Jacobians.

        Args:
            z: the site's input (N, C, *spatial).
            hook: gives the parameters.
        """
        terms = self._taylor.terms[site.index]
        if not terms:
            return history
        values = _SiteValues(self, site, z.detach(), watched, hook)
        change = None
        if self._changes is not None:
            if self._taylor.jacobians:
                change = _by_history(terms, self._state, self._changes, values.groups)
            else:
                change = values.by_direction(terms, self._changes)
        if self._taylor.jacobians:
            for key, value in values.jacobians(terms).items():
                m = self._smoothing
                self.new_jacobians[key] = m * self._state[key] + (1 - m) * value
        if change is None:
            return history
        name, share = site.layer.name, self._taylor.share[site.layer.name]
        change = Change(change.mean * share, change.square * share)
        before = self.total.get(name)
        self.total[name] = change if before is None else _sum(before, change)
        return moments.shift(history, change.mean, change.square, site.layer.variance)

    def normalised(self, site: int, z: Tensor) -> Tensor:
        """Return x^ of an earlier site, before its affine part."""
        mean, variance = self._statistics[site]
        shape = (1, -1) + (1,) * (z.ndim - 2)
        scale = torch.rsqrt(variance + self._taylor.sites[site].layer.eps)
        return (z - mean.view(shape)) * scale.view(shape)


class _SiteValues:
    """Tensors that one site's terms are measured on."""

    def __init__(
        self, shift: Shift, site: Site, z: Tensor, watched: Watched, hook: BatchNormHook
    ) -> None:
        assert site.linear is not None
        self._shift, self._site, self._linear = shift, site, site.linear
        self._a, self._paths = watched.a.detach(), watched.paths
        shape = (1, -1) + (1,) * (z.ndim - 2)
        self._centred = z - site.layer.mean.view(shape)
        self._weight = hook.parameter(site.linear.weight).detach()
        self.groups = site.linear.groups

    def jacobians(self, terms: Sequence[Term]) -> State:
        """Return this batch's Jacobians by state key."""
        values: State = {}
        for term in terms:
            if term.kind == "bias":
                axes = [0, *range(2, self._centred.ndim)]
                values[f"{term.key}.square"] = 2 * self._centred.mean(axes)
                continue
            if term.kind == "weight":
                jacobian = closed_forms.weight_jacobian(
                    self._centred, self._a, tuple(self._weight.shape), self._linear
                )
            else:
                jacobian = closed_forms.channel_jacobian(
                    self._centred, self._field(term), self._weight, self._linear
                )
            values[f"{term.key}.mean"], values[f"{term.key}.square"] = jacobian
        return values

    def by_direction(self, terms: Sequence[Term], changes: Mapping[str, Tensor]) -> Change:
        """Return the first-order change by one directional derivative on this batch."""
        dz = torch.zeros_like(self._centred)
        da: Tensor | None = None
        for term in terms:
            delta = changes[term.parameter]
            if term.kind == "weight":
                dz = dz + closed_forms.apply_linear(self._a, delta, None, self._linear)
            elif term.kind == "bias":
                dz = dz + delta.view((1, -1) + (1,) * (dz.ndim - 2))
            else:
                field = self._field(term, delta)
                da = field if da is None else da + field
        if da is not None:
            dz = dz + closed_forms.apply_linear(da, self._weight, None, self._linear)
        return closed_forms.direction_change(self._centred, dz)

    def _field(self, term: Term, scale: Tensor | None = None) -> Tensor:
        """Return da / dgamma or da / dbeta, channel by channel, or along `scale` (C,)."""
        path, values = self._site.paths[term.path], self._paths[term.path]
        y = values.y.detach()
        tangent = (
            torch.ones_like(y)
            if term.kind == "beta"
            else self._shift.normalised(path.source, values.z.detach())
        )
        if scale is not None:
            tangent = tangent * scale.view((1, -1) + (1,) * (y.ndim - 2))
        others = tuple(other.detach() for other in values.others)
        return closed_forms.field_of(path.module, y, others, tangent)


def _by_history(
    terms: Sequence[Term], state: State, changes: Mapping[str, Tensor], groups: int
) -> Change:
    """Return the first-order change by the running Jacobians."""
    total: Change | None = None
    for term in terms:
        delta, square = changes[term.parameter], state[f"{term.key}.square"]
        if term.kind == "bias":
            change = Change(delta, square * delta)
        else:
            jacobian = Jacobian(state[f"{term.key}.mean"], square)
            apply = (
                closed_forms.weight_change if term.kind == "weight" else closed_forms.channel_change
            )
            change = apply(jacobian, delta, groups)
        total = change if total is None else _sum(total, change)
    assert total is not None
    return total


def _sum(a: Change, b: Change) -> Change:
    return Change(a.mean + b.mean, a.square + b.square)
