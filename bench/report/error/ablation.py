"""Ablation as the paper's Table 4: what each part of NanoAdapt gives, against batch size.

A method's parts are told from its fields: DBC is on when the statistics are running ones
(smoothing > 0), EWGA when gradients of several frames are weighted by it, PCG when the gradient
flows by the proxy graph over more views. Variants belong together when all other fields agree.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bench.report.document import Part, Section, code
from bench.report.error.results import ErrorResults, Fields, means_table, same_fields

PARTS = ("DBC", "EWGA", "PCG")
_FIELDS = {
    *("method", "smoothing", "taylor", "jacobian"),  # DBC
    *("accumulation", "weighting"),  # EWGA
    *("gradient", "views"),  # PCG
    "seed",
}
"""May differ within an ablation."""
_PAPER = {"smoothing": 0.98, "views": 3, "accumulation": 16}
_FEWEST = 3
"""Two variants are a comparison that the other tables show already."""


def parts_of(fields: Fields) -> frozenset[str]:
    """Return those of PARTS that a method has, from its fields."""
    parts = set()
    if fields.get("smoothing", 0) > 0:
        parts.add("DBC")
    if fields.get("host") != "norm":  # which has no gradient
        if fields.get("weighting") == "ewga" and fields.get("accumulation", 1) > 1:
            parts.add("EWGA")
        if fields.get("gradient") == "proxy" and fields.get("views", 0) > 0:
            parts.add("PCG")
    return frozenset(parts)


def ablations(methods: Mapping[str, Fields]) -> dict[str, dict[frozenset[str], str]]:
    """Return by host the label of each variant, none of the parts to all; empty without any.

    Where several labels have the same parts (a sensitivity was measured too), the one that is
    nearest to the paper stands for them. Keys are the host, with a number where it has several
    ablations that differ in other fields.
    """
    families: dict[str, dict[frozenset[str], list[str]]] = {}
    hosts: dict[str, str] = {}
    for label, fields in methods.items():
        if fields and fields.get("method") != "source":
            rest = {key: value for key, value in fields.items() if key not in _FIELDS}
            key = same_fields(rest)
            families.setdefault(key, {}).setdefault(parts_of(fields), []).append(label)
            hosts[key] = str(fields.get("host"))
    by_host: dict[str, dict[frozenset[str], str]] = {}
    for key, variants in families.items():
        if len(variants) < _FEWEST:
            continue
        name, k = hosts[key], 1
        while name in by_host:
            k += 1
            name = f"{hosts[key]} ({k})"
        ordered = sorted(variants, key=lambda parts: (len(parts), sorted(parts)))
        by_host[name] = {
            parts: min(variants[parts], key=lambda label: _constants_off(methods[label]))
            for parts in ordered
        }
    return by_host


def by_part(results: ErrorResults) -> Iterator[Section]:
    """A section for each ablation: variants down, batch sizes across, for each order."""
    for name, variants in ablations(results.methods).items():
        parts: list[Part] = []
        for order in results.orders:
            sizes = results.sizes([order])
            rows = []
            for own, label in variants.items():
                cells = [results.mean_text(order, size, label) for size in sizes]
                if any(cells):
                    marks = ["✓" if part in own else "" for part in PARTS]
                    rows.append([f"{_name(name, own)} ({code(label)})", *marks, *cells])
            if len(rows) < 2:
                continue
            columns = [f"{order}, N = {size}" for size in sizes]
            parts += means_table(["mean error % (95 %)", *PARTS, *columns], rows)
        if parts:
            yield Section(f"Ablation, host {name}", parts, 3)


def _name(host: str, parts: frozenset[str]) -> str:
    if not parts:
        return f"{host} alone"
    return "all parts" if len(parts) == len(PARTS) else "+ " + " + ".join(sorted(parts))


def _constants_off(fields: Mapping[str, Any]) -> int:
    return sum(fields.get(name) != value for name, value in _PAPER.items())
