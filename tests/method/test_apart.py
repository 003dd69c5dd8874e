"""Views one after another: the step of all of them together."""

from __future__ import annotations

import pytest
import torch

from edge_tta.adapter import Adapter
from edge_tta.errors import ConfigError
from edge_tta.method import apart
from edge_tta.method.state import State
from edge_tta.method.step import Step
from edge_tta.network.saved import saved_bytes
from tests.networks import network

STEPS = 6


def learned(
    at_a_time: int, name: str, frames: int, **options: object
) -> tuple[torch.Tensor, State]:
    # Some views count and some do not.
    reliable = {"residual": 0.97, "used-twice": 0.81, "plain": 0.86}[name]
    options = {"views": 3, "reliable": reliable, "accumulation": 2, **options}
    adapter = Adapter(network(name), views_at_a_time=at_a_time, **options)  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(1)
    for _ in range(STEPS):
        logits = adapter(torch.randn(frames, 3, 16, 16, generator=generator) + 0.3)
    return logits, adapter.state


@pytest.mark.parametrize("saved", ["stock", "float32"])
@pytest.mark.parametrize("name", ["residual", "used-twice", "plain"])
@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize("at_a_time", [1, 2, 3])
def test_logits_parameters_and_statistics_are_those_of_all_views_together(
    at_a_time: int, frames: int, name: str, saved: str
) -> None:
    wanted, state = learned(0, name, frames, saved=saved)
    logits, found = learned(at_a_time, name, frames, saved=saved)
    assert int(state["updates"]) == STEPS // 2
    assert int(state["applied"]) > 0
    torch.testing.assert_close(logits, wanted, rtol=1e-4, atol=1e-5)
    assert found.keys() == state.keys()
    for key, value in state.items():
        torch.testing.assert_close(found[key], value, rtol=1e-4, atol=2e-5, msg=key)


def test_streams_of_one_batch_too() -> None:
    program = Adapter(network("residual")).network.program((3, 16, 16), "float32")
    config = Adapter(network("residual"), views=2, reliable=0.0, accumulation=1).config
    images = torch.randn(2 * 2 * 3, 3, 16, 16)
    found = []
    for at_a_time in (0, 1, 2):
        step = Step(program, config, 2, at_a_time)
        found.append(step.learn(images, step.initial_state(), views=3))
    for logits, state in found[1:]:
        torch.testing.assert_close(logits, found[0][0], rtol=1e-4, atol=1e-5)
        for key, value in found[0][1].items():
            torch.testing.assert_close(state[key], value, rtol=1e-4, atol=2e-5)


def test_parts_and_together_are_inverse_and_hold_the_views_of_every_frame() -> None:
    images = torch.arange(2 * 5)[:, None]
    parts = apart.parts(images, 5, 2)
    assert [part.flatten().tolist() for part in parts] == [[0, 1, 5, 6], [2, 3, 7, 8], [4, 9]]
    torch.testing.assert_close(apart.together(parts, 2), images)


def test_what_waits_for_the_backward_pass_is_that_of_one_view() -> None:
    def kept(views: int, at_a_time: int) -> int:
        adapter = Adapter(network("residual"), views=views, views_at_a_time=at_a_time)
        images = torch.randn(1, 3, 32, 32)
        adapter(images)
        program = adapter.prepare((3, 32, 32)).program
        there = [*program.tensors(), *adapter.state.values()]
        addresses = {t.untyped_storage().data_ptr() for t in there}
        return saved_bytes(lambda: adapter(images), addresses)

    alone, one, two = kept(0, 0), kept(3, 1), kept(3, 2)
    assert kept(3, 0) > 3 * alone
    assert one < 1.1 * alone
    assert 1.5 * alone < two < 2.2 * alone


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("host", "eata"),
        ("host", "sar"),
        ("host", "delta"),
        ("calibration", "running"),
        ("gradient", "proxy"),
        ("taylor", "affine"),
        ("loss_over", "frame"),
        ("statistics_over", "frame"),
    ],
)
def test_views_that_depend_on_one_another_are_refused(field: str, value: str) -> None:
    options = {"diversity": 0.0, "views": 3, field: value}
    with pytest.raises(ConfigError, match=f"with {field} = '{value}' they do; set {field} = "):
        Adapter(network("plain"), views_at_a_time=2, **options)  # type: ignore[arg-type]
    Adapter(network("plain"), views_at_a_time=4, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [-1, 1.5, True])
def test_numbers_of_views_are_whole(value: object) -> None:
    with pytest.raises(ConfigError, match="views_at_a_time must be a whole number from 0"):
        Adapter(network("plain"), views_at_a_time=value)  # type: ignore[arg-type]
