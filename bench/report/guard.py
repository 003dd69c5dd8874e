"""Sections on the guard: streams that are built to break adaptation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bench.report.document import Section, Table, code
from bench.results import Row

_ABOUT = (
    "Error in %, one frame at a time: 400 pictures before, then what is to break adaptation, then "
    "400 pictures after; `after 200` are the last 200 of these. Frames of noise and black have no "
    "labels. `falls`: how often the guard fell back; `source ran`: share of the frames on which "
    "the source network ran for it."
)
_HEADER = (
    *("stream", "pictures", "method", "before", "during", "after", "after 200"),
    *("falls", "source ran"),
)


def sections(rows: Sequence[Row], methods: Row) -> list[Section]:
    """A table for each network."""
    return [
        Section(
            f"Streams built to break adaptation: {model}",
            [_ABOUT, table(row for row in rows if str(row["model"]) == model)],
        )
        for model in dict.fromkeys(str(row["model"]) for row in rows)
    ]


def table(rows: Iterable[Row]) -> Table:
    """A line for each stream, seed and method."""
    streams: dict[tuple[Any, ...], dict[str, Row]] = {}
    for row in rows:
        key = (row["stream"], row["base"], row["seed"], row["label"])
        streams.setdefault(key, {})[row["part"]] = row
    return Table(_HEADER, [_cells(parts) for parts in streams.values()])


def _cells(parts: Mapping[str, Row]) -> list[str]:
    any_part = next(iter(parts.values()))
    errors = [parts.get(name, {}).get("stream_error") for name in ("before", "during", "after")]
    late = parts.get("after", {}).get("along", ())[2:]
    errors.append(sum(late) / len(late) if late else None)
    guarded = all(row["falls"] is not None for row in parts.values())
    frames = sum(row["n"] for row in parts.values())
    ran = sum(row["n"] * (row["source_share"] or 0) for row in parts.values())
    return [
        *(any_part["stream"], any_part["base"], code(any_part["label"])),
        *("-" if error is None else f"{100 * error:.1f}" for error in errors),
        str(sum(row["falls"] for row in parts.values())) if guarded else "",
        f"{100 * ran / frames:.0f} %" if guarded else "",
    ]
