"""What holds for every calibration: its module is enough to be tested here."""

from __future__ import annotations

import re

import pytest
import torch

from edge_tta.config import CalibrationConfig, make_config
from edge_tta.errors import ConfigError
from edge_tta.method import calibration
from edge_tta.method.calibration import Calibration, make_calibration
from edge_tta.method.step import Step
from edge_tta.network.kernels import Moments
from tests.adapters import shared, stream
from tests.method import properties

KINDS = properties.modules_of(calibration, "base", "class_balance")
every_kind = pytest.mark.parametrize("kind", KINDS)
BATCHES = stream(6)


def _calibration(kind: str) -> Calibration:
    return make_calibration(shared("residual").program((3, 8, 8)), CalibrationConfig(kind))


def _step(kind: str) -> Step:
    config = make_config(
        "nanoadapt:tent", preset="paper", calibration=kind, taylor="none", accumulation=3, views=0
    )
    return Step(shared("residual").program((3, 8, 8)), config)


def test_the_calibrations_that_have_a_module_are_those_that_can_be_chosen() -> None:
    with pytest.raises(ConfigError) as caught:
        CalibrationConfig("none of them")
    named = re.search("one of (.*), got", str(caught.value))
    assert named is not None
    assert sorted(named[1].split(", ")) == KINDS
    assert [type(_calibration(kind)).__name__.lower() for kind in KINDS] == KINDS


@every_kind
def test_what_is_remembered_is_the_calibrations_own_and_stands_for_the_source(kind: str) -> None:
    own = _calibration(kind)
    state = own.initial()
    assert all(name.startswith("calib.") for name in state)
    offset, variance = own.statistics(state)
    layers = shared("residual").program((3, 8, 8)).layers
    assert not bool(offset.any())
    torch.testing.assert_close(variance, torch.cat([layer.variance for layer in layers]))


@every_kind
def test_a_shift_by_nothing_shifts_nothing(kind: str) -> None:
    own = _calibration(kind)
    state = own.initial()

    def by_nothing(moments: Moments) -> Moments:
        return moments

    shifted = own.shifted(state, by_nothing)
    assert shifted.keys() <= state.keys()
    for name, value in shifted.items():
        assert torch.equal(value, state[name]), name


@every_kind
def test_predictions_are_by_the_statistics_that_a_state_stands_for(kind: str) -> None:
    step = _step(kind)
    state = properties.after(step, BATCHES)
    program = step.program
    model = shared("residual").copy()
    tensors = dict(model.named_buffers()) | dict(model.named_parameters())
    statistics = step.statistics(state)
    with torch.no_grad():
        for layer in program.layers:
            tensors[layer.mean_name].copy_(statistics[layer.name].mean)
            tensors[layer.variance_name].copy_(statistics[layer.name].variance)
        for name, value in step.parameters.split(state["opt.parameters"]).items():
            tensors[name].copy_(value)
        expected = model(BATCHES[0])
    torch.testing.assert_close(step.predict(BATCHES[0], state), expected, rtol=1e-4, atol=1e-5)


@every_kind
def test_frames_without_any_variance_leave_no_variance_below_zero(kind: str) -> None:
    step = _step(kind)
    state = properties.after(step, [torch.full_like(images, 2.0) for images in BATCHES])
    _, variance = step.calibration.statistics(state)
    assert bool(torch.isfinite(variance).all())
    assert float(variance.min()) >= 0


@every_kind
def test_every_state_of_a_calibration_is_as_the_first(kind: str) -> None:
    properties.assert_every_state_is_as_the_first(_step(kind), BATCHES)


@every_kind
def test_a_step_of_a_calibration_is_pure(kind: str) -> None:
    properties.assert_pure(_step(kind), BATCHES)


@every_kind
def test_a_calibration_resumes_exactly(kind: str) -> None:
    properties.assert_resumes(_step(kind), _step(kind), BATCHES)


@every_kind
def test_a_calibration_recovers_from_logits_that_are_nan(kind: str) -> None:
    properties.assert_recovers_from_nan(_step(kind), BATCHES)
