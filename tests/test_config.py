"""Methods, presets and options: what wins over what, and what is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from edge_tta.config import HOSTS, METHODS, PRESETS, MethodConfig, load_preset, make_config
from edge_tta.errors import ConfigError

DEFAULTS = MethodConfig().as_dict()


def _preset(folder: Path, text: str) -> Path:
    path = folder / "own.toml"
    path.write_text(text, "utf-8")
    return path


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("host", HOSTS)
def test_every_method_host_and_preset_makes_a_configuration(
    method: str, host: str, preset: str
) -> None:
    config = make_config(method, host, preset)
    assert config.method == method
    expected = f"nanoadapt:{host}" if method == "nanoadapt" else method
    assert config.label == expected
    assert make_config(config.label, preset=preset) == config
    assert MethodConfig(**config.as_dict()) == config


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_s_fields_arrive_in_nanoadapt(preset: str) -> None:
    fields = load_preset(preset)
    found = make_config("nanoadapt", "tent", preset).as_dict()
    assert fields
    assert {name: found[name] for name in fields} == fields


@pytest.mark.parametrize("method", [method for method in METHODS if method != "nanoadapt"])
def test_a_baseline_does_not_hear_the_preset(method: str, tmp_path: Path) -> None:
    own = _preset(tmp_path, "smoothing = 0.5\nlearning_rate = 7.0\nviews = 4\n")
    assert make_config(method, preset=own) == make_config(method)


def test_only_methods_with_a_trained_host_train() -> None:
    names = [*(m for m in METHODS if m != "nanoadapt"), *(f"nanoadapt:{h}" for h in HOSTS)]
    still = {name for name in names if not make_config(name).trains}
    assert still == {"source", "norm", "alpha-bn", "nanoadapt:norm"}


def test_the_host_in_the_method_s_name_wins() -> None:
    assert make_config("nanoadapt:norm", "tent") == make_config("nanoadapt", "norm")


def test_options_win_over_the_preset_and_none_does_not(tmp_path: Path) -> None:
    own = _preset(tmp_path, "smoothing = 0.5\nviews = 2\n")
    config = make_config("nanoadapt:tent", preset=own, views=4, smoothing=None)
    assert (config.smoothing, config.views) == (0.5, 4)
    rest = {k: v for k, v in config.as_dict().items() if k not in ("smoothing", "views")}
    assert rest == {k: v for k, v in DEFAULTS.items() if k in rest}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("smoothing = ", "is not valid TOML"),
        ("smoothing = 0.5\nsmoothing = 0.6", "is not valid TOML"),
        ("smothing = 0.5", "unknown field in .*own.toml: smothing; did you mean smoothing"),
        ("[table]\nsmoothing = 0.5", "unknown field in .*own.toml: table"),
        ("qqq = 1", "unknown field in .*: qqq; known: .*smoothing"),
        ("smoothing = '0.5'", "smoothing must be a number .*got '0.5'"),
        ("smoothing = true", "smoothing must be a number"),
        ("smoothing = nan", "smoothing must be a number"),
        ("views = 1.5", "views must be a whole number"),
        ("views = [1]", "views must be a whole number"),
        ("optimizer = 'lion'", "optimizer must be one of adam, sgd, got 'lion'"),
        ("optimizer = 1", "optimizer must be one of"),
    ],
)
def test_a_wrong_preset_file_is_told_in_one_line(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        make_config("nanoadapt:tent", preset=_preset(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_a_preset_that_is_not_there_is_told(tmp_path: Path) -> None:
    (tmp_path / "latin.toml").write_bytes(b"# \xff\n")
    (tmp_path / "folder.toml").mkdir()
    for name in ("gone.toml", "latin.toml", "folder.toml"):
        with pytest.raises(ConfigError, match=f"cannot read the preset .*{name}"):
            load_preset(tmp_path / name)
    for name in ("edgy", "", "Edge"):
        with pytest.raises(ConfigError, match=r"unknown preset .*edge, paper or a \.toml file"):
            load_preset(name)


@pytest.mark.parametrize(
    ("name", "inside", "outside"),
    [
        ("smoothing", [0, 0.5, 1], [-0.01, 1.01, float("inf"), None, "1"]),
        ("prior_frames", [0, 1e6], [-1, float("inf")]),
        ("learning_rate", [1e-9, 10], [-1e-9, float("inf"), float("nan")]),
        ("alpha", [0, 1], [-0.01, 1.01]),
        ("entropy_margin", [0, 2.0], [-0.1, float("inf")]),
        ("similarity_margin", [0, 1], [-0.1, 1.1]),
        ("ascent_radius", [0, 5.0], [-0.1, float("nan")]),
        ("recovery", [0, 5.0], [-0.1, "low"]),
        ("reference_batch", [0, 64], [-1, 64.0]),
        ("accumulation", [1, 1_000_000], [0, -1, 1_000_001, 2.0, True]),
        ("views", [0, 5], [-1, 6, 2.0]),
        ("seed", [0, 2**63 - 1], [-1, 2**63, 0.5]),
    ],
)
def test_ranges_hold_to_their_ends_and_no_farther(
    name: str, inside: list[Any], outside: list[Any]
) -> None:
    for value in inside:
        assert getattr(MethodConfig(**{name: value}), name) == value
    for value in outside:
        with pytest.raises(ConfigError, match=f"^{name} must be"):
            MethodConfig(**{name: value})


def test_every_field_of_words_refuses_another_word_and_names_the_known() -> None:
    fields = dataclasses.fields(MethodConfig)
    # A layer's name is the network's to know.
    words = [f.name for f in fields if isinstance(f.default, str) and f.name != "adapt_from"]
    assert "optimizer" in words
    for name in words:
        with pytest.raises(ConfigError, match=f"{name} must be one of .*{DEFAULTS[name]}"):
            MethodConfig(**{name: "nonsense"})


def test_layers_below_are_calibrated_only_where_there_are_any() -> None:
    with pytest.raises(ConfigError, match="adapt_from, which is not given"):
        MethodConfig(calibrate_below=True)
    with pytest.raises(ConfigError, match="true or false"):
        MethodConfig(adapt_from="bn1", calibrate_below=1)  # type: ignore[arg-type]
    assert MethodConfig(adapt_from="bn1").folded_below == "bn1"
    assert MethodConfig(adapt_from="bn1", calibrate_below=True).folded_below == ""


@pytest.mark.parametrize("taylor", ["conv", "affine+conv"])
def test_a_taylor_term_of_frozen_convolutions_is_refused(taylor: str) -> None:
    with pytest.raises(ConfigError, match=r"needs adapt = 'affine\+conv'"):
        MethodConfig(adapt="affine", taylor=taylor)
    assert MethodConfig(adapt="affine+conv", taylor=taylor).taylor == taylor


def test_a_first_frame_s_statistics_are_refused_where_calibration_begins_with_the_source_s() -> (
    None
):
    with pytest.raises(ConfigError, match=r"set initial = 'source'"):
        make_config("nanoadapt", preset="edge", initial="first")
    assert make_config("nanoadapt", preset="paper", initial="first").initial == "first"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"method": "tnet"}, "unknown method 'tnet'; expected one of source, norm, alpha-bn"),
        ({"method": "nanoadapt:alpha-bn"}, "host must be one of norm, tent, .*got 'alpha-bn'"),
        ({"method": "nanoadapt", "host": "source"}, "host must be one of"),
        ({"method": "nanoadapt", "smothing": 0.5}, "unknown option: smothing; did you mean"),
    ],
)
def test_an_unknown_method_host_or_option_is_told(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make_config(**arguments)


def test_a_preset_of_absurd_size_is_told_and_not_parsed(tmp_path: Path) -> None:
    path = tmp_path / "huge.toml"
    path.write_text("\n".join(f"a.b{i}.c = 1" for i in range(20_000)))
    with pytest.raises(ConfigError, match=r"more than 0\.0625 MiB"):
        load_preset(path)
