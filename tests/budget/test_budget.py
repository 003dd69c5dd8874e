"""A memory budget: what gives up least of all that fits, or the least figure that would."""

from __future__ import annotations

import pytest
import torch

from edge_tta.adapter import Adapter
from edge_tta.budget.choices import MIB, BudgetError, chosen
from edge_tta.budget.measuring import Costs, choices, drawn_image, fit, measured
from edge_tta.cli.main import main
from edge_tta.engines.base import Backward
from edge_tta.engines.torch import engine_of
from edge_tta.network.source import SourceNetwork
from tests.networks import network

COSTS = Costs(
    observe_bytes=100 * MIB,
    passing_bytes=5 * MIB,
    saved_bytes={("int8", 0): 10.0 * MIB, ("int8", 4): 5.0 * MIB, ("float16", 0): 20.0 * MIB},
)


@pytest.mark.parametrize(
    ("mib", "wanted"),
    [
        (1000, (1, "float16", 0)),
        (145, (1, "float16", 0)),
        (144, (1, "int8", 0)),
        (124, (0, "float16", 0)),
        (119, (0, "int8", 0)),
        (109, (0, "int8", 4)),
    ],
)
def test_what_is_given_up_is_the_least_that_fits(mib: float, wanted: tuple[int, str, int]) -> None:
    best, _ = chosen(choices(COSTS, 1), mib * MIB)
    assert (best.views, best.saving, best.depth) == wanted
    assert best.needed_bytes <= mib * MIB


def test_a_budget_that_cannot_be_met_names_the_least_that_can() -> None:
    with pytest.raises(BudgetError, match="--budget-mb 50 cannot be met: the least is 105"):
        chosen(choices(COSTS, 1), 50 * MIB)


def test_more_views_than_asked_for_are_never_chosen() -> None:
    assert max(choice.views for choice in choices(COSTS, 2)) == 2


def test_costs_are_measured_on_the_network_itself() -> None:
    frozen = SourceNetwork(network("residual"), torch.device("cpu"))
    costs = measured(
        lambda saved, depth: Adapter(frozen, backward=Backward(saved), depth=depth),
        drawn_image((3, 32, 32)),
    )
    assert costs.saved_bytes["int8", 0] < costs.saved_bytes["float16", 0]
    assert costs.saved_bytes["float16", 1] < costs.saved_bytes["float16", 0]
    assert costs.observe_bytes > 0


def test_a_depth_trains_the_last_layers_alone_and_calibrates_all() -> None:
    adapter = Adapter(network("plain"), depth=1, reliable_below=0.0, accumulation=1)
    adapter(torch.randn(2, 3, 12, 12))
    assert engine_of(adapter).step.parameters.names == ("bn3.weight", "bn3.bias")
    assert bool((adapter.state["calib.recent_offset"] != 0).all())


def test_fit_returns_what_an_adapter_can_be_built_of() -> None:
    frozen = SourceNetwork(network("plain"), torch.device("cpu"))

    def build(saved: str, depth: int) -> Adapter:
        return Adapter(frozen, backward=Backward(saved), depth=depth)

    choice, why = fit(build, drawn_image((3, 12, 12)), views=0, depth=0, budget_bytes=2**40)
    assert (choice.saving, choice.depth) == ("float16", 0)
    assert "as asked for fits" in why


def test_no_deeper_than_asked_for_is_measured() -> None:
    frozen = SourceNetwork(network("residual"), torch.device("cpu"))
    costs = measured(
        lambda saved, depth: Adapter(frozen, backward=Backward(saved), depth=depth),
        drawn_image((3, 16, 16)),
        2,
    )
    assert {depth for _, depth in costs.saved_bytes} == {2, 1}


def test_run_says_what_it_chose_and_refuses_the_impossible(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = "run demo --max-frames 2 --compare none --budget-mb"
    assert main([*words.split(), "100000"]) == 0
    assert "budget: as asked for fits" in capsys.readouterr().err
    assert main([*words.split(), "1"]) == 1
    assert "--budget-mb 1 cannot be met: the least is" in capsys.readouterr().err
