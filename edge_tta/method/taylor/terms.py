"""The Taylor terms that a configuration asks for: one a parameter tensor in front of a site."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

from edge_tta.network.program import LinearMap, Program, Site


@dataclass(frozen=True)
class Term:
    """The effect of one parameter tensor on the statistics of one site (Eq. 8).

    `kind` is `weight` or `bias` of the linear map, or `gamma` or `beta` of the BatchNorm at the
    start of path number `path`. `shapes` are those of the running Jacobian, by state key.
    """

    site: int
    kind: str
    parameter: str
    path: int
    shapes: dict[str, tuple[int, ...]]

    @property
    def key(self) -> str:
        """Stem of the state keys."""
        return _key(self.site, self.kind, self.path)


def site_terms(site: Site, program: Program, taylor: str, trained: Set[str]) -> list[Term]:
    """Return the terms of one site; none where no linear map stands in front of it.

    taylor: as in `edge_tta.config.CalibrationConfig`, but not `none`. trained: names of the trained
    parameters.
    """
    linear = site.linear
    if linear is None:
        return []
    candidates: list[tuple[str, str | None, int]] = []
    if "conv" in taylor:
        candidates += [("weight", linear.weight, 0), ("bias", linear.bias, 0)]
    if "affine" in taylor:
        for position, path in enumerate(site.paths):
            earlier = program.sites[path.source].layer
            candidates += [("gamma", earlier.weight, position), ("beta", earlier.bias, position)]
    return [
        Term(site.index, kind, name, path, _shapes(site, linear, program, kind, path))
        for kind, name, path in candidates
        if name is not None and name in trained
    ]


def _key(site: int, kind: str, path: int) -> str:
    return f"taylor.jacobian.{site}.{kind}" + (f".{path}" if kind in ("gamma", "beta") else "")


def _shapes(
    site: Site, linear: LinearMap, program: Program, kind: str, path: int
) -> dict[str, tuple[int, ...]]:
    weight = tuple(program.parameters[linear.weight].shape)
    key = _key(site.index, kind, path)
    if kind == "weight":
        mean: tuple[int, ...] = (weight[1] * linear.groups, *weight[2:])
        return {f"{key}.mean": mean, f"{key}.square": weight}
    if kind == "bias":  # d E[z] / d b is one
        return {f"{key}.square": weight[:1]}
    return {f"{key}.mean": weight[:2], f"{key}.square": weight[:2]}
