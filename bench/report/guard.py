"""Sections on the guard: streams that are built to break adaptation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from bench.report.document import Section, Table, code

_ABOUT = (
    "Error in %, one frame at a time: 400 pictures before, then what is to break adaptation, then "
    "400 pictures after; `after 200` are the last 200 of these. Frames of noise and black have no "
    "labels. `falls`: how often the guard fell back; `source ran`: share of the frames on which "
    "the source network ran for it."
)


def sections(
    rows: Iterable[Mapping[str, Any]], methods: Mapping[str, Mapping[str, Any]]
) -> list[Section]:
    """A table for each network."""
    by_model: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        by_model.setdefault(str(row["model"]), []).append(row)
    return [
        Section(f"Streams built to break adaptation: {model}", [_ABOUT, _table(own)])
        for model, own in by_model.items()
    ]


def _table(rows: Iterable[Mapping[str, Any]]) -> Table:
    header = (
        *("stream", "pictures", "method", "before", "during", "after", "after 200"),
        *("falls", "source ran"),
    )
    parts: dict[tuple[Any, ...], dict[str, Mapping[str, Any]]] = {}
    for row in rows:
        key = (row["stream"], row["base"], row["seed"], row["label"])
        parts.setdefault(key, {})[row["part"]] = row
    return Table(header, [_cells(key, found) for key, found in parts.items()])


def _cells(key: tuple[Any, ...], parts: Mapping[str, Mapping[str, Any]]) -> list[str]:
    stream, base, _, label = key
    errors = [parts.get(name, {}).get("stream_error") for name in ("before", "during", "after")]
    late = parts.get("after", {}).get("along", ())[2:]
    errors.append(sum(late) / len(late) if late else None)
    falls = [row["falls"] for row in parts.values()]
    guarded = None not in falls
    frames = sum(row["n"] for row in parts.values())
    ran = sum(row["n"] * (row["source_share"] or 0) for row in parts.values())
    return [
        *(stream, base, code(label)),
        *("-" if error is None else f"{100 * error:.1f}" for error in errors),
        str(sum(falls)) if guarded else "",
        f"{100 * ran / frames:.0f} %" if guarded else "",
    ]
