"""Tables and plots of `bench error` on segmenters and detectors: mIoU, mAP50, recall."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from statistics import mean
from typing import TYPE_CHECKING, Any

from bench.error.intervals import Mean
from bench.report.checks import Check, is_share, is_text, is_whole, latest
from bench.report.document import Part, Plot, Section, Table, file_name
from bench.report.look import Look, draw_by_name
from bench.results import Row
from bench.sets import CLEAN

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCORES: Mapping[str, str] = {"miou": "mIoU", "map50": "mAP50", "recall": "recall"}
"""What these tasks are scored by, higher is better, and how it is called."""
MEAN = "mean of corruptions"
_FIELDS: Mapping[str, Check] = {
    **dict.fromkeys(("method", "label", "model", "data", "corruption"), is_text),
    **dict.fromkeys(("severity", "n"), is_whole),
}
_SETTING = ("label", "model", "data", "corruption", "severity")
_ABOUT = (
    "Frame by frame in the set's order, from the source for each corruption; the mean is over the "
    "corruptions. Won back: of what a corruption takes from the source's score on clean pictures, "
    "the share that a method has more than source, on average."
)


def sections(rows: Sequence[Row], methods: Mapping[str, Row]) -> list[Section]:
    """A section for each network, set and score.

    Raises:
        ResultError: a row is not as `bench error` writes it.
    """
    labels = list(dict.fromkeys(str(row.get("label")) for row in rows))
    look = Look(labels, [str(row["label"]) for row in rows if row.get("method") == "source"])
    result = []
    for model, data in dict.fromkeys((row.get("model"), row.get("data")) for row in rows):
        for score, name in SCORES.items():
            own = [
                row
                for row in rows
                if (row.get("model"), row.get("data")) == (model, data) and score in row
            ]
            if own:
                fields = {**_FIELDS, score: is_share}
                checked, replaced = latest("error", own, fields, _SETTING)
                parts = list(_parts(checked, score, look))
                if replaced:
                    parts.append(f"{replaced} rows were measured again; the last file's count.")
                result.append(Section(f"{name}: `{model}` on `{data}`", parts))
    return result


def score_table(rows: Sequence[Row], score: str) -> Table:
    """A table of a score, a line a corruption, a column a method, with their mean."""
    scores = _scores(rows, score)
    lines = [
        [name, *("" if label not in by else f"{by[label]:.3f}" for label in _labels(rows))]
        for name, by in scores.items()
    ]
    won = _won_back(rows, score)
    if won:
        shares = (f"{100 * won[k]:.0f} %" if k in won else "" for k in _labels(rows))
        lines.append(["won back", *shares])
    return Table(["corruption", *_labels(rows)], lines)


def named(row: Row) -> str:
    """A corruption with its severity."""
    return f"{row['corruption']} {row['severity'] or ''}".strip()


def _parts(rows: Sequence[Row], score: str, look: Look) -> Iterator[Part]:
    name = file_name(rows[0]["model"], rows[0]["data"], score)
    yield Plot(name, f"{SCORES[score]} by corruption", partial(_draw, rows, score, look))
    yield _ABOUT
    yield score_table(rows, score)


def _draw(rows: Sequence[Row], score: str, look: Look) -> Figure:
    scores = _scores(rows, score)
    places = {name: k + 0.25 * (name == MEAN) for k, name in enumerate(scores)}
    points: dict[str, Any] = {
        label: [
            (places[name], Mean(by[label], by[label], by[label], (name,)))
            for name, by in scores.items()
            if label in by
        ]
        for label in _labels(rows)
    }
    figure, axes = draw_by_name(look, _source(rows), points, places, mean_at=places.get(MEAN))
    axes.set(
        xlabel=f"{SCORES[score]} (%), higher is better",
        title=f"{SCORES[score]} by corruption: {rows[0]['model']}",
    )
    return figure


def _labels(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(str(row["label"]) for row in rows))


def _source(rows: Sequence[Row]) -> str:
    """The label of the source network; "": it was not measured."""
    return next((str(row["label"]) for row in rows if row["method"] == "source"), "")


def _scores(rows: Sequence[Row], score: str) -> dict[str, dict[str, float]]:
    """Scores by corruption and label; the mean over corruptions last, where there are several."""
    scores: dict[str, dict[str, float]] = {}
    for row in rows:
        scores.setdefault(named(row), {})[str(row["label"])] = float(row[score])
    corrupted = [by for name, by in scores.items() if name != CLEAN]
    if len(corrupted) > 1:
        labels = [label for label in _labels(rows) if all(label in by for by in corrupted)]
        scores[MEAN] = {label: mean(by[label] for by in corrupted) for label in labels}
    return scores


def _won_back(rows: Sequence[Row], score: str) -> dict[str, float]:
    """Share of the lost score that each method wins back; empty without clean or source."""
    scores, source = _scores(rows, score), _source(rows)
    clean = scores.get(CLEAN, {}).get(source)
    corrupted = scores.get(MEAN, {})
    if clean is None or source not in corrupted or clean <= corrupted[source]:
        return {}
    lost = clean - corrupted[source]
    return {
        label: (value - corrupted[source]) / lost
        for label, value in corrupted.items()
        if label != source
    }
