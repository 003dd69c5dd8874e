"""Methods and hosts by name, and what wins over what."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edge_tta.config import (
    HOSTS,
    METHODS,
    PRESETS,
    REFERENCE_BATCHES,
    MethodConfig,
    make_config,
    methods,
)
from edge_tta.config.fields import from_dict, to_fields
from edge_tta.config.presets import load_preset
from edge_tta.errors import ConfigError

OWN = "[calibration]\nsmoothing = 0.5\n[optimizer]\nlearning_rate = 7.0\n[views]\ncount = 4\n"


def _preset(folder: Path, text: str = OWN) -> Path:
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
    assert from_dict(config.as_dict()) == config


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_s_fields_arrive_in_nanoadapt(preset: str) -> None:
    fields = load_preset(preset)
    config = to_fields(make_config("nanoadapt", "tent", preset))
    assert fields
    assert {name: config[name] for name in fields} == fields


@pytest.mark.parametrize("method", [method for method in METHODS if method != "nanoadapt"])
def test_a_baseline_does_not_hear_the_preset(method: str, tmp_path: Path) -> None:
    assert make_config(method, preset=_preset(tmp_path)) == make_config(method)


def test_only_methods_with_a_trained_host_train() -> None:
    names = [*(m for m in METHODS if m != "nanoadapt"), *(f"nanoadapt:{h}" for h in HOSTS)]
    still = {name for name in names if not make_config(name).trains}
    assert still == {"source", "norm", "alpha-bn", "nanoadapt:norm"}


def test_the_host_in_the_method_s_name_wins() -> None:
    assert make_config("nanoadapt:norm", "tent") == make_config("nanoadapt", "norm")


def test_options_win_over_the_preset_and_none_does_not(tmp_path: Path) -> None:
    config = make_config("nanoadapt:tent", preset=_preset(tmp_path), views=2, smoothing=None)
    given = {"smoothing": 0.5, "learning_rate": 7.0, "views": 2}
    assert to_fields(config) == to_fields(MethodConfig()) | given


def test_a_name_among_the_trained_methods_is_enough_to_be_a_host() -> None:
    source = Path(methods.__file__).read_text("utf-8")
    head = "_TRAINED: dict[str, dict[str, Any]] = {"
    assert head in source
    names: dict[str, Any] = {}
    exec(source.replace(head, f'{head}\n"new": _SGD,'), names)
    assert "new" in names["HOSTS"]
    assert "new" in names["METHODS"]
    assert names["make_config"]("new").host == names["make_config"]("nanoadapt:new").host == "new"


def test_published_learning_rates_are_of_known_methods_that_train() -> None:
    assert all(make_config(method).trains for method in REFERENCE_BATCHES)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"method": "tnet"}, "unknown method 'tnet'; expected one of source, norm, alpha-bn"),
        ({"method": "tnet"}, "nanoadapt, nanoadapt:HOST$"),
        ({"method": "nanoadapt:alpha-bn"}, "unknown host 'alpha-bn'; expected one of norm, tent"),
        ({"method": "nanoadapt", "host": "source"}, "unknown host 'source'; expected one of"),
        ({"method": "nanoadapt", "smothing": 0.5}, "unknown option: smothing; did you mean"),
    ],
)
def test_an_unknown_method_host_or_option_is_told(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        make_config(**arguments)
    assert "\n" not in str(caught.value)
