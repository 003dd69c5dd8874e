"""A state's vectors as an int8 graph takes them: scales and int32 biases, site by site."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from onnx import NodeProto, helper

from edge_tta.bundle.folding import KINDS
from edge_tta.bundle.int8 import DEVIATION

Array = npt.NDArray[Any]

# A bias in steps of its channel is to be an int32.
_MOST_STEPS = 1e9
_INT32 = 6
_TINY = 1e-30
# What is measured has codes for so many deviations to each side.
_DEVIATIONS = 12.0

MIDDLE = 128
"""The code of 0 in what is measured."""

SCALE_IN_UNITS = "scale.in_units"
"""Vector that is made of others: the scale of what stands in units."""

VECTORS = ("scale", *KINDS, DEVIATION)
"""Inputs of a graph, (C,) of all sites each."""


class Vectors:
    """What a graph's operators read of the vectors, and the nodes that make it.

    Args:
        places: of `export.graph.int8.sites.places_in`.
        constant: adds a constant by a name, which it returns.
    """

    def __init__(self, places: Mapping[int, slice], constant: Callable[[str, Array], str]) -> None:
        self._places, self._constant = places, constant
        self._channels = max(place.stop for place in places.values())
        self._parts: dict[str, dict[int, str]] = {}
        self._requantised: dict[str, dict[int, tuple[Array, float]]] = {"bias": {}, "centre": {}}
        self._shaped: dict[str, tuple[str, int]] = {}
        self._units: dict[int, str] = {}
        self._all_units = False

    def part(self, vector: str, site: int, axes: int) -> str:
        """Return the name of a site's part of a vector, (1, C, 1, ...), of so many axes of ones."""
        name = self._parts.setdefault(vector, {}).setdefault(site, f"{vector}.{site}")
        self._shaped[f"{name}.{axes}"] = name, axes
        return f"{name}.{axes}"

    def requantised(
        self, kind: Literal["bias", "centre"], site: int, steps: Array, step: float
    ) -> str:
        """Return the name of a site's int32 biases (C,).

        Args:
            steps: scales of its weight, (C,). Beside a `bias` there are scales of the site's
                products, `scale_of` it, which these are part of.
            step: scale of what the weight is multiplied with.
        """
        self._requantised[kind][site] = steps, step
        return f"requantised.{kind}.{site}"

    def units(self, site: int) -> str:
        """Return the name of the scales (C,) that codes of what is measured have, about MIDDLE."""
        return self._units.setdefault(site, f"units.{site}")

    def all_units(self, *, squared: bool) -> str:
        """Return the name of the units of all sites, 1 of those that have none."""
        self._all_units = True
        return "units.squared" if squared else "units"

    def scale_of(self, site: int) -> str:
        """Return the name of a site's weight scales (C,), the state's scale in them."""
        return f"requantised.scale.{site}"

    def nodes(self) -> list[NodeProto]:
        """Return what makes all that was asked for."""
        nodes: list[NodeProto] = []
        for kind, sites in self._requantised.items():
            if sites:
                nodes += self._requantising(kind, sites)
        if self._units or self._all_units:
            nodes += self._of_units()
        for vector, parts in self._parts.items():
            nodes.append(self._split(vector, parts))
        for name, (part, axes) in self._shaped.items():
            shape = self._constant(f"shape.{axes}", np.array([1, -1, *[1] * axes], np.int64))
            nodes.append(helper.make_node("Reshape", [part, shape], [name]))
        return nodes

    def _of_units(self) -> list[NodeProto]:
        """Return what makes the units, and what stands in them."""
        has_unit = np.zeros(self._channels, np.bool_)
        for site in self._units:
            has_unit[self._places[site]] = True
        part = self._constant("unit", np.array(_DEVIATIONS / (MIDDLE - 1), np.float32))
        tiny = self._constant("tiny", np.array(_TINY, np.float32))
        one = self._constant("one", np.array(1, np.float32))
        known = self._constant("has_unit", has_unit)
        return [
            helper.make_node("Mul", [DEVIATION, part], ["units.some"]),
            helper.make_node("Max", ["units.some", tiny], ["units.known"]),
            helper.make_node("Where", [known, "units.known", one], ["units"]),
            helper.make_node("Mul", ["units", "units"], ["units.squared"]),
            helper.make_node("Mul", ["scale", "units"], [SCALE_IN_UNITS]),
            self._split("units", self._units),
        ]

    def _requantising(self, kind: str, sites: Mapping[int, tuple[Array, float]]) -> list[NodeProto]:
        """Return what makes the biases, and with `bias` the scales, of all sites at once."""
        nodes: list[NodeProto] = []

        def made(operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
            nodes.append(helper.make_node(operator, inputs, [output], **attributes))
            return output

        steps, of_input = np.ones((2, self._channels), np.float32)
        for site, (own, step) in sites.items():
            steps[self._places[site]], of_input[self._places[site]] = own, step
        scale = self._constant(f"{kind}.steps", steps)
        given = self._constant(f"{kind}.input_steps", of_input)
        size = made("Div", [kind, given], f"{kind}.size")
        if kind == "bias":
            # A channel whose scale is next to nothing is its bias; it keeps one that can say it.
            most = self._constant("most_steps", np.array(_MOST_STEPS, np.float32))
            tiny = self._constant("tiny", np.array(_TINY, np.float32))
            raw = made("Mul", ["scale", scale], "scale.raw")
            least = made("Div", [made("Abs", [size], "bias.length"), most], "scale.some")
            least = made("Max", [least, tiny], "scale.least")
            small = made("Less", [made("Abs", [raw], "scale.length"), least], "scale.small")
            scale = made("Where", [small, least, raw], "requantised.scale")
            nodes.append(self._split(scale, {site: self.scale_of(site) for site in sites}))
        exact = made("Div", [size, scale], f"{kind}.exact")
        limits = [
            self._constant(f"steps.{name}", np.array(value, np.float32))
            for name, value in (("least", -_MOST_STEPS), ("most", _MOST_STEPS))
        ]
        whole = made("Clip", [made("Round", [exact], f"{kind}.whole"), *limits], f"{kind}.limited")
        bias = made("Cast", [whole], f"{kind}.int32", to=_INT32)
        names = {site: f"requantised.{kind}.{site}" for site in sites}
        nodes.append(self._split(bias, names))
        return nodes

    def _split(self, vector: str, parts: Mapping[int, str]) -> NodeProto:
        """Return what takes a vector of all sites apart; parts: names by site, of some."""
        order = sorted(self._places)
        sizes = [self._places[site].stop - self._places[site].start for site in order]
        lengths = self._constant("lengths", np.array(sizes, np.int64))
        names = [parts.get(site, f"{vector}.{site}.unread") for site in order]
        return helper.make_node("Split", [vector, lengths], names, axis=0)
