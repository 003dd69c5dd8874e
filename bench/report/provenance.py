"""Origin of results: files, commands, seeds, machine, versions, methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.report.document import Part, Section, Table, code
from bench.report.merging import Merged
from bench.results import Results


def provenance(merged: Merged) -> Section:
    """The section at the end of a report."""
    commands = "\n".join(file.command.replace("```", "") for file in merged.files)
    parts: list[Part] = [_files(merged.files), f"```\n{commands}\n```", _machines(merged.files)]
    used = {str(row["label"]) for row in merged.rows if "label" in row}
    methods = {label: fields for label, fields in merged.methods.items() if label in used}
    if methods:
        parts += ["The methods, in the fields in which they differ:", _methods(methods)]
    return Section("How it was measured", [*parts, *merged.notes])


def _files(files: Sequence[Results]) -> Table:
    rows = []
    for file in files:
        seeds = sorted(
            {
                int(row["seed"]) + k
                for row in file.rows
                if isinstance(row.get("seed"), int)
                for k in range(_count(row.get("by_seed")))
            }
        )
        rows.append([code(file.name), str(len(file.rows)), _ranges(seeds), _text(file, "commit")])
    return Table(["file", "rows", "seeds", "commit"], rows, figures=False)


def _count(seeds: Any) -> int:
    return len(seeds) if isinstance(seeds, list | tuple) and seeds else 1


def _ranges(numbers: Sequence[int]) -> str:
    """Sorted numbers, those in a row as `0-4`.

    >>> _ranges([0, 1, 2, 7])
    '0-2, 7'
    """
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(str(r[0]) if len(r) == 1 else f"{r[0]}-{r[-1]}" for r in runs) or "-"


def _machines(files: Sequence[Results]) -> Table:
    """One column where all files agree, else one for each file."""
    keys = [k for k in dict.fromkeys(k for f in files for k in f.environment) if k != "commit"]
    rows = [[key, *(_text(file, key) for file in files)] for key in keys]
    if all(len(set(cells)) == 1 for _, *cells in rows):
        return Table(["environment", "all files"], [row[:2] for row in rows], figures=False)
    return Table(["environment", *(code(file.name) for file in files)], rows, figures=False)


def _text(file: Results, key: str) -> str:
    value = file.environment.get(key)
    return "-" if value is None else str(value)


def _methods(methods: Mapping[str, Mapping[str, Any]]) -> Table:
    keys = dict.fromkeys(key for fields in methods.values() for key in fields)
    differing = [k for k in keys if len({str(fields.get(k)) for fields in methods.values()}) > 1]
    shown = differing or list(keys)
    rows = [[code(label), *(_value(f.get(k)) for k in shown)] for label, f in methods.items()]
    return Table(["method", *(key.replace("_", " ") for key in shown)], rows, figures=False)


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return "-" if value is None else str(value)
