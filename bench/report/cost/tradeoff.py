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
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Point:
    """One method: error 0..1 (mean over corruptions), p50 in seconds, memory in bytes.

    memory_bytes: peak above the imports, which are alike for all and far more; None: not known.
    """

    label: str
    error: float
    latency_s: float
    memory_bytes: int | None


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
            "Lower and further left is better; the area of a point is the peak of its process "
            "above the imports. Errors are means over the corruptions, one frame at a time, in the "
            "first order measured.",
            Table(["method", "error %", "ms a frame (p50)", "MiB above imports"], body),
        ]
        own.append(Section(title, parts))
    return own


def _mib(point: Point) -> str:
    return "" if point.memory_bytes is None else f"{point.memory_bytes / 2**20:.0f}"


def points_of(rows: Sequence[Row]) -> list[Point]:
    """Methods of one model with an error and a time."""
    points = []
    errors = [row for row in rows if "error" in row and row.get("batch_size") == 1]
    order = errors[0]["order"] if errors else None
    for label in dict.fromkeys(str(row["label"]) for row in errors):
        own = [r for r in errors if r["label"] == label and r["order"] == order]
        own = [r for r in own if r["corruption"] != "clean"] or own
        time, size = (_whole(rows, f, label) for f in ("latency_s", "above_import_bytes"))
        if own and time:
            error = sum(r["error"] for r in own) / len(own)
            memory = size["above_import_bytes"] if size else None
            points.append(Point(label, error, time["latency_s"]["p50"], memory))
    return points


def _whole(rows: Sequence[Row], field: str, label: str) -> Row | None:
    """The first row with the field of a method that does the most with a frame, in float32."""
    own = [r for r in rows if field in r and r.get("asked", r["label"]) == label]
    works = [(Work(row.get("work", Work.ADAPT)), row) for row in own]
    plain = [(work.rank, row) for work, row in works if not work.in_int8]
    return max(plain, key=lambda pair: pair[0], default=(0, None))[1]


def draw(points: Sequence[Point], title: str) -> Figure:
    """Time to the right, error upwards, area by memory; names beside the points, apart."""
    figure, axes = new_figure(8.6, 5.0)
    look = Look([p.label for p in points], [p.label for p in points if p.label == "source"])
    most = max((p.memory_bytes or 0 for p in points), default=0)
    for point in points:
        area = 90.0 if not most or not point.memory_bytes else 600 * point.memory_bytes / most
        colour = SOURCE if point.label == "source" else look.colour(point.label)
        x, y = 1e3 * point.latency_s, 100 * point.error
        axes.scatter([x], [y], s=area, color=colour, alpha=0.45, edgecolors=colour, linewidths=1.4)
        axes.scatter([x], [y], s=9, color=colour)
    axes.margins(0.16)
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0, top=112 * max((p.error for p in points), default=1.0))
    axes.grid()
    axes.set(xlabel="ms a frame (median)", ylabel="error (%)", title=title)
    _write_names(axes, points)
    return figure


# Offsets of a name from its point in typographic points, and how it is aligned, best first.
_PLACES = (
    *((0, 16, "center"), (0, -30, "center"), (18, -8, "left"), (-18, -8, "right")),
    *((22, 20, "left"), (-22, 20, "right"), (22, -34, "left"), (-22, -34, "right")),
)


def _write_names(axes: Axes, points: Sequence[Point]) -> None:
    """Put each name where it covers no point and no other name, as far as there is such a place."""
    from matplotlib.transforms import Bbox

    centres = [axes.transData.transform((1e3 * p.latency_s, 100 * p.error)) for p in points]
    room = 12 * axes.figure.dpi / 72
    taken: list[Bbox] = []
    boxes = [Bbox([centre - room, centre + room]) for centre in centres]
    for point, own in zip(points, boxes, strict=True):
        told = point.label + (f"\n{_mib(point)} MiB" if point.memory_bytes is not None else "")
        others = [*taken, *(box for box in boxes if box is not own)]
        tried = []
        for right, up, side in _PLACES:
            place = (1e3 * point.latency_s, 100 * point.error)
            name = axes.annotate(
                *(told, place, (right, up)),
                textcoords="offset points",
                ha=side,
                fontsize=8.5,
            )
            covered = name.get_window_extent()
            outside = not (axes.bbox.y0 <= covered.y0 and covered.y1 <= axes.bbox.y1)
            tried.append((covered.count_overlaps(others) + outside, name, covered))
            if not tried[-1][0]:
                break
        best = min(tried, key=lambda one: one[0])
        for one in tried:
            if one is not best:
                one[1].remove()
        taken.append(best[2])
