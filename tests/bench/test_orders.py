"""Orders of streams."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from bench.corruptions import UP_AND_DOWN
from bench.orders import Order, Stream, drift_steps, make_streams, parse_order, runs
from edge_tta.errors import ConfigError

LABELS = np.random.default_rng(0).integers(0, 4, 50)
ORDERS = (  # but `natural`, which nothing is drawn for
    "iid",
    "correlated:1",
    "correlated:7",
    "correlated:1000",
    "continual",
    "mixed",
    "drift",
)
every_order = pytest.mark.parametrize("text", ORDERS)


def _streams(text: str, seed: int = 0) -> list[Stream]:
    return make_streams(parse_order(text), LABELS, 3, seed)


@every_order
def test_an_order_is_written_as_it_was_read(text: str) -> None:
    assert str(parse_order(text)) == text


@pytest.mark.parametrize(
    "text",
    ["", "IID", "correlated", "correlated:", "correlated:0", "correlated:-3", "iid:3", "still"],
)
def test_other_orders_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="correlated:L"):
        parse_order(text)


@every_order
def test_every_picture_of_every_corruption_comes_exactly_once(text: str) -> None:
    streams = _streams(text)
    seen = [
        pair
        for stream in streams
        for pair in zip(stream.corruption.tolist(), stream.picture.tolist(), strict=True)
    ]
    assert sorted(seen) == list(itertools.product(range(3), range(len(LABELS))))


@every_order
def test_the_same_seed_gives_the_same_order_and_another_one_another(text: str) -> None:
    one, again, other = _streams(text), _streams(text), _streams(text, seed=1)
    for a, b, c in zip(one, again, other, strict=True):
        np.testing.assert_array_equal(a.picture, b.picture)
        np.testing.assert_array_equal(a.corruption, b.corruption)
        assert not np.array_equal(a.picture, c.picture)


@every_order
def test_no_two_corruptions_come_in_the_same_order(text: str) -> None:
    streams = _streams(text)
    pictures = np.concatenate([stream.picture for stream in streams])
    which = np.concatenate([stream.corruption for stream in streams])
    orders = {tuple(pictures[which == corruption]) for corruption in range(3)}
    assert len(orders) == 3


@pytest.mark.parametrize("text", ["iid", "correlated:7"])
def test_streams_that_are_reset_hold_one_corruption_each(text: str) -> None:
    streams = _streams(text)
    assert [set(stream.corruption.tolist()) for stream in streams] == [{0}, {1}, {2}]


def test_continual_is_one_stream_of_one_corruption_after_another() -> None:
    (stream,) = _streams("continual")
    np.testing.assert_array_equal(stream.corruption, np.repeat([0, 1, 2], len(LABELS)))
    np.testing.assert_array_equal(
        stream.picture, np.concatenate([part.picture for part in _streams("iid")])
    )


def test_drift_is_one_stream_of_one_corruption_after_another_step_by_step() -> None:
    (stream,) = _streams("drift")
    np.testing.assert_array_equal(stream.corruption, np.repeat([0, 1, 2], len(LABELS)))
    for corruption in range(3):
        steps = drift_steps(len(LABELS), corruption)
        shown = steps[stream.picture[stream.corruption == corruption]]
        assert (np.diff(shown) >= 0).all()
        assert set(shown) == set(range(len(UP_AND_DOWN)))


def test_the_steps_of_drift_have_equally_many_pictures_of_all_kinds() -> None:
    steps = drift_steps(900, 2)
    assert (np.bincount(steps) == 100).all()
    assert abs(np.corrcoef(np.arange(900), steps)[0, 1]) < 0.1  # sets are often sorted by class


def test_mixed_is_one_stream_over_all_corruptions() -> None:
    (stream,) = _streams("mixed")
    changes = np.count_nonzero(np.diff(stream.corruption))
    assert changes > len(stream.corruption) / 2  # two of three neighbours differ, on average


@pytest.mark.parametrize("length", [1, 5, 7, 50])
def test_classes_come_in_runs_of_the_length_asked_for(length: int) -> None:
    """Runs of one class may follow each other, so a block's length is a sum of runs."""
    order = runs(LABELS, length, np.random.default_rng(3))
    assert sorted(order) == list(range(len(LABELS)))
    rests = {label: np.count_nonzero(label == LABELS) % length for label in range(4)}
    blocks = [(int(k), len(list(g))) for k, g in itertools.groupby(LABELS[order].tolist())]
    for label, rest in rests.items():
        rests = [size % length for k, size in blocks if k == label]
        assert sorted(rests)[:-1] == [0] * (len(rests) - 1)
        assert max(rests) == rest


def test_runs_come_in_random_order() -> None:
    labels = np.repeat(np.arange(6), 5)
    firsts = {tuple(labels[runs(labels, 5, np.random.default_rng(s))][::5]) for s in range(10)}
    assert len(firsts) > 5


def test_equal_orders_are_equal() -> None:
    assert parse_order("correlated:30") == Order("correlated", 30) != parse_order("correlated:3")


def test_each_picture_stands_still_for_as_long_as_asked() -> None:
    assert str(parse_order("still:4")) == "still:4"
    for stream in _streams("still:4"):
        shown = stream.picture.reshape(-1, 4)
        assert (shown == shown[:, :1]).all()
        assert sorted(shown[:, 0]) == list(range(len(LABELS)))


def test_natural_is_as_recorded_whatever_the_seed() -> None:
    assert str(parse_order("natural")) == "natural"
    assert parse_order("natural").resets
    for seed in (0, 1):
        streams = _streams("natural", seed)
        assert [set(stream.corruption.tolist()) for stream in streams] == [{0}, {1}, {2}]
        for stream in streams:
            np.testing.assert_array_equal(stream.picture, np.arange(len(LABELS)))
