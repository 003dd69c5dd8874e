"""The tables of a configuration: ranges, words, and fields that contradict one another."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from edge_tta.config import LayersConfig, LossConfig, MethodConfig, make_config
from edge_tta.config.fields import PLACES, TABLES, from_dict, from_fields, to_fields
from edge_tta.errors import ConfigError

NAMES = ("method", "host", "adapt_from")
"""Fields of words that have no list of choices in their table."""


def _config(**fields: Any) -> MethodConfig:
    return from_fields({"method": "nanoadapt", "host": "tent", **fields})


def test_every_field_of_every_table_has_a_name_of_its_own() -> None:
    fields = {
        (table, field.name)
        for table, record in TABLES.items()
        for field in dataclasses.fields(record)
    }
    assert set(PLACES.values()) == fields
    assert len(PLACES) == len(fields)


def test_a_configuration_is_the_same_after_a_file_and_after_its_flat_names() -> None:
    config = make_config("nanoadapt:eata", preset="paper", train="affine+conv", seed=3)
    assert from_dict(config.as_dict()) == config
    assert from_fields(to_fields(config)) == config


@pytest.mark.parametrize(
    ("name", "inside", "outside"),
    [
        ("smoothing", [0, 0.5, 1], [-0.01, 1.01, float("inf"), None, "1"]),
        ("lasting_smoothing", [0, 0.5, 1], [-0.01, 1.01, float("nan")]),
        ("prior_frames", [0, 1e6], [-1, float("inf")]),
        ("anchor", [0, 50], [-0.1, float("inf")]),
        ("recent_anchor", [0, 50], [-0.1, float("inf")]),
        ("dead_zone", [0, 50], [-0.1, float("inf")]),
        ("tracking_rate", [0, 1], [-0.01, 1.01]),
        ("learning_rate", [1e-9, 10], [-1e-9, float("inf"), float("nan")]),
        ("alpha", [0, 1], [-0.01, 1.01]),
        ("reliable_below", [0, 2.0], [-0.1, float("inf"), "low"]),
        ("reference_batch", [0, 64], [-1, 64.0]),
        ("accumulation", [1, 1_000_000], [0, -1, 1_000_001, 2.0, True]),
        ("forgetting", [0, 1], [-0.01, 1.01, float("nan")]),
        ("depth", [0, 0.5, 1_000_000], [-1, -0.5, 1.0, 1.5, True]),
        ("views", [0, 5], [-1, 6, 2.0]),
        ("seed", [0, 2**63 - 1], [-1, 2**63, 0.5]),
    ],
)
def test_ranges_hold_to_their_ends_and_no_farther(
    name: str, inside: list[Any], outside: list[Any]
) -> None:
    for value in inside:
        assert to_fields(_config(**{name: value}))[name] == value
    for value in outside:
        with pytest.raises(ConfigError, match=f"^{name} must be"):
            _config(**{name: value})


@pytest.mark.parametrize(
    ("depth", "layers", "trained"),
    [(0, 9, 0), (0.5, 9, 5), (0.5, 1, 1), (0.07, 100, 7), (0.28, 25, 7), (3, 9, 3), (12, 9, 9)],
)
def test_a_depth_is_a_number_of_layers_or_a_share_of_them(
    depth: float, layers: int, trained: int
) -> None:
    assert LayersConfig(depth=depth).trained(layers) == trained


@pytest.mark.parametrize(
    "name",
    [n for n, v in to_fields(MethodConfig()).items() if isinstance(v, str) and n not in NAMES],
)
def test_a_field_of_words_refuses_another_word_and_names_the_known(name: str) -> None:
    default = to_fields(MethodConfig())[name]
    with pytest.raises(ConfigError, match=f"{name} must be one of .*{default}"):
        _config(**{name: "nonsense"})


def test_weights_of_the_loss_are_not_below_zero() -> None:
    for name in ("diversity", "fisher_weight"):
        for value in (-0.1, float("inf"), float("nan")):
            with pytest.raises(ConfigError, match=f"^{name} must be a number from 0"):
                LossConfig(**{name: value})


def test_layers_below_are_calibrated_only_where_there_are_any() -> None:
    with pytest.raises(ConfigError, match="adapt_from, which is not given"):
        LayersConfig(calibrate_below=True)
    with pytest.raises(ConfigError, match="true or false"):
        LayersConfig(adapt_from="bn1", calibrate_below=1)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="a layer's name, got 3"):
        LayersConfig(adapt_from=3)  # type: ignore[arg-type]
    assert _config(adapt_from="bn1").folded_below == "bn1"
    assert _config(adapt_from="bn1", calibrate_below=True).folded_below == ""


@pytest.mark.parametrize("taylor", ["conv", "affine+conv"])
def test_a_taylor_term_of_frozen_convolutions_is_refused(taylor: str) -> None:
    with pytest.raises(ConfigError, match=r"needs train = 'affine\+conv'"):
        _config(train="affine", taylor=taylor)
    assert _config(train="affine+conv", taylor=taylor).calibration.taylor == taylor


@pytest.mark.parametrize("calibration", ["mixed", "source"])
def test_statistics_without_a_history_cannot_be_shifted(calibration: str) -> None:
    with pytest.raises(ConfigError, match="taylor = 'affine' shifts running statistics"):
        make_config("nanoadapt:tent", preset="paper", calibration=calibration)


def test_a_first_frame_s_statistics_are_refused_where_calibration_begins_with_the_source_s() -> (
    None
):
    with pytest.raises(ConfigError, match=r"set initial = 'source'"):
        make_config("nanoadapt", preset="edge", initial="first")
    assert make_config("nanoadapt", preset="paper", initial="first").calibration.initial == "first"


@pytest.mark.parametrize("calibration", ["running", "mixed", "renormalised", "source"])
def test_diversity_without_anchored_calibration_is_refused(calibration: str) -> None:
    with pytest.raises(ConfigError, match=r"diversity = 1 needs .*calibration = 'anchored'"):
        _config(calibration=calibration, diversity=1.0)
    assert _config(calibration=calibration).loss.diversity == 0


@pytest.mark.parametrize("method", ["tent", "sar", "nanoadapt:delta", "norm"])
def test_a_fisher_weight_of_another_host_is_refused(method: str) -> None:
    with pytest.raises(ConfigError, match="fisher_weight = 1 is eata's"):
        make_config(method, fisher_weight=1.0)
