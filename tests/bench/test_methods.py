"""Methods as `bench` names them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bench.methods import every_of, is_filtered, is_guarded, parse_methods, predictor_of
from edge_tta.adapter import Adapter
from edge_tta.config import make_config
from edge_tta.errors import ConfigError
from edge_tta.temporal import ClassFilter, Filtered
from edge_tta.temporal.class_filter import PRIOR_FRAMES, SOURCE_PRIOR_FRAMES
from tests.networks import network


def test_plain_names_are_the_methods_in_the_order_given() -> None:
    methods = parse_methods(" tent, source ,norm,nanoadapt,nanoadapt:norm ")
    assert list(methods) == ["tent", "source", "norm", "nanoadapt", "nanoadapt:norm"]
    assert methods["tent"] == make_config("tent")
    assert methods["nanoadapt"] == make_config("nanoadapt", "tent", "edge")
    assert methods["nanoadapt:norm"] == make_config("nanoadapt", "norm", "edge")


def test_a_method_without_a_preset_takes_the_one_for_all() -> None:
    methods = parse_methods("nanoadapt:tent,nanoadapt:tent@edge", "paper")
    assert methods["nanoadapt:tent"] == make_config("nanoadapt", preset="paper")
    assert methods["nanoadapt:tent@edge"] == make_config("nanoadapt", preset="edge")


def test_a_preset_may_be_a_file(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text("[calibration]\nsmoothing = 0.5\n")
    (config,) = parse_methods(f"nanoadapt:tent@{file}").values()
    assert config.calibration.smoothing == 0.5


def test_fields_win_over_the_preset_and_keep_their_type() -> None:
    text = "nanoadapt:tent@paper+smoothing=0.95+views=2+taylor=none+learning_rate=1e-2"
    config = parse_methods(text)[text]
    expected = make_config(
        preset="paper", smoothing=0.95, views=2, taylor="none", learning_rate=1e-2
    )
    assert config == expected


def test_a_field_with_several_values_is_a_method_each() -> None:
    methods = parse_methods("nanoadapt+views=0|2+smoothing=0.9|0.99,norm")
    assert list(methods) == [
        "nanoadapt+views=0+smoothing=0.9",
        "nanoadapt+views=0+smoothing=0.99",
        "nanoadapt+views=2+smoothing=0.9",
        "nanoadapt+views=2+smoothing=0.99",
        "norm",
    ]
    assert methods["nanoadapt+views=2+smoothing=0.99"] == make_config(views=2, smoothing=0.99)


def test_an_ablation_is_the_host_and_the_paper_s_parts_one_by_one() -> None:
    methods = parse_methods("source,ablation:tent,tent")
    assert list(methods) == [
        "source", "tent", "tent+DBC", "tent+EWGA", "tent+DBC+EWGA", "tent+DBC+EWGA+PCG",
    ]  # fmt: skip
    paper = make_config("nanoadapt", "tent", "paper")
    m, lr = paper.calibration.smoothing, paper.optimizer.learning_rate
    assert methods["tent"] == make_config("tent")
    assert methods["tent+DBC+EWGA+PCG"] == paper
    for label, config in methods.items():
        if label.startswith("tent"):
            calibration, optimizer = config.calibration, config.optimizer
            assert (calibration.smoothing == m) == ("DBC" in label)
            assert (calibration.smoothing > 0) == ("DBC" in label)
            ewga = optimizer.accumulation > 1 and config.loss.weighting == "ewga"
            assert ewga == ("EWGA" in label)
            pcg = calibration.gradient == "proxy" and config.views.count > 0
            assert pcg == ("PCG" in label)
            assert optimizer.learning_rate == lr


def test_a_host_that_does_not_train_has_dbc_only() -> None:
    methods = parse_methods("ablation:norm")
    assert methods == {
        "norm": make_config("norm"),
        "norm+DBC": make_config("nanoadapt", "norm", "paper"),
    }


@pytest.mark.parametrize(
    ("method", "batch"), [("tent", 200), ("eata", 64), ("sar", 16), ("delta", 64)]
)
def test_scaled_is_the_published_rate_for_its_batch_and_a_share_below(
    method: str, batch: int
) -> None:
    methods = parse_methods(f"{method},{method}@scaled,{method}@scaled+alpha=0.2")
    plain, scaled, other = methods.values()
    assert plain == make_config(method)
    assert plain.optimizer.reference_batch == 0
    assert scaled == make_config(method, reference_batch=batch)
    assert other == make_config(method, reference_batch=batch, alpha=0.2)


def test_sar_scaled_to_one_frame_takes_the_rate_that_its_authors_do() -> None:
    (scaled,) = parse_methods("sar@scaled").values()
    table = scaled.optimizer
    assert table.learning_rate / table.reference_batch == pytest.approx(1.5625e-5)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no method given"),
        (" , ,", "no method given"),
        ("tnet", "unknown method 'tnet'"),
        ("nanoadapt:tnet", "unknown host 'tnet'; expected one of"),
        ("norm@scaled", "only tent, eata, sar, delta have a published learning rate"),
        ("nanoadapt@scaled", "unknown preset 'scaled'"),
        ("nanoadapt@gone", "unknown preset 'gone'"),
        ("nanoadapt+smooth=0.9", "smooth; did you mean smoothing"),
        ("nanoadapt+views", "is not understood"),
        ("nanoadapt+views=many", "views must be a whole number"),
        ("nanoadapt+views=", "views must be a whole number"),
        ("nanoadapt+views=0|9", "views must be a whole number"),
        ("nanoadapt+smoothing=1.5", "smoothing"),
        ("nanoadapt+every=1", "takes a whole number from 2"),
        ("nanoadapt+every=few", "takes a whole number from 2"),
        ("nanoadapt+every=4+guard", "and no .guard"),
        ("tent+preset=paper", "preset"),
        ("nanoadapt+method=tent", "method"),
        ("nanoadapt+host=norm", "host"),
        ("ablation", "unknown host in 'ablation:'"),
        ("ablation:source", "expected one of norm, tent"),
        ("ablation:tent+views=2", "unknown host"),
    ],
)
def test_what_is_not_understood_is_told(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parse_methods(text)


def test_guard_and_filter_stand_around_a_method_and_change_nothing_in_it() -> None:
    methods = parse_methods(
        "source+filter,nanoadapt:tent+guard+filter,nanoadapt:tent+smoothing=0.9"
    )
    labels = list(methods)
    assert [is_filtered(label) for label in labels] == [True, True, False]
    assert [is_guarded(label) for label in labels] == [False, True, False]
    assert methods[labels[0]] == make_config("source")
    assert methods[labels[1]] == make_config("nanoadapt", "tent")


@pytest.mark.parametrize(
    ("label", "frames"),
    [
        ("source+filter", SOURCE_PRIOR_FRAMES),
        ("source+every=3+filter", SOURCE_PRIOR_FRAMES),
        ("norm+filter", PRIOR_FRAMES),
        ("nanoadapt:tent+guard+filter", PRIOR_FRAMES),
    ],
)
def test_preferences_of_the_source_are_learned_sooner(label: str, frames: float) -> None:
    images = torch.randn((8, 1, 3, 12, 12), generator=torch.Generator().manual_seed(0))
    predict, _ = predictor_of(Adapter(network("plain"), label.partition("+")[0]), label)
    assert isinstance(predict, Filtered)
    by_filter: ClassFilter | None = None
    for image in images:
        answer, raw = predict(image), predict.raw[0].numpy()
        by_filter = by_filter or ClassFilter(len(raw), frames)
        expected = by_filter.update(raw, novelty=predict.novelty).p
        torch.testing.assert_close(answer[0].exp(), torch.from_numpy(expected))


def test_a_schedule_adapts_on_every_so_many_frames_and_predicts_the_others() -> None:
    methods = parse_methods("norm+every=3,norm+every=2|4+filter,norm")
    assert [every_of(label) for label in methods] == [3, 2, 4, 1]
    assert set(methods.values()) == {make_config("norm")}
    images = torch.randn((8, 1, 3, 12, 12), generator=torch.Generator().manual_seed(0))
    adapter, expected = (Adapter(network("plain"), "norm", smoothing=0.9) for _ in range(2))
    scheduled, guard = predictor_of(adapter, "norm+every=3")
    assert guard is None
    for place, image in enumerate(images):
        wanted = expected.predict(image) if place % 3 else expected(image)
        assert torch.equal(scheduled(image), wanted)
    assert adapter.steps == 3
    scheduled.reset()  # type: ignore[attr-defined]
    scheduled(images[0])
    assert adapter.steps == 1
