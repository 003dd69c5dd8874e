"""Error, time and memory of the methods in one picture: what a user decides by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from bench.cost.case import Work
from bench.report.document import Part, Plot, Section, Table, code
from bench.report.look import SOURCE, Look, new_figure
from bench.results import Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Point:
    """One method: error 0..1 (mean over corruptions), p50 in seconds, peak in bytes."""

    label: str
    error: float
    latency_s: float
    peak_bytes: int | None


def sections(rows: Sequence[Row]) -> list[Section]:
    """A section for each model of which errors and times are there; else none."""
    own = []
    for model in dict.fromkeys(str(row.get("model")) for row in rows if "error" in row):
        points = points_of([row for row in rows if row.get("model") == model])
        if len(points) < 2:
            continue
        name = "tradeoff-" + "".join(c if c.isalnum() else "-" for c in model)
        body = [
            [code(p.label), f"{100 * p.error:.1f}", f"{1e3 * p.latency_s:.1f}", _mib(p)]
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
        own.append(Section(title, parts))
    return own


def _mib(point: Point) -> str:
    return "" if point.peak_bytes is None else f"{point.peak_bytes / 2**20:.0f}"


def points_of(rows: Sequence[Row]) -> list[Point]:
    """Methods of one model with an error and a time."""
    points = []
    errors = [row for row in rows if "error" in row and row.get("batch_size") == 1]
    order = errors[0]["order"] if errors else None
    for label in dict.fromkeys(str(row["label"]) for row in errors):
        own = [r for r in errors if r["label"] == label and r["order"] == order]
        own = [r for r in own if r["corruption"] != "clean"] or own
        time, size = (_whole(rows, f, label) for f in ("latency_s", "process_peak_bytes"))
        if own and time:
            error = sum(r["error"] for r in own) / len(own)
            peak = size["process_peak_bytes"] if size else None
            points.append(Point(label, error, time["latency_s"]["p50"], peak))
    return points


def _whole(rows: Sequence[Row], field: str, label: str) -> Row | None:
    """The first row with the field of a method that does the most with a frame."""
    own = [r for r in rows if field in r and r.get("asked", r["label"]) == label]
    return max(own, key=lambda r: Work(r.get("work", Work.ADAPT)).rank, default=None)


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
        told = point.label + (f"\n{_mib(point)} MiB" if point.peak_bytes is not None else "")
        axes.annotate(
            told, (x, y), xytext=(0, 15), textcoords="offset points", ha="center", fontsize=8.5
        )
    axes.margins(0.16, 0.2)
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.grid()
    axes.set(xlabel="ms a frame (median)", ylabel="error (%)", title=title)
    return figure
