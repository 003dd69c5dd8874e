"""Look of plots: one colour and marker for a method in all of them, light lines, legend below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.error import Mean

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SOURCE = "#d1495b"
INK, FAINT, BAND = "#3c4043", "#dadce0", "#f5f6f7"
# The plots of `edge-tta run` have these too.
_OWN = {
    "norm": "#9aa0a6",
    "tent": "#b08968",
    "nanoadapt:tent": "#1b7f5c",
    "nanoadapt:norm": "#3066be",
}
_SPARE = (
    "#8d5fd3", "#e0a030", "#17a2b8", "#c2549b", "#6b705c", "#264653", "#f2784b", "#7cb518",
)  # fmt: skip
_MARKERS = "osD^vPXp<>"

STYLE: Any = {
    "font.size": 9.5,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#9aa0a6",
    "axes.linewidth": 0.8,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": FAINT,
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "legend.handlelength": 1.6,
    "savefig.dpi": 130,
    "figure.facecolor": "white",
}


class Look:
    """Colours and markers of the methods of a report, the same in each of its plots.

    Args:
        labels: of all methods, in the order of the report.
        sources: those among them that are the source network.
    """

    def __init__(self, labels: Sequence[str], sources: Sequence[str] = ()) -> None:
        self._colours = dict.fromkeys(sources, SOURCE)
        self._markers = dict.fromkeys(sources, "|")
        spare = 0
        for place, label in enumerate(label for label in labels if label not in sources):
            self._markers[label] = _MARKERS[place % len(_MARKERS)]
            if label in _OWN:
                self._colours[label] = _OWN[label]
            else:
                self._colours[label] = _SPARE[spare % len(_SPARE)]
                spare += 1

    def colour(self, label: str) -> str:
        """A colour that matplotlib knows."""
        return self._colours[label]

    def marker(self, label: str) -> str:
        """A marker that matplotlib knows."""
        return self._markers[label]


def new_figure(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure, in inches, and its axes; needs no display."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def legend_below(figure: Figure, axes: Axes) -> None:
    """The legend under the axes, where it hides nothing; the figure grows by its height."""
    handles, labels = axes.get_legend_handles_labels()
    letters = figure.get_figwidth() * 12
    columns = int(letters / (max(map(len, labels), default=1) + 8))
    columns = max(1, min(columns, len(labels)))
    lines = -(-len(labels) // columns)
    figure.set_figheight(figure.get_figheight() + 0.2 * lines)
    figure.legend(handles, labels, loc="outside lower center", ncols=columns)


def from_zero(axes: Axes, top: float) -> None:
    """A y axis of errors in % from 0 to a little over `top`."""
    axes.set_ylim(0, min(102.0, 1.08 * top) if top > 0 else 1)
    axes.grid(axis="y")


def draw_means(
    axes: Axes, points: Sequence[tuple[float, Mean]], *, flat: bool = False, **style: Any
) -> float:
    """Errors in % with their intervals, at places of the x axis (`flat`: of the y axis).

    style: of matplotlib's `errorbar`. Returns the highest end of an interval, 0 without any.
    """
    places = [place for place, _ in points]
    errors = [100 * mean.error for _, mean in points]
    spans = [
        [100 * (mean.error - mean.low) for _, mean in points],
        [100 * (mean.high - mean.error) for _, mean in points],
    ]
    ends: dict[str, Any] = {"xerr" if flat else "yerr": spans}
    style = {"markersize": 5.5, "elinewidth": 1.1, **style}
    x, y = (errors, places) if flat else (places, errors)
    axes.errorbar(x, y, **ends, **style)
    return max([0.0, *(100 * mean.high for _, mean in points)])


def draw_side_by_side(
    axes: Axes,
    look: Look,
    points: Mapping[str, Sequence[tuple[float, Mean]]],
    source: str,
    *,
    flat: bool = False,
    **style: Any,
) -> float:
    """Errors in % of methods at the same places of an axis, a dot with its interval for each.

    points: by label; those of `source` are lines across their places. flat, style: as of
    `draw_means`. Returns the highest end of an interval.
    """
    across, half = (axes.vlines, 0.44) if flat else (axes.hlines, 0.42)
    top = 0.0
    if source in points:
        errors = [100 * mean.error for _, mean in points[source]]
        starts = [place - half for place, _ in points[source]]
        stops = [place + half for place, _ in points[source]]
        across(errors, starts, stops, color=SOURCE, linewidth=1.8, label=source)
        top = max([100 * mean.high for _, mean in points[source]], default=0.0)
    methods = [label for label in points if label != source]
    for k, label in enumerate(methods):
        offset = 0.72 * ((k + 0.5) / len(methods) - 0.5)
        shifted = [(place + offset, mean) for place, mean in points[label]]
        own: Any = {"fmt": look.marker(label), "color": look.colour(label), "label": label}
        top = max(top, draw_means(axes, shifted, flat=flat, **own, **style))
    return top


def draw_by_name(
    look: Look,
    source: str,
    points: Mapping[str, Sequence[tuple[float, Mean]]],
    places: Mapping[str, float],
    mean_at: float | None,
) -> tuple[Figure, Axes]:
    """Names down, shares in % to the right: a dot with its interval for each method.

    Source is a line across a name's band, within its interval.
    points: by label. mean_at: the last place, if it is that of a mean. Returns the figure and its
    axes, which have no title yet.
    """
    inches = max(0.26, 0.1 + 0.085 * len(set(points) - {source}))
    *_, last = places.values()
    figure, axes = new_figure(8.6, 1.35 + inches * (len(places) + 0.25))
    for place in list(places.values())[::2]:
        axes.axhspan(place - 0.5, place + 0.5, color=BAND, linewidth=0, zorder=0)
    if mean_at is not None:
        axes.axhline(mean_at - 0.625, color=FAINT, linewidth=1)
    for place, mean in points.get(source, ()):
        ends = 100 * mean.low, 100 * mean.high
        axes.fill_betweenx(
            [place - 0.44, place + 0.44], *ends, color=SOURCE, alpha=0.16, linewidth=0
        )
    draw_side_by_side(axes, look, points, source, flat=True, markersize=4.8)
    axes.set_yticks(list(places.values()), [name.replace("_", " ") for name in places])
    if mean_at is not None:
        axes.get_yticklabels()[-1].set_fontweight("bold")
    axes.tick_params(axis="y", length=0)
    axes.set(ylim=(last + 0.5, -0.5), xlim=(0, 101))  # whole markers at 100
    axes.grid(axis="x")
    legend_below(figure, axes)
    return figure, axes


@dataclass(frozen=True)
class Line:
    """Means at places of an axis. style: of matplotlib's `errorbar`."""

    label: str
    points: Sequence[tuple[float, Mean]]
    style: Mapping[str, Any]


DASHED: Mapping[str, Any] = {"color": SOURCE, "linewidth": 1.6, "linestyle": (0, (5, 2.5))}
"""The line of the source network."""


def draw_lines(
    lines: Sequence[Line], values: Sequence[float], what: str, title: str, *, log: bool
) -> Figure:
    """Mean errors up, against `values` of `what` to the right."""
    figure, axes = new_figure(7.4, 4.6)
    tops = [draw_means(axes, line.points, label=line.label, **line.style) for line in lines]
    if log:
        axes.set_xscale("log")
    axes.set_xticks(values, [f"{value:g}" for value in values])
    axes.set_xticks([], minor=True)
    axes.set(xlabel=what, ylabel="mean error (%), with 95 % interval", title=title)
    from_zero(axes, max(tops, default=0.0))
    legend_below(figure, axes)
    return figure


def stacked_bars(
    names: Sequence[str],
    widths: Mapping[str, Sequence[float]],
    colours: Mapping[str, str],
    title: str,
    label: str,
) -> Figure:
    """A bar for each name, of the parts that `widths` has for it, one after another.

    label: of the axis that the widths are on.
    """
    figure, axes = new_figure(8.6, 1.2 + 0.42 * len(names))
    left = [0.0] * len(names)
    for part, own in widths.items():
        axes.barh(range(len(names)), own, left=left, color=colours[part], height=0.62, label=part)
        left = [start + width for start, width in zip(left, own, strict=True)]
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    axes.set(xlabel=label, title=title)
    figure.set_figheight(figure.get_figheight() + 0.25)
    figure.legend(loc="outside lower center", ncols=len(widths))
    return figure
