"""Rows as `bench error` writes them, and result files made of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bench.error import ErrorRow
from bench.methods import parse_methods
from edge_tta.config import MethodConfig
from edge_tta.config.fields import to_fields
from edge_tta.temporal.accuracy import wilson

MACHINE = {"processor": "Some CPU", "cores": 2, "threads": 1, "torch": "2.6.0", "commit": "abc1234"}


def row(
    label: str = "tent",
    corruption: str = "fog",
    error: float = 0.25,
    *,
    batch_size: int = 1,
    order: str = "iid",
    by_seed: Iterable[float] | None = None,
    pictures: int = 100,
    **more: Any,
) -> ErrorRow:
    """A row over `pictures` pictures for each seed."""
    seeds = (error,) if by_seed is None else tuple(by_seed)
    method, _, host = label.partition("+")[0].partition("@")[0].partition(":")
    n = pictures * len(seeds)
    mean = sum(seeds) / len(seeds)
    low, high = wilson(mean, n)
    fields: dict[str, Any] = {
        "method": method, "host": host or None, "label": label, "model": "zoo.py:net",
        "data": "some", "corruption": corruption, "severity": 5, "batch_size": batch_size,
        "order": order, "seed": 0, "n": n, "error": mean, "error_low": low, "error_high": high,
        "by_seed": seeds,
    }  # fmt: skip
    return ErrorRow(**{**fields, **more})


def methods_of(rows: Iterable[ErrorRow]) -> dict[str, MethodConfig]:
    """The configuration of each label."""
    return parse_methods(",".join(dict.fromkeys(one.label for one in rows)))


def result_file(
    path: Path,
    rows: Iterable[ErrorRow],
    methods: Mapping[str, Mapping[str, Any]] | None = None,
    **changes: Any,
) -> Path:
    """A result file of these rows; `changes` replace what is in its head."""
    rows = list(rows)
    if methods is None:
        methods = {label: to_fields(config) for label, config in methods_of(rows).items()}
    content = {
        "schema": 1,
        "command": f"edge-tta bench error --json {path.name}",
        "environment": MACHINE,
        "methods": methods,
        "results": [one.as_dict() for one in rows],
        **changes,
    }
    path.write_text(json.dumps(content))
    return path
