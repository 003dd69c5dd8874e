"""Tables on networks as trained and restored from ONNX files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.report.document import Columns, Section, Table, code
from bench.results import Row
from bench.sets import CLEAN

_SCORES = {"map50": "mAP50", "miou": "mIoU", "error": "error %"}
"""What a task is scored by; a segmenter has an error of its positions too."""
_PARITY: Columns = {
    "network": lambda row: code(str(row["model"])),
    "source frames": lambda row: f"{row['source_frames']}",
    "BatchNorms": lambda row: f"{row['sites']}",
    "as trained": lambda row: f"{row['trained_sites']}",
    "outputs differ by": lambda row: f"{row['difference']:.0e}",
    "s": lambda row: f"{row['seconds']:.0f}",
}
_ABOUT = (
    "Means over the corruptions, without clean pictures; in brackets the largest distance of one "
    "corruption from the network as trained."
)


def parity_table(rows: Sequence[Row]) -> Table:
    """How networks came back, a line for each and each number of source frames."""
    trained = {
        row["model"]: row["sites"] for row in rows if row["source_frames"] == 0 and "sites" in row
    }
    return Table.of(
        _PARITY,
        [
            {**row, "trained_sites": trained[row["model"]]}
            for row in rows
            if "difference" in row and row["source_frames"]
        ],
    )


def score_tables(rows: Sequence[Row]) -> list[tuple[str, Table]]:
    """Titles and tables of a score: a line for each method and order, a column a variant."""
    tables = []
    for score, title in _SCORES.items():
        scored = [row for row in rows if _score_of(row) == score]
        if scored:
            tables.append((title, _score_table(scored, score)))
    return tables


def sections(rows: Sequence[Row], methods: Row) -> list[Section]:
    """The section on networks restored from ONNX files."""
    parts: list[Any] = []
    for title, table in score_tables(rows):
        parts += [f"{title}:", table]
    parity = parity_table(rows)
    if parts:
        parts = [_ABOUT, *parts]
    return [Section("Networks restored from ONNX files", [*parts, parity])]


def _score_of(row: Row) -> str | None:
    return next((name for name in _SCORES if name in row), None)


def _score_table(rows: Sequence[Row], score: str) -> Table:
    counts = sorted({int(row["source_frames"]) for row in rows}, key=lambda n: n or 1e9)[::-1]
    lines = []
    for model, order, label in dict.fromkeys(map(_line_of, rows)):
        own = [row for row in rows if _line_of(row) == (model, order, label)]
        by_count = {n: _by_corruption(own, n, score) for n in counts}
        cells = [_cell(by_count[n], by_count.get(0, {}), score) for n in counts]
        lines.append([code(model), f"{code(label)}, {order}", *cells])
    names = ["as trained" if n == 0 else f"from {n}" for n in counts]
    return Table(["network", "method", *names], lines)


def _line_of(row: Row) -> tuple[str, str, str]:
    size = f", N={row['batch_size']}" if row["batch_size"] > 1 else ""
    return str(row["model"]), f"{row['order']}{size}", str(row["label"])


def _by_corruption(rows: Sequence[Row], count: int, score: str) -> dict[str, float]:
    own = [row for row in rows if row["source_frames"] == count]
    chosen = [row for row in own if row["corruption"] != CLEAN] or own
    return {str(row["corruption"]): float(row[score]) for row in chosen}


def _cell(values: Mapping[str, float], trained: Mapping[str, float], score: str) -> str:
    if not values:
        return ""
    percent = score == "error"
    mean = sum(values.values()) / len(values)
    text = f"{100 * mean:.1f}" if percent else f"{mean:.3f}"
    if values is trained or not trained:
        return text
    furthest = max((value - trained[name] for name, value in values.items()), key=abs)
    return f"{text} ({100 * furthest:+.1f})" if percent else f"{text} ({furthest:+.3f})"
