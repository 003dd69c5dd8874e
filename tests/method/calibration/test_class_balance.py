"""What a stream shows: shares of chance, believed frequencies, rarity, and the diversity term."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from edge_tta.config import MethodConfig, make_config
from edge_tta.errors import ConfigError
from edge_tta.method import content, hosts
from edge_tta.method.content import Content
from edge_tta.method.hosts import Judged
from edge_tta.method.state import State
from edge_tta.method.step import Step, contents
from tests.adapters import MARGINS, shared
from tests.method.shown import OneContent

CLASSES = 5
CONFIG = MethodConfig(calibration="anchored", smoothing=0.95, lasting_smoothing=0.998)


def _run(labels: list[int], config: MethodConfig = CONFIG, classes: int = CLASSES) -> Content:
    """Contents after certain predictions, of which both statistics are plain averages."""
    held = content.unknown(classes, torch.zeros((), dtype=torch.float64))
    for t, label in enumerate(labels):
        p = torch.eye(classes, dtype=torch.float64)[label]
        weight = torch.full((1,), 1 / (t + 1), dtype=torch.float64)
        held = content.updated(held, p, (weight, weight), torch.tensor(t), config)
    return held


def _labels(count: int, seed: int, classes: int = CLASSES) -> list[int]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(classes, (count,), generator=generator).tolist()


def _believed(held: Content, steps: int, doubt: float, config: MethodConfig = CONFIG) -> Tensor:
    return content.believed_frequency(held, torch.tensor(steps), config, doubt)


@pytest.mark.parametrize("n", [5, 20, 100])
def test_share_is_on_average_one_nth_for_n_frames_in_random_order(n: int) -> None:
    found = [float(content.share_of_lasting(_run(_labels(n, seed)))) for seed in range(200)]
    assert sum(found) / len(found) == pytest.approx(1 / n, rel=0.15)


@pytest.mark.parametrize("n", [2, 50])
def test_share_is_one_in_a_run_of_one_class(n: int) -> None:
    held = _run([3] * n)
    # The variety starts at one, which counts as a frame of the running mean.
    seen = 1 - 1 / CLASSES
    variety = (1 + n * seen) / (n + 1)
    assert float(held.variety) == pytest.approx(variety)
    assert float(content.share_of_lasting(held)) == pytest.approx(seen / variety)


def test_share_of_the_recent_is_of_their_distance_from_what_is_believed_of_the_lasting() -> None:
    held = _run(_labels(50, 0))
    held = held._replace(recent=torch.eye(CLASSES, dtype=torch.float64)[2])
    trust = torch.tensor([0.0, 0.3, 1.0], dtype=torch.float64)
    uniform = torch.full_like(held.recent, 1 / CLASSES)
    wanted = [
        float((held.recent - uniform - part * (held.lasting - uniform)).square().sum())
        / float(held.variety)
        for part in trust
    ]
    assert content.share_of_recent(held, trust).tolist() == pytest.approx(wanted)
    assert wanted[0] == pytest.approx(0.8 / float(held.variety))


def test_recent_equal_to_lasting_hold_nothing_more_once_those_are_believed() -> None:
    held = _run([3] * 40)
    torch.testing.assert_close(held.recent, held.lasting)
    never, wholly = content.share_of_recent(held, torch.tensor([0.0, 1.0])).tolist()
    assert never == pytest.approx(float(content.share_of_lasting(held)))
    assert wholly == pytest.approx(0, abs=1e-12)


def test_predictions_are_the_same_in_a_run_of_one_class_and_not_in_random_order() -> None:
    assert float(content.sameness(_run([3] * 400))) > 0.99
    found = [float(content.sameness(_run(_labels(200, seed)))) for seed in range(50)]
    assert sum(found) / len(found) == pytest.approx(1 / 200, rel=0.3)


def test_frequency_is_the_mean_prediction_then_the_exponential_one() -> None:
    labels = _labels(30, 1)
    counts = [labels.count(k) / 30 for k in range(CLASSES)]
    wanted = torch.tensor(counts, dtype=torch.float64)
    torch.testing.assert_close(_run(labels).frequency, wanted, rtol=1e-5, atol=1e-6)
    fast = dataclasses.replace(CONFIG, lasting_smoothing=0.5)
    frequency = _run([0, 0, 1, 2], fast, 3).frequency
    torch.testing.assert_close(frequency, torch.tensor([0.25, 0.25, 0.5], dtype=torch.float64))


@pytest.mark.parametrize("doubt", [0.0, 2.0, 20.0])
@pytest.mark.parametrize("smoothing", [0.9, 0.998])
def test_believed_frequency_equals_the_definition(smoothing: float, doubt: float) -> None:
    config = dataclasses.replace(CONFIG, lasting_smoothing=smoothing)
    fast = content.unknown(CLASSES, torch.zeros((), dtype=torch.float64))
    slow, generator = OneContent(config, CLASSES), torch.Generator().manual_seed(0)
    moved = 0.0
    for t in range(80):
        logits = torch.randn(CLASSES, generator=generator, dtype=torch.float64)
        logits[0 if t > 30 else t % CLASSES] += 4
        p = logits.softmax(0)
        weights = torch.full((1,), 0.1, dtype=torch.float64), torch.full((1,), 0.01).double()
        fast = content.updated(fast, p, weights, torch.tensor(t), config)
        slow.update(t, p.tolist(), 0.1, 0.01)
        found = _believed(fast, t + 1, doubt, config)
        wanted = torch.tensor(slow.believed(t + 1, doubt), dtype=torch.float64)
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
        assert float(found.sum()) == pytest.approx(1)
        moved = max(moved, float(found[0]) * CLASSES)
    assert moved > 1.25


@pytest.mark.parametrize("count", [10, 100, 2000])
def test_frequency_stays_about_uniform_in_random_order(count: int) -> None:
    gaps, raw = [], []
    for seed in range(20):
        held = _run(_labels(count, seed))
        believed = _believed(held, count, 0.0)
        gaps.append(float((believed - 1 / CLASSES).square().sum()))
        raw.append(float((held.frequency - 1 / CLASSES).square().sum()))
    # Most of what chance did is taken away, often all of it.
    assert sum(gaps) < 0.35 * sum(raw)
    assert sum(gap == 0 for gap in gaps) >= len(gaps) // 3


def test_frequency_is_uniform_before_the_first_frame_and_after_one() -> None:
    uniform = torch.full((CLASSES,), 1 / CLASSES, dtype=torch.float64)
    torch.testing.assert_close(_believed(_run([]), 0, 2.0), uniform)
    # One frame is of one class always.
    torch.testing.assert_close(_believed(_run([1]), 1, 2.0), uniform)


@pytest.mark.parametrize("doubt", [content.FRAMES_OF_DOUBT, content.FRAMES_OF_DOUBT_IN_LOSS])
def test_frequency_moves_to_the_class_of_a_run_the_later_the_more_it_is_doubted(
    doubt: float,
) -> None:
    found = [float(_believed(_run([1] * n), n, doubt)[1]) for n in (1, 5, 20, 100, 400)]
    assert found == sorted(found)
    assert found[-1] > 2.5 * found[0]
    # Seen as n frames of this class beside `doubt` of each.
    assert found[-1] == pytest.approx((400 + doubt) / (400 + CLASSES * doubt), rel=0.01)


def test_a_class_that_is_shown_more_often_is_known_to_be() -> None:
    labels = [0 if label < CLASSES else label - CLASSES for label in _labels(1000, 3, 2 * CLASSES)]
    held = _run(labels)
    believed = _believed(held, 1000, content.FRAMES_OF_DOUBT)
    torch.testing.assert_close(believed, held.frequency, rtol=0, atol=0.03)
    assert float(believed[0]) > 0.5


def test_rarity_is_one_for_classes_no_more_frequent_than_others_else_the_inverse() -> None:
    frequency = torch.tensor([0.6, 0.2, 0.1, 0.1, 0.0])
    found = content.rarity(torch.eye(CLASSES), frequency)
    torch.testing.assert_close(found, torch.tensor([1 / (CLASSES * 0.6), 1, 1, 1, 1]))


def test_rarity_of_any_prediction_is_above_zero_and_at_most_one() -> None:
    generator = torch.Generator().manual_seed(0)
    for sharpness in (0.1, 1.0, 30.0):
        p, frequency = (
            (sharpness * torch.randn((500, CLASSES), generator=generator)).softmax(-1)
            for _ in range(2)
        )
        found = content.rarity(p, frequency)
        # The weight of a prediction is that of the frequency it expects.
        expected = torch.einsum("nk,sk->sn", p, frequency)
        torch.testing.assert_close(found, (1 / (CLASSES * expected)).clamp(max=1))
        assert float(found.min()) >= (1 - 1e-5) / CLASSES
        assert float(found.max()) <= 1


def test_streams_together_have_the_contents_of_each_alone() -> None:
    streams = [_labels(40, 0), [2] * 40, [0] * 20 + _labels(20, 1)]
    together = Content(*(part.expand(3, *part.shape) for part in _run([])))
    for t, labels in enumerate(zip(*streams, strict=True)):
        p = torch.eye(CLASSES, dtype=torch.float64)[list(labels)]
        weight = torch.full((3, 1), 1 / (t + 1), dtype=torch.float64)
        together = content.updated(together, p, (weight, weight), torch.full((3,), t), CONFIG)
    alone = [_run(labels) for labels in streams]
    for name, found in together._asdict().items():
        torch.testing.assert_close(found, torch.stack([getattr(one, name) for one in alone]))
    believed = content.believed_frequency(together, torch.full((3,), 40), CONFIG, 2.0)
    torch.testing.assert_close(believed, torch.stack([_believed(one, 40, 2.0) for one in alone]))


class Loss:
    """The loss of a host within NanoAdapt on given logits, after a stream of mostly class 1."""

    def __init__(self, host: str = "tent", **options: Any) -> None:
        margins = MARGINS.get(host, {})
        program = shared("used-twice").program((3, 8, 8))
        self.step = Step(
            program, make_config("nanoadapt", host, **{"reliable": 0.0, **margins, **options})
        )
        state = self.step.initial_state()
        classes = len(state["content.frequency"])
        frequency = torch.full((classes,), 0.1)
        frequency[1] = 1.1 - 0.1 * classes
        variety = torch.tensor(0.5)
        self.state: State = {
            **state,
            "content.frequency": frequency,
            "content.variety": variety,
            "steps": torch.tensor(200),
        }
        self.logits = 1.5 * torch.randn((6, classes), generator=torch.Generator().manual_seed(2))
        slow = OneContent(self.step.config, classes)
        slow.frequency, slow.variety = frequency.tolist(), float(variety)
        self.frequency = slow.believed(200, content.FRAMES_OF_DOUBT_IN_LOSS)
        assert self.frequency[1] > 0.4

    def losses(self, logits: Tensor) -> tuple[Tensor, Judged]:
        """(n,), and the host's answer."""
        judged = self.step._judged(logits, 1)
        found = hosts.BY_NAME[self.step.config.host].judge(judged, self.state, self.step.config)
        return self.step._losses(
            judged, found, self.step._weights(judged, self.state, frames=1)
        ), found

    def rarity(self, p: Tensor) -> float:
        """Of a prediction, by loops."""
        expected = sum(a * f for a, f in zip(p.tolist(), self.frequency, strict=True))
        return min(1.0, 1 / (len(self.frequency) * expected))


def test_the_loss_is_rarity_times_the_weighted_entropy_plus_the_mean_log_frequency() -> None:
    loss = Loss()
    found, _ = loss.losses(loss.logits)
    for value, row in zip(found, loss.logits, strict=True):
        p = row.softmax(0)
        entropy = -sum(x * math.log(x) for x in p.tolist())
        term = sum(x * math.log(f) for x, f in zip(p.tolist(), loss.frequency, strict=True))
        wanted = loss.rarity(p) * (min(1 / entropy, 1) * entropy + term)
        assert float(value) == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("diversity", [0.5, 1.0])
def test_gradient_of_the_diversity_term_is_that_of_sum_p_ln_f(diversity: float) -> None:
    gradients = []
    for weight in (diversity, 0.0):
        loss = Loss(diversity=weight)
        logits = loss.logits.clone().requires_grad_()
        loss.losses(logits)[0].sum().backward()
        gradients.append(logits.grad)
    with_term, without = gradients
    assert with_term is not None
    assert without is not None
    logits = loss.logits.clone().requires_grad_()
    total = torch.zeros(())
    for row in logits:
        p = row.exp() / row.exp().sum()
        term = sum((p[k] * math.log(f) for k, f in enumerate(loss.frequency)), torch.zeros(()))
        # Weights are constants for the backward pass.
        total = total + diversity * loss.rarity(p.detach()) * term
    total.backward()
    torch.testing.assert_close(with_term - without, logits.grad, rtol=1e-3, atol=1e-5)


def test_the_diversity_term_lowers_the_frequent_class() -> None:
    loss = Loss()
    logits = torch.zeros_like(loss.logits).requires_grad_()  # there an entropy has no gradient
    loss.losses(logits)[0].sum().backward()
    assert logits.grad is not None
    assert bool((logits.grad[:, 1] > 0).all())
    assert bool((logits.grad[:, [0, 2, 3]] < 0).all())


def test_images_that_the_host_leaves_out_have_no_diversity_term() -> None:
    loss = Loss("eata")
    logits = 2 * loss.logits
    logits[:2] = 0  # beyond the margin of the entropy
    logits.requires_grad_()
    losses, found = loss.losses(logits)
    assert found.kept is not None
    assert found.kept.tolist() == [False] * 2 + [True] * 4
    losses.mean().backward()
    assert logits.grad is not None
    assert bool((logits.grad[:2] == 0).all())
    assert bool((logits.grad[2:] != 0).any(-1).all())


def test_the_diversity_term_is_a_mean_over_the_images_that_count_as_the_hosts_loss_is() -> None:
    gradients = []
    for left_out in (0, 2):
        loss = Loss("eata")
        logits = torch.cat([torch.zeros(left_out, loss.logits.shape[1]), 2 * loss.logits[2:]])
        logits.requires_grad_()
        loss.losses(logits)[0].mean().backward()
        assert logits.grad is not None
        gradients.append(logits.grad[left_out:])
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("reliable", [0.6, 0.8, 0.98])
def test_images_that_are_not_reliable_have_no_loss_and_the_others_their_whole(
    reliable: float,
) -> None:
    loss, every = Loss(reliable=reliable), Loss()
    found, whole = loss.losses(loss.logits)[0], every.losses(loss.logits)[0]
    kept = []
    for row in loss.logits.softmax(-1).tolist():
        entropy = -sum(x * math.log(x) for x in row)
        kept.append(entropy < reliable * math.log(len(row)))
    assert any(kept)
    assert not all(kept)
    torch.testing.assert_close(found, torch.where(torch.tensor(kept), whole, 0.0))


def test_a_stream_of_one_prediction_is_pushed_away_from_it_by_learning() -> None:
    moved = []
    for diversity in (0.0, 1.0):
        program = shared("used-twice").program((3, 8, 8))
        config = make_config(
            "nanoadapt", diversity=diversity, accumulation=1, learning_rate=1e-3, reliable=0.0
        )
        step = Step(program, config)
        state = step.initial_state()
        image = torch.randn((1, 3, 8, 8), generator=torch.Generator().manual_seed(0))
        label = int(step.learn(image, state)[0].argmax())
        for _ in range(60):
            logits, state = step.learn(image, state)
        assert float(contents(state).frequency[label]) > 1 / 4
        moved.append(float(logits.softmax(-1)[0, label]))
    assert moved[1] < moved[0]


@pytest.mark.parametrize("calibration", ["running", "mixed", "renormalised"])
def test_diversity_without_anchored_calibration_is_refused(calibration: str) -> None:
    with pytest.raises(ConfigError, match=r"diversity = 1 needs .*calibration = 'anchored'"):
        MethodConfig(calibration=calibration, diversity=1.0)
    assert MethodConfig(calibration=calibration).diversity == 0
