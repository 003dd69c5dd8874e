"""Budgets of bundles: what is chosen, what is asked about, what the bundle then says."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest

import export.budget
from edge_tta.budget.choices import MIB, BudgetError, depths_of
from edge_tta.bundle.manifest import Advice, read_manifest
from export.budget import fit
from export.probe import peak
from tests.bundle.bundles import kept
from tests.cli.commands import assert_one_line_of_advice, call, records
from tests.frames.media import textured

DEPTHS = [0, 4]
NET = """
from torch import nn

INPUT = dict(size=8)

def net():
    return nn.Sequential(
        nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 4),
    ).eval()
"""


class Fake:
    """Peaks by a formula; keeps what it was asked about."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int, str]] = []

    def __call__(self, views: int, depth: int, profile: str) -> float:
        assert (views, depth, profile) not in self.asked
        self.asked.append((views, depth, profile))
        lean = profile == "memory"
        return MIB * (100 + (1 + views) * (20 if depth == 0 else 10) / (1 + lean))


def _fit(fake: Fake, mib: float) -> tuple[int, str, int]:
    best, _ = fit(fake, views=1, depths=DEPTHS, budget_bytes=mib * MIB)
    return best.views, best.saving, best.depth


@pytest.mark.parametrize(
    ("mib", "wanted"),
    [
        (140, (1, "speed", 0)),
        (139, (1, "memory", 0)),
        (119, (0, "memory", 0)),
        (109, (0, "memory", 4)),
    ],
)
def test_what_is_given_up_is_the_least_that_fits(mib: float, wanted: tuple[int, str, int]) -> None:
    assert _fit(Fake(), mib) == wanted


def test_no_more_is_measured_than_the_answer_needs() -> None:
    fits, impossible = Fake(), Fake()
    _fit(fits, 1000)
    assert fits.asked == [(1, 0, "speed")]
    with pytest.raises(BudgetError, match="--budget-mb 50 cannot be met: the least is 105"):
        _fit(impossible, 50)
    assert set(impossible.asked) == {(1, 0, "speed"), (0, 4, "speed"), (0, 4, "memory")}


def test_depths_begin_with_what_was_asked_for() -> None:
    assert depths_of(20) == [0, 10, 5, 2]
    assert depths_of(20, 8) == [8, 4, 2, 1]
    assert depths_of(20, 0.5) == [0.5, 5, 2, 1]
    assert depths_of(2, 0.5) == [0.5]


def test_a_bundle_is_measured_in_a_process_of_its_own() -> None:
    assert 10 * MIB < peak(kept(), "speed", 1) < 2000 * MIB


def test_a_measurement_that_fails_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"could not be measured.*holds no manifest") as caught:
        peak(tmp_path, "speed", 1)
    assert "\n" not in str(caught.value)


@pytest.fixture
def model(tmp_path: Path) -> str:
    (tmp_path / "net.py").write_text(NET)
    return f"{tmp_path / 'net.py'}:net"


def _export(model: str, out: Path, *words: object) -> tuple[str, ...]:
    return (
        "export",
        "bundle",
        "--model",
        model,
        "--out",
        str(out),
        "--threads",
        "1",
        *map(str, words),
    )


def test_what_was_chosen_is_in_the_bundle_and_a_run_follows_it_and_says_so(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = {"speed": 200 * MIB, "memory": 100 * MIB}
    monkeypatch.setattr(export.budget, "peak", lambda folder, name, threads: fake[name])
    out, pictures, log = tmp_path / "b", tmp_path / "pictures", tmp_path / "log.jsonl"
    done = call(*_export(model, out, "--budget-mb", 120))
    assert done.code == 0, done.err
    chosen = "budget: chose 0 views, profile memory, the upper 50% of the layers train: 100 MiB"
    assert chosen in done.err.replace("\n", " ")
    assert read_manifest(out).advice == Advice("memory")
    assert not list(tmp_path.glob(".edge-tta-*"))

    pictures.mkdir()
    for number in range(2):
        cv2.imwrite(str(pictures / f"{number}.png"), textured(number))
    run = ("run", pictures, "--model", out, "--jsonl", log, "--guard", "off")
    done = call(*run)
    assert done.code == 0, done.err
    assert "as the bundle advises: --profile memory" in done.err
    done = call(*run, "--profile", "speed")
    assert "advises" not in done.err
    assert all("learning" in record["why"] for record in records(log))


def test_the_real_figures_are_those_of_the_onnx_executor_or_the_refusal_names_the_least(
    model: str, tmp_path: Path
) -> None:
    done = call(*_export(model, tmp_path / "a", "--budget-mb", 20_000))
    assert done.code == 0, done.err
    assert (
        "budget: as asked for fits: 0 views, profile speed, the upper 50% of the layers train"
        in done.err
    )
    assert read_manifest(tmp_path / "a").advice == Advice()
    done = call(*_export(model, tmp_path / "b", "--budget-mb", 1))
    assert_one_line_of_advice(done, "--budget-mb 1 cannot be met: the least is", "smaller network")
    assert not (tmp_path / "b").exists()


def test_a_method_that_does_not_learn_has_nothing_to_give_up(model: str, tmp_path: Path) -> None:
    done = call(*_export(model, tmp_path / "b", "--method", "norm", "--budget-mb", 100))
    assert_one_line_of_advice(done, "norm does not learn")
