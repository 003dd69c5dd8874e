"""What a report says of errors: numbers in tables, data in axes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure

from bench.corruptions import CORRUPTIONS
from bench.error import ErrorRow
from bench.methods import parse_methods
from bench.report.document import Section, Table, plots_of
from bench.report.error import sections, variants
from bench.report.error.ablation import ablations, by_part, parts_of
from bench.report.error.accuracy import accuracy
from bench.report.error.batch_sizes import by_batch_size, draw_by_batch_size
from bench.report.error.corruptions import (
    by_corruption,
    difference_text,
    draw_by_corruption,
    negative_transfer,
)
from bench.report.error.judge import judge
from bench.report.error.orders import by_order, draw_by_order
from bench.report.error.results import ErrorResults, group, plain_sources
from bench.report.error.sensitivity import by_value, draw_by_value, series_of
from bench.report.look import SOURCE, Look
from bench.results import ResultError
from edge_tta.config.fields import to_fields
from tests.bench.rows import row

PAPER = "nanoadapt:tent@paper"
SMOOTHING = [f"{PAPER}+smoothing={m}" for m in (0.9, 0.92, 0.94, 0.96, 0.98)]
VIEWS = [f"{PAPER}+views={k}" for k in range(5)]


def _results(rows: Iterable[ErrorRow], methods: str = "") -> ErrorResults:
    rows = list(rows)
    labels = list(dict.fromkeys(one.label for one in rows))
    configs = parse_methods(methods or ",".join(labels))
    fields = {label: to_fields(config) for label, config in configs.items()}
    return ErrorResults(rows, fields, Look(labels, plain_sources(rows)))


def _tables(section: Section) -> list[Table]:
    return [part for part in section.parts if isinstance(part, Table)]


def _legend(figure: Figure) -> list[str]:
    (legend,) = figure.legends
    return [text.get_text() for text in legend.get_texts()]


# --- by corruption


def _full() -> ErrorResults:
    """Source and eight methods on clean pictures and 15 corruptions."""
    labels = ["source", "norm", "tent", "nanoadapt:norm", "nanoadapt:tent", PAPER, *VIEWS[:3]]
    return _results(
        row(label, name, 0.02 * k + 0.03 * j)
        for k, label in enumerate(labels)
        for j, name in enumerate(("clean", *CORRUPTIONS))
    )


def test_every_error_is_in_the_axes_at_its_corruption() -> None:
    results = _full()
    figure = draw_by_corruption(results, "iid", 1, results.labels)
    (axes,) = figure.axes
    names = [text.get_text() for text in axes.get_yticklabels()]
    assert names == ["clean", *(name.replace("_", " ") for name in CORRUPTIONS), "mean"]
    dots = {bar.get_label(): bar.lines[0] for bar in axes.containers}
    assert set(dots) == set(results.labels) - {"source"}
    for label, line in dots.items():
        errors = [100 * cell.error for cell in results.cells("iid", 1, label).values()]
        mean = results.mean("iid", 1, label)
        assert mean is not None
        np.testing.assert_allclose(line.get_xdata(orig=False), [*errors, 100 * mean.error])
        places = np.asarray(line.get_ydata(orig=False), float)
        assert (np.abs(places - axes.get_yticks()) < 0.5).all()  # within its own band
    left, right = axes.get_xlim()
    assert left == 0
    assert right >= 100
    assert axes.get_xlabel() == "error (%), with 95 % interval"


def test_dots_of_methods_do_not_lie_on_each_other() -> None:
    results = _full()
    (axes,) = draw_by_corruption(results, "iid", 1, results.labels).axes
    heights = [float(bar.lines[0].get_ydata(orig=False)[0]) for bar in axes.containers]
    inches = axes.figure.get_figheight() / 19
    assert min(np.diff(sorted(heights))) * inches > 0.04  # more than half of a marker


def test_intervals_are_in_the_axes() -> None:
    results = _results([row("tent", "fog", 0.2)])
    (axes,) = draw_by_corruption(results, "iid", 1, ["tent"]).axes
    (bar,) = axes.containers
    ends = np.asarray(bar.lines[2][0].get_segments()[0])[:, 0]
    own = results.cells("iid", 1, "tent")["fog"]
    np.testing.assert_allclose(ends, [100 * own.error_low, 100 * own.error_high])


def test_the_legend_names_all_methods_outside_the_axes() -> None:
    results = _full()
    figure = draw_by_corruption(results, "iid", 1, results.labels)
    assert _legend(figure) == ["source", *results.labels[1:]]
    figure.draw_without_rendering()
    legend, axes = figure.legends[0].get_window_extent(), figure.axes[0].get_window_extent()
    assert legend.y1 < axes.y0
    assert legend.x0 >= 0
    assert legend.x1 <= figure.bbox.x1


def test_more_than_eight_methods_are_shared_out_over_plots_with_source_in_each() -> None:
    labels = ["source", *(f"tent+learning_rate={k}e-3" for k in range(1, 11)), "norm"]
    results = _results(row(label, "fog", 0.3) for label in labels)
    (section,) = by_corruption(results)
    plots = plots_of([section])
    assert [plot.name for plot in plots] == ["corruptions-iid-n1-1", "corruptions-iid-n1-2"]
    legends = [_legend(plot.draw()) for plot in plots]
    assert all("source" in legend for legend in legends)
    assert sorted({name for legend in legends for name in legend}) == sorted(labels)


def test_cells_more_than_a_point_worse_than_source_are_marked_and_counted() -> None:
    errors = {"fog": (0.5, 0.511), "snow": (0.5, 0.51), "frost": (0.5, 0.3), "clean": (0.1, 0.2)}
    results = _results(
        row(label, name, pair[k], pictures=1000)
        for name, pair in errors.items()
        for k, label in enumerate(("source", "tent"))
    )
    assert negative_transfer(results, "iid", 1) == (2, 4)
    (section,) = by_corruption(results)
    cells = dict(_tables(section)[1].rows)
    assert cells == {
        "clean": "**+10.0 ▲**",
        "frost": "-20.0",
        "snow": "+1.0",
        "fog": "**+1.1 ▲**",
    }
    assert any(isinstance(part, str) and "(2 of 4)" in part for part in section.parts)


def test_a_difference_that_is_not_known_is_empty() -> None:
    assert difference_text(None) == ""


def test_without_source_there_are_no_differences_and_that_is_said() -> None:
    results = _results([row("tent", "fog")])
    assert negative_transfer(results, "iid", 1) is None
    assert len(_tables(next(by_corruption(results)))) == 1
    assert any("source was not measured" in str(part) for part in by_order(results).parts)


# --- by batch size


def _sizes() -> ErrorResults:
    rows = [row("source", "fog", 0.5), row("source", "snow", 0.4)]
    for size, error in ((200, 0.3), (1, 0.9), (10, 0.5)):
        rows += [row("tent", "fog", error, batch_size=size)]
        rows += [row("tent", "snow", error - 0.1, batch_size=size)]
    return _results(rows)


def test_the_mean_is_drawn_against_the_batch_size_on_a_log_axis() -> None:
    (axes,) = draw_by_batch_size(_sizes(), "iid", ["source", "tent"]).axes
    lines = {bar.get_label(): bar.lines[0] for bar in axes.containers}
    np.testing.assert_array_equal(lines["tent"].get_xdata(orig=False), [1, 10, 200])
    np.testing.assert_allclose(lines["tent"].get_ydata(orig=False), [85, 45, 25])
    np.testing.assert_allclose(lines["source"].get_ydata(orig=False), [45, 45, 45])
    assert axes.get_xscale() == "log"
    assert [text.get_text() for text in axes.get_xticklabels()] == ["1", "10", "200"]
    assert "N" in axes.get_xlabel()
    assert "%" in axes.get_ylabel()


def test_one_batch_size_makes_no_section() -> None:
    assert list(by_batch_size(_results([row("tent", "fog")]))) == []
    (section,) = by_batch_size(_sizes())
    (table,) = _tables(section)
    assert table.header[1:] == ["N = 1", "N = 10", "N = 200"]
    assert [cell.split()[0] for cell in table.rows[1][1:]] == ["85.0", "45.0", "25.0"]


def test_a_mean_over_fewer_corruptions_is_marked() -> None:
    """A run that was broken off must not look better than a whole one."""
    rows = [row("tent", "fog", 0.9), row("tent", "snow", 0.8), row("norm", "snow", 0.2)]
    results = _results(rows)
    assert results.mean_text("iid", 1, "norm").endswith("†")
    assert not results.mean_text("iid", 1, "tent").endswith("†")
    assert any("† over fewer corruptions" in str(part) for part in by_order(results).parts)


# --- by order


def test_orders_stand_side_by_side_with_their_means() -> None:
    orders = ("mixed", "correlated:300", "iid", "drift", "correlated:30", "continual", "still:5")
    results = _results(
        row(label, "fog", 0.1 * k + 0.05, order=order)
        for k, order in enumerate(orders)
        for label in ("source", "tent")
    )
    assert results.orders == (
        *("iid", "correlated:30", "correlated:300", "still:5", "continual", "mixed", "drift"),
    )
    (axes,) = draw_by_order(results, results.orders, 1, results.labels).axes
    assert [text.get_text() for text in axes.get_xticklabels()] == list(results.orders)
    (bar,) = axes.containers
    expected = [10 * orders.index(order) + 5 for order in results.orders]
    np.testing.assert_allclose(bar.lines[0].get_ydata(orig=False), expected)
    (table,) = _tables(by_order(results))
    assert table.header[1:] == list(results.orders)
    assert table.rows[0][0] == "`source`"


def test_an_order_alone_needs_no_plot() -> None:
    assert plots_of([by_order(_results([row("tent", "fog")]))]) == []


# --- ablation


def test_parts_are_told_from_the_fields() -> None:
    configs = parse_methods(
        f"ablation:tent,ablation:norm,{PAPER},nanoadapt:tent,tent+smoothing=0.9"
    )
    parts = {label: parts_of(to_fields(config)) for label, config in configs.items()}
    assert parts == {
        "tent": frozenset(),
        "tent+DBC": {"DBC"},
        "tent+EWGA": {"EWGA"},
        "tent+DBC+EWGA": {"DBC", "EWGA"},
        "tent+DBC+EWGA+PCG": {"DBC", "EWGA", "PCG"},
        "norm": frozenset(),
        "norm+DBC": {"DBC"},
        PAPER: {"DBC", "EWGA", "PCG"},
        "nanoadapt:tent": {"DBC", "EWGA"},
        "tent+smoothing=0.9": {"DBC"},
    }


def _ablation(labels: Iterable[str], methods: str) -> ErrorResults:
    return _results(
        (
            row(label, "fog", 0.1 + 0.1 * k, batch_size=size)
            for size in (1, 10)
            for k, label in enumerate(labels)
        ),
        methods,
    )


def test_the_ablation_has_the_host_alone_first_and_batch_sizes_across() -> None:
    labels = ["tent", "tent+DBC", "tent+EWGA", "tent+DBC+EWGA", "tent+DBC+EWGA+PCG"]
    (section,) = by_part(_ablation(labels[::-1], "ablation:tent"))
    (table,) = _tables(section)
    assert table.header == [
        *("mean error % (95 %)", "DBC", "EWGA", "PCG", "iid, N = 1", "iid, N = 10"),
    ]
    assert [cells[0] for cells in table.rows] == [
        "tent alone (`tent`)",
        "+ DBC (`tent+DBC`)",
        "+ EWGA (`tent+EWGA`)",
        "+ DBC + EWGA (`tent+DBC+EWGA`)",
        "all parts (`tent+DBC+EWGA+PCG`)",
    ]
    marks = [["✓" if part in label else "" for part in ("DBC", "EWGA", "PCG")] for label in labels]
    assert [cells[1:4] for cells in table.rows] == marks
    assert [cells[4].split()[0] for cells in table.rows] == ["50.0", "40.0", "30.0", "20.0", "10.0"]


def test_an_ablation_is_told_by_fields_under_any_label() -> None:
    plain = f"{PAPER}+views=0+gradient=calibrated"
    labels = ["tent", plain, PAPER, "nanoadapt:tent"]
    (parts,) = ablations(_ablation(labels, ",".join(labels)).methods).values()
    assert list(parts.values()) == ["tent", plain, PAPER]  # the preset `edge` differs in more


def test_the_paper_s_constants_stand_for_all_parts_where_a_sensitivity_was_measured_too() -> None:
    labels = ["tent", "tent+DBC", *VIEWS[:3], *SMOOTHING, VIEWS[4]]
    methods = ",".join(["ablation:tent", *SMOOTHING, *VIEWS])
    (parts,) = ablations(
        {label: to_fields(c) for label, c in parse_methods(methods).items() if label in labels}
    ).values()
    assert parts[frozenset({"DBC", "EWGA", "PCG"})] == SMOOTHING[-1]


def test_two_methods_are_no_ablation() -> None:
    assert list(by_part(_ablation(["tent", "nanoadapt:tent"], "tent,nanoadapt:tent"))) == []


# --- sensitivity


def test_methods_that_differ_in_one_number_are_a_series() -> None:
    methods = parse_methods(",".join(["source", "tent", *VIEWS, *reversed(SMOOTHING)]))
    all_series = series_of({label: to_fields(config) for label, config in methods.items()})
    assert [series.field for series in all_series] == ["smoothing", "views"]
    smoothing, views = all_series
    assert list(smoothing.labels) == [0.9, 0.92, 0.94, 0.96, 0.98]
    assert list(smoothing.labels.values())[:4] == SMOOTHING[:4]
    assert smoothing.labels[0.98] == VIEWS[3]  # the same method, named first
    assert list(views.labels.values()) == VIEWS
    assert views.base == PAPER
    assert smoothing.name == "smoothing m"


def test_methods_that_differ_in_two_fields_or_in_a_word_are_no_series() -> None:
    text = "tent,tent+learning_rate=1e-5,tent+learning_rate=1e-4+accumulation=2,tent+optimizer=sgd"
    methods = parse_methods(text)
    assert series_of({label: to_fields(config) for label, config in methods.items()}) == []


def test_a_series_is_drawn_against_its_values_for_each_batch_size() -> None:
    results = _results(
        row(label, "fog", 0.1 * k + 0.1 * (size == 1), batch_size=size)
        for size in (1, 8)
        for k, label in enumerate(["source", *VIEWS], 1)
    )
    (series,) = series_of(results.methods)
    figure = draw_by_value(results, series, "iid", (1, 8))
    (axes,) = figure.axes
    source, one, eight = (bar.lines[0] for bar in axes.containers)
    np.testing.assert_allclose(source.get_ydata(orig=False), [20] * 5)
    np.testing.assert_array_equal(one.get_xdata(orig=False), range(5))
    np.testing.assert_allclose(one.get_ydata(orig=False), [30, 40, 50, 60, 70])
    np.testing.assert_allclose(eight.get_ydata(orig=False), [20, 30, 40, 50, 60])
    assert _legend(figure) == ["source", "N = 1", "N = 8"]
    assert axes.get_xlabel() == "views k"
    (section,) = by_value(results)
    (table,) = _tables(section)
    assert table.header[1:] == ["0", "1", "2", "3", "4"]
    assert [cells[0] for cells in table.rows] == ["iid, N = 1", "iid, N = 8"]


def test_rates_over_decades_are_drawn_on_a_log_axis() -> None:
    labels = [f"tent+learning_rate={rate}" for rate in ("1e-5", "1e-4", "1e-3")]
    results = _results(row(label, "fog", 0.3) for label in labels)
    (series,) = series_of(results.methods)
    (axes,) = draw_by_value(results, series, "iid", (1,)).axes
    assert axes.get_xscale() == "log"
    assert [text.get_text() for text in axes.get_xticklabels()] == ["1e-05", "0.0001", "0.001"]


def test_many_variants_are_left_out_of_the_other_plots() -> None:
    labels = ["source", "norm", "nanoadapt:tent", *SMOOTHING, *VIEWS]
    results = _results(row(label, "fog", 0.3) for label in labels)
    assert set(variants(results)) == {*SMOOTHING, *VIEWS}
    (section,) = by_corruption(results, variants(results))
    (plot,) = plots_of([section])
    assert _legend(plot.draw()) == ["source", "norm", "nanoadapt:tent"]
    shown = {cell for table in _tables(section) for cell in table.header}
    assert {f"`{label}`" for label in labels} <= shown  # the figures are all there


# --- all together


def test_a_method_has_one_colour_in_all_plots() -> None:
    results = _full()
    by_name: dict[str, set[object]] = {}
    for figure in (
        draw_by_corruption(results, "iid", 1, results.labels),
        draw_by_corruption(results, "iid", 1, results.labels[4:]),
        draw_by_order(results, ["iid"], 1, results.labels),
    ):
        for bar in figure.axes[0].containers:
            by_name.setdefault(bar.get_label(), set()).add(bar.lines[0].get_color())
    assert all(len(colours) == 1 for colours in by_name.values())
    assert len(set.union(*by_name.values())) == len(results.labels) - 1  # and no two have the same


def test_networks_sets_and_severities_are_apart_but_drift_joins_its_set() -> None:
    rows = [
        row("tent", "fog"),
        row("tent", "fog", severity=3),
        row("tent", "fog", data="other"),
        row("tent", "fog", model="big"),
        row("tent", "fog", order="drift", severity=0),
    ]
    groups = group(rows, {}, Look(["tent"]))
    assert [results.title for results in groups] == [
        "`zoo.py:net` on `some`, severity 5",
        "`zoo.py:net` on `some`, severity 3",
        "`zoo.py:net` on `other`, severity 5",
        "`big` on `some`, severity 5",
    ]
    assert [results.orders for results in groups] == [
        ("iid", "drift"),
        ("iid",),
        ("iid",),
        ("iid",),
    ]
    assert len({results.prefix for results in groups}) == 4


def test_names_of_plots_are_unique_and_fit_for_files() -> None:
    rows = [
        row(label, "fog", data=data, order=order, batch_size=size)
        for label in ["source", "tent", *VIEWS]
        for data in ("some", "other")
        for order in ("iid", "correlated:30", "drift")
        for size in (1, 10)
    ]
    methods = parse_methods(",".join(["source", "tent", *VIEWS]))
    page = sections(
        [one.as_dict() for one in rows], {name: to_fields(c) for name, c in methods.items()}
    )
    names = [plot.name for plot in plots_of(page)]
    assert len(names) == len(set(names)) > 10
    assert all(name.replace("-", "").replace(".", "").isalnum() for name in names)


@pytest.mark.parametrize("seeds", [1, 3])
def test_all_errors_zero_or_one_can_be_drawn(seeds: int) -> None:
    results = _results(
        row(label, name, by_seed=[float(name == "fog")] * seeds, order=order, batch_size=size)
        for label in ("source", "tent")
        for name in ("fog", "snow")
        for order in ("iid", "mixed")
        for size in (1, 4)
    )
    for section in (by_order(results), *by_batch_size(results), *by_corruption(results)):
        for plot in plots_of([section]):
            plot.draw().draw_without_rendering()


def test_estimates_of_the_accuracy_are_compared_with_what_it_was() -> None:
    made = ((0.7, 0.75, 0.65, 0.85), (0.5, 0.6, 0.55, 0.65), (0.5, None, None, None))
    unknown = ((0.5, None, None, None),)
    results = _results(
        [
            row("tent"),
            row("tent+filter", estimates=made),
            row("tent+filter", "snow", estimates=unknown, source_estimates=made),
            row("tent+filter", order="natural", estimates=unknown),
        ]
    )
    (section,) = accuracy(results)
    assert _tables(section)[0].rows == [
        ["`tent+filter`", "iid, N = 1", "2 of 4", "7.5", "50%"],
        ["`tent+filter`, its source", "iid, N = 1", "2 of 3", "7.5", "50%"],
        ["`tent+filter`", "natural, N = 1", "0 of 1", "-", "-"],
    ]
    assert list(accuracy(_results([row("tent")]))) == []


def test_the_judge_is_right_where_it_gives_the_better_network_most_of_the_weight() -> None:
    def late(value: float) -> tuple[float, ...]:
        return (1.0,) * 10 + (value,) * 10  # 600 frames: the judge has the first half of them

    guarded = "nanoadapt:tent+guard"
    told = {"fog": (0.2, 0.1), "snow": (0.2, 0.9), "frost": (0.31, 0.9), "clean": (0.5, 0.4)}
    rows = []
    for name, (own, weight) in told.items():
        rows.append(row("source", name, pictures=600, over_time=late(0.3)))
        more = {"own_over_time": late(own), "weight_over_time": late(weight)}
        rows.append(row(guarded, name, pictures=600, over_time=late(own), **more))
    (section,) = judge(_results(rows))
    assert _tables(section)[0].rows == [
        [f"`{guarded}`", "iid, N = 1", "1 of 3", "clean +20.0, snow -10.0"]
    ]
    assert list(judge(_results([row("source"), row(guarded)]))) == []


def test_the_source_is_the_one_without_a_filter() -> None:
    labels = ["source+filter", "source", "tent"]
    filtered = replace(row("source"), label="source+filter", estimates=())
    rows = [filtered, row("source"), row("tent")]
    look = Look(labels, plain_sources(rows))
    assert look.colour("source") == SOURCE != look.colour("source+filter")
    assert ErrorResults(rows, {}, look).source == "source"
    assert ErrorResults(rows[::2], {}, look).source is None


@pytest.mark.parametrize(
    "wrong", [5, [0.5], [[0.5, 0.5, 0.4]], [[2, 0.5, 0.4, 0.6]], [[1, None, 0, 1]]]
)
def test_an_estimate_that_is_none_is_refused(wrong: object) -> None:
    with pytest.raises(ResultError, match="has estimates"):
        sections([{**row("tent").as_dict(), "estimates": wrong}], {"tent": {}})
