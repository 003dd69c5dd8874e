"""Figures that the README quotes are those of the result files."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from bench.corruptions import GROUPS
from tests.docs.pages import README, ROOT

ORDERS = ("iid", "correlated:30", "correlated:300", "continual")


def _rows(name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((ROOT / f"bench/results/{name}.json").read_text())[
        "results"
    ]
    return rows


def _line(start: str) -> list[str]:
    """Return the cells of the README's row that begins so, without what is bold."""
    (line,) = (line for line in README.read_text().splitlines() if line.startswith(f"| {start}"))
    return [cell.strip().replace("**", "") for cell in line.strip("|").split("|")][1:]


@pytest.mark.parametrize(
    ("row", "label", "file"),
    [
        ("ResNet-20, source", "source", "edge"),
        ("**edge_tta** (`nano", "nanoadapt:tent", "edge"),
        ("**the same with 500", "nanoadapt:tent", "source_frames"),
    ],
)
def test_errors_are_the_means_over_corruptions(row: str, label: str, file: str) -> None:
    rows = [row for row in _rows(f"cifar10_resnet20_{file}") if row["label"] == label]
    for order, cell in zip(ORDERS, _line(row), strict=True):
        errors = [r["error"] for r in rows if r["order"] == order and r["corruption"] != "clean"]
        assert len(errors) == 15
        assert cell == f"{100 * sum(errors) / 15:.1f}"


def _mean(file: str, label: str, order: str) -> str:
    rows = [r for r in _rows(file) if (r["label"], r["order"]) == (label, order)]
    errors = [r["error"] for r in rows if r["corruption"] != "clean"]
    assert len(errors) == 15
    return f"{100 * sum(errors) / 15:.1f}"


def test_errors_of_guard_and_filter_are_those_measured() -> None:
    (line,) = (x for x in README.read_text().splitlines() if "with guard and class filter" in x)
    (beside,) = re.findall(r"source \+ filter: ([\d., ]+)\)", line)
    files = ["cifar10_resnet20_guard_filter"] * len(ORDERS)
    files[1] = "peers_resnet20_ours"
    for label, cells in {
        "nanoadapt:tent+guard+filter": _line("**and with guard and class filter"),
        "source+filter": beside.split(", "),
    }.items():
        assert cells == [_mean(file, label, o) for file, o in zip(files, ORDERS, strict=True)]


def test_errors_of_clean_pictures_and_the_most_harm_are_those_measured() -> None:
    plain, measured = (
        {
            (r["label"], r["order"], r["corruption"]): 100 * r["error"]
            for r in _rows(f"cifar10_resnet20_{file}")
        }
        for file in ("edge", "source_frames")
    )
    corruptions = {corruption for _, _, corruption in plain}
    rows = (_line(start) for start in ("clean pictures", "most harm", "with source frames"))
    for order, clean, harm, of_measured in zip(ORDERS, *rows, strict=True):
        given = [float(text) for text in clean.split(" / ")]
        expected = [
            error[label, order, "clean"]
            for error, label in (
                (plain, "source"),
                (plain, "nanoadapt:tent"),
                (measured, "nanoadapt:tent"),
            )
        ]
        assert given == pytest.approx(expected, abs=0.0501)
        most, most_measured = (
            max(error["nanoadapt:tent", order, c] - error["source", order, c] for c in corruptions)
            for error in (plain, measured)
        )
        assert float(re.findall(r"[+-][\d.]+", harm)[0]) == pytest.approx(most, abs=0.0501)
        assert (of_measured == "none") == (most_measured <= 0)


def test_batches_of_200_are_those_measured() -> None:
    rows = [r for r in _rows("cifar10_resnet20_batch200") if r["corruption"] != "clean"]
    means = []
    for label in ("norm", "tent"):
        errors = [r["error"] for r in rows if r["label"] == label]
        means.append(f"{100 * sum(errors) / len(errors):.1f}")
    assert _line("Pred BN / Tent with")[0] == " / ".join(means)


def test_costs_are_those_measured() -> None:
    works = {
        "source, folded": "source, folded",
        "edge_tta bundle, a frame that predicts": "nanoadapt:tent, predict",
        "the same in int8": "nanoadapt:tent, predict, int8",
        "edge_tta bundle, a frame that calibrates": "nanoadapt:tent, observe",
        "edge_tta bundle in int8, a frame that calibrates": "nanoadapt:tent, observe, int8",
        "edge_tta bundle, a frame that learns": "nanoadapt:tent, learn",
        "Tent in PyTorch": "tent-stock",
    }
    for row, label in works.items():
        cells = iter(_line(row))
        for network in ("resnet50", "mobilenet_v2"):
            times, sizes = (
                {
                    r["label"].removesuffix(" (onnx)"): r
                    for r in _rows(f"{kind}_bundle_{network}{n}")
                }
                for kind, n in (("latency", "_1"), ("memory", ""))
            )
            ms = 1e3 * times[label]["latency_s"]["p50"]
            tent_ms = 1e3 * times["tent-stock"]["latency_s"]["p50"]
            assert float(next(cells)) == pytest.approx(ms, rel=0.01, abs=0.0501)
            assert float(next(cells)) == pytest.approx(ms / tent_ms, abs=0.00501)
            assert next(cells) == f"{sizes[label]['process_peak_bytes'] / 1e6:.0f}"


@pytest.mark.parametrize(
    "label", ["source", "source+filter", "nanoadapt:tent", "nanoadapt:tent+guard+filter"]
)
def test_errors_on_recordings_are_those_measured(label: str) -> None:
    page = (ROOT / "docs/background/temporal.md").read_text()
    name = label.replace("+", " + ") if label.startswith("source") else f"`{label}`"
    (line,) = (line for line in page.splitlines() if line.startswith(f"| {name} |"))
    cells = [cell.strip(" *") for cell in line.strip("|").split("|")][1:]
    errors = {r["corruption"]: r["error"] for r in _rows("gtsrb_natural") if r["label"] == label}
    clean = errors.pop("clean")
    groups = [[errors[name] for name in names] for names in GROUPS.values()]
    means = [sum(part) / len(part) for part in ([*errors.values()], [clean], *groups)]
    assert cells == [f"{100 * mean:.1f}" for mean in means]
