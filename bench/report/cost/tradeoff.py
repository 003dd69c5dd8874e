"""Error, time and memory of the methods in one picture: what a user decides by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from bench.report.document import Part, Plot, Section, Table, code
from bench.report.look import SOURCE, Look, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Point:
    """One method: error 0..1 (mean over corruptions), p50 in seconds, peak in bytes."""

    label: str
    error: float
    latency_s: float
    peak_bytes: int | None


def sections(rows: Sequence[Row]) -> list[Section]:
    """A section for each model of which errors and times are there; else none."""
    found = []
    for model in dict.fromkeys(str(row.get("model")) for row in rows if "error" in row):
        points = points_of([row for row in rows if row.get("model") == model])
        if len(points) < 2:
            continue
        name = "tradeoff-" + "".join(c if c.isalnum() else "-" for c in model)
        body = [
            [
                code(p.label),
                f"{100 * p.error:.1f}",
                f"{1e3 * p.latency_s:.1f}",
                "" if p.peak_bytes is None else f"{p.peak_bytes / 2**20:.0f}",
            ]
            for p in points
        ]
        title = f"Error, time and memory: {model}"
        parts: list[Part] = [
            Plot(name, title, partial(draw, points, title)),
            "Lower and further left is better; the area of a point is the peak of its process. "
            "Errors are means over the corruptions, one frame at a time, in the first order "
            "measured.",
            Table(["method", "error %", "ms a frame (p50)", "process peak MiB"], body),
        ]
        found.append(Section(title, parts))
    return found


def points_of(rows: Sequence[Row]) -> list[Point]:
    """Methods of one model with an error and a time."""
    points = []
    errors = [row for row in rows if "error" in row and row.get("batch_size") == 1]
    order = errors[0]["order"] if errors else None
    for label in dict.fromkeys(str(row["label"]) for row in errors):
        own = [r for r in errors if r["label"] == label and r["order"] == order]
        own = [r for r in own if r["corruption"] != "clean"] or own
        times = [r for r in rows if "latency_s" in r and r.get("asked", r["label"]) == label]
        sizes = [r for r in rows if "process_peak_bytes" in r and r.get("asked") == label]
        if own and times:
            error = sum(r["error"] for r in own) / len(own)
            peak = sizes[0]["process_peak_bytes"] if sizes else None
            points.append(Point(label, error, times[0]["latency_s"]["p50"], peak))
    return points


def draw(points: Sequence[Point], title: str) -> Figure:
    """Time to the right, error upwards, area by peak; names beside the points."""
    figure, axes = new_figure(8.6, 5.0)
    look = Look([p.label for p in points], [p.label for p in points if p.label == "source"])
    most = max((p.peak_bytes or 0 for p in points), default=0)
    for point in points:
        area = 90.0 if not most or point.peak_bytes is None else 600 * point.peak_bytes / most
        colour = SOURCE if point.label == "source" else look.colour(point.label)
        x, y = 1e3 * point.latency_s, 100 * point.error
        axes.scatter([x], [y], s=area, color=colour, alpha=0.45, edgecolors=colour, linewidths=1.4)
        axes.scatter([x], [y], s=9, color=colour)
        told = point.label
        if point.peak_bytes is not None:
            told += f"\n{point.peak_bytes / 2**20:.0f} MiB"
        axes.annotate(
            told, (x, y), xytext=(0, 15), textcoords="offset points", ha="center", fontsize=8.5
        )
    axes.margins(0.16, 0.2)
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.grid()
    axes.set_xlabel("ms a frame (median)")
    axes.set_ylabel("error (%)")
    axes.set_title(title)
    return figure
