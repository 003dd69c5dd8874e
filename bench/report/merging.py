"""Several result files as one: only of one machine, and no label for two methods."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.results import ResultError, Results

_MACHINE = ("processor", "cores")


@dataclass(frozen=True)
class Merged:
    """Rows and methods of all files.

    Attributes:
        methods: fields by label; the labels are unique.
        notes: sentences for the reader, on what was renamed.
    """

    files: Sequence[Results]
    rows: Sequence[Mapping[str, Any]]
    methods: Mapping[str, Mapping[str, Any]]
    notes: Sequence[str]


def check_machines(files: Sequence[Results]) -> None:
    """Refuses results of different machines.

    Raises:
        ResultError: a processor, or its number of cores, differs.
    """
    for file in files[1:]:
        for key in _MACHINE:
            one, other = files[0].environment.get(key), file.environment.get(key)
            if one != other:
                raise ResultError(
                    f"{files[0].name} and {file.name} are of different machines ({key} {one!r} and "
                    f"{other!r}); report them separately, or together with --mix-machines"
                )


def merge(files: Sequence[Results]) -> Merged:
    """All rows; a label that stands for another method in a later file gets the file's name."""
    methods: dict[str, Mapping[str, Any]] = {}
    rows: list[Mapping[str, Any]] = []
    notes: list[str] = []
    for file in files:
        names: dict[str, str] = {}
        for label, fields in file.methods.items():
            candidates = itertools.chain(
                [label, f"{label} ({Path(file.name).stem})"],
                (f"{label} ({Path(file.name).stem}, {k})" for k in itertools.count(2)),
            )
            name = next(name for name in candidates if _agree(fields, methods.get(name, {})))
            if name != label:
                notes.append(
                    f"`{label}` is another method in `{file.name}` than in a file before; it is "
                    f"called `{name}` here."
                )
            names[label] = name
            methods[name] = {**fields, **methods.get(name, {})}
        for row in file.rows:
            label = str(row.get("label"))
            rows.append({**row, "label": names[label]} if label in names else row)
    return Merged(files, rows, methods, notes)


def _agree(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Equal in all fields that both have: a later version may have added some."""
    return all(one[key] == other[key] for key in one.keys() & other.keys())
