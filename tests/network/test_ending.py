"""The end of a network: logits are what stands in front of a softmax; one output is two classes."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from edge_tta.network.capture import capture
from edge_tta.network.source import SourceNetwork
from tests.network.test_capture import Source
from tests.networks import Plain, frozen, with_statistics


class Ending(nn.Module):
    """A network whose logits something follows."""

    def __init__(self, end: Callable[[Tensor], Tensor], classes: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net, self.end = with_statistics(Plain(classes)), end

    def forward(self, images: Tensor) -> Tensor:
        return self.end(self.net(images))


def _by_hand(z: Tensor) -> Tensor:
    powers = z.exp()
    return powers / powers.sum(1, keepdim=True)


def _maps(z: Tensor) -> Tensor:
    return z[:, :, None, None].softmax(1).flatten(1)


MANY: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "logits": (lambda z: z, ""),
    "softmax": (lambda z: z.softmax(1), "ends in softmax"),
    "softmax of the last axis": (lambda z: z.softmax(-1), "ends in softmax"),
    "softmax of maps": (_maps, "ends in softmax"),
    "log_softmax": (lambda z: z.log_softmax(1), "ends in log_softmax"),
    "sigmoid": (torch.sigmoid, "ends in sigmoid"),
}
ONE: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "a logit": (lambda z: z, "one output"),
    "without the axis of classes": (lambda z: z.squeeze(1), "one output"),
    "sigmoid": (torch.sigmoid, "ends in sigmoid.*one output"),
    "sigmoid without the axis": (lambda z: z.sigmoid().squeeze(-1), "ends in sigmoid.*one output"),
}


@pytest.mark.parametrize("name", MANY)
def test_logits_are_what_stands_in_front_of_the_end(name: str) -> None:
    end, said = MANY[name]
    model = frozen(Ending(end, 4))
    program = capture(model, (3, 8, 8))
    images = torch.randn(3, 3, 8, 8)
    for n in (1, 3):
        logits = program.run(images[:n], Source(program))
        torch.testing.assert_close(logits, model.net(images[:n]), rtol=1e-4, atol=1e-4)
    assert program.classes == 4
    assert said in program.note
    assert bool(said) == bool(program.note)


def test_probabilities_that_something_else_makes_are_followed_by_their_logarithm() -> None:
    model = frozen(Ending(_by_hand, 4))
    program = capture(model, (3, 8, 8))
    images = torch.randn(3, 3, 8, 8)
    logits = program.run(images, Source(program))
    torch.testing.assert_close(logits.softmax(1), model(images), rtol=1e-4, atol=1e-5)
    assert "probabilities" in program.note


@pytest.mark.parametrize("name", ONE)
def test_one_output_is_class_one_against_class_zero(name: str) -> None:
    end, said = ONE[name]
    model = frozen(Ending(end, 1))
    program = capture(model, (3, 8, 8))
    images = torch.randn(3, 3, 8, 8)
    for n in (1, 3):
        probabilities = program.run(images[:n], Source(program)).softmax(1)
        second = model.net(images[:n]).sigmoid()
        expected = torch.cat([1 - second, second], 1)
        torch.testing.assert_close(probabilities, expected, rtol=1e-4, atol=1e-5)
    assert program.classes == 2
    assert re.search(said, program.note)


def test_a_softmax_that_is_not_the_end_stays() -> None:
    model = frozen(Ending(lambda z: 3 * z.softmax(1), 4))
    program = capture(model, (3, 8, 8))
    images = torch.randn(3, 3, 8, 8)
    torch.testing.assert_close(program.run(images, Source(program)), model(images))
    assert program.note == ""


def test_what_was_done_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    model = Ending(lambda z: z.softmax(1), 4)
    model.net.head.bias.data.uniform_()  # another network than of other tests
    held = SourceNetwork(model, torch.device("cpu"))
    with caplog.at_level(logging.WARNING):
        for saved in ("stock", "float16"):
            held.program((3, 8, 8), saved)
        SourceNetwork(held.copy(), torch.device("cpu")).program((3, 8, 8))
    assert caplog.text.count("ends in softmax") == 1
