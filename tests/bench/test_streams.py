"""Streams that share a batch, against adapters that run alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from bench.error.streams import run_streams
from bench.methods import parse_methods
from bench.orders import Stream
from edge_tta.adapter import Adapter
from edge_tta.errors import ConfigError
from edge_tta.network.frozen import FrozenNetwork
from edge_tta.prepare import InputSpec
from tests.bench.pictures import pictures
from tests.networks import Plain, with_statistics

SPEC = InputSpec(12, 255.0, (0.45, 0.5, 0.4), (0.25, 0.2, 0.3))
STREAMS, LENGTH, CLASSES = 3, 40, 60
FAST = "+accumulation=4+learning_rate=0.05+smoothing=0.7"
"""Ten updates in a stream, large enough to turn predictions."""
METHODS = (
    "source",
    "norm",
    "alpha-bn+alpha=0.4",
    "tent+learning_rate=0.05",
    "tent@scaled+learning_rate=2.0",
    "eata+learning_rate=0.05+entropy_margin=0.99+similarity_margin=0.9",
    "sar+learning_rate=0.05+entropy_margin=0.99+recovery=0.0",
    "delta+learning_rate=0.05",
    f"nanoadapt:eata@paper{FAST}+views=0+taylor=none+entropy_margin=1+similarity_margin=1",
    f"nanoadapt:sar@paper{FAST}+views=0+taylor=none+entropy_margin=1",
    f"nanoadapt:delta@paper{FAST}+views=2+taylor=none",
    "nanoadapt:norm@paper+smoothing=0.5",
    f"nanoadapt:tent@paper{FAST}+views=0+taylor=none+gradient=constant",
    f"nanoadapt:tent@paper{FAST}+views=2+taylor=none",
    f"nanoadapt:tent@paper{FAST}",
)
CAUTIOUS = ("nanoadapt:norm", "nanoadapt:tent", f"nanoadapt:tent{FAST}+views=2")
"""What measures best may predict as the source does on streams as short as these."""
# Two corruptions; no picture is in two streams, so that labels can be each stream's predictions.
PICTURES = [pictures(seed, STREAMS * LENGTH, SPEC.size) for seed in (1, 2)]
_RNG = np.random.default_rng(0)
ORDERS = [
    Stream(_RNG.integers(0, 2, LENGTH), start + _RNG.permutation(LENGTH))
    for start in range(0, STREAMS * LENGTH, LENGTH)
]

Array = npt.NDArray[Any]


@pytest.fixture(scope="module")
def shared() -> FrozenNetwork:
    torch.manual_seed(0)
    return Adapter(with_statistics(Plain(CLASSES))).network


def _alone(shared: FrozenNetwork, method: str, stream: Stream, batch_size: int) -> Array:
    """Predictions (frames,) of an adapter of its own."""
    (config,) = parse_methods(method).values()
    fields = config.as_dict()
    # The form of the network that streams run; the lean one rounds otherwise.
    adapter = Adapter(
        shared, fields.pop("method"), fields.pop("host"), input_spec=SPEC, saved="stock", **fields
    )
    assert adapter.config == config
    predicted: list[int] = []
    for start in range(0, LENGTH, batch_size):
        window = slice(start, start + batch_size)
        frames = [
            PICTURES[c][p]
            for c, p in zip(stream.corruption[window], stream.picture[window], strict=True)
        ]
        predicted += adapter(SPEC.normalise(np.stack(frames))).argmax(1).tolist()
    return np.array(predicted)


def _labels_of(shared: FrozenNetwork, method: str, batch_size: int) -> Array:
    """Labels with which an adapter alone makes no mistake."""
    labels = np.full(STREAMS * LENGTH, -1)
    for stream in ORDERS:
        labels[stream.picture] = _alone(shared, method, stream, batch_size)
    assert labels.min() >= 0
    return labels


def _run(
    shared: FrozenNetwork,
    method: str,
    labels: Array,
    batch_size: int,
    advance: Callable[[int], None] = lambda frames: None,
) -> Array:
    """Wrong flags (streams, frames)."""
    (config,) = parse_methods(method).values()
    program = shared.program((3, SPEC.size, SPEC.size))
    wrong = run_streams(program, config, SPEC, PICTURES, labels, ORDERS, batch_size, advance)
    return np.array(wrong)


@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("method", [*METHODS, *CAUTIOUS])
def test_a_shared_batch_predicts_as_an_adapter_alone(
    method: str, batch_size: int, shared: FrozenNetwork
) -> None:
    labels = _labels_of(shared, method, batch_size)
    assert not _run(shared, method, labels, batch_size).any()
    other = np.random.default_rng(1).random(labels.shape) < 0.5
    found = _run(shared, method, labels + other, batch_size)
    np.testing.assert_array_equal(found, [other[stream.picture] for stream in ORDERS])


def test_the_methods_compared_here_do_differ(shared: FrozenNetwork) -> None:
    """Else the tests above could not fail."""
    labels = {method: _labels_of(shared, method, 3) for method in METHODS}
    for method in METHODS:
        for other in METHODS:
            assert (labels[method] != labels[other]).any() == (method != other), (method, other)


def test_a_method_that_needs_source_images_is_refused(shared: FrozenNetwork) -> None:
    with pytest.raises(ConfigError, match="fisher_weight needs images of the source"):
        _run(shared, "eata+fisher_weight=1.0", np.zeros(STREAMS * LENGTH, int), 1)


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_progress_adds_up_to_all_frames(batch_size: int, shared: FrozenNetwork) -> None:
    done: list[int] = []
    _run(shared, "norm", np.zeros(STREAMS * LENGTH, int), batch_size, done.append)
    assert sum(done) == STREAMS * LENGTH


def test_more_streams_than_a_batch_may_hold_run_in_parts(
    shared: FrozenNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = _labels_of(shared, "norm", 1)
    monkeypatch.setattr("bench.error.streams.VALUES_AT_ONCE", 2 * 3 * SPEC.size**2)
    assert not _run(shared, "norm", labels, 1).any()
