"""The presets and the configuration files of the repository."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_tta.config import PRESETS, make_config

FILES = sorted((Path(__file__).resolve().parents[1] / "configs").glob("**/*.toml"))


@pytest.mark.parametrize("preset", [*PRESETS, *FILES], ids=lambda preset: Path(preset).name)
@pytest.mark.parametrize("host", ["norm", "tent"])
def test_every_preset_makes_a_configuration(preset: str | Path, host: str) -> None:
    config = make_config("nanoadapt", host, preset)
    assert config.label == f"nanoadapt:{host}"


def test_the_paper_preset_has_the_paper_s_numbers() -> None:
    """m of Eq. 5, k and the learning rate as published."""
    config = make_config("nanoadapt", "tent", "paper")
    assert config.calibration == "running"
    assert (config.smoothing, config.views, config.learning_rate) == (0.98, 3, 1e-3)
    assert (config.optimizer, config.gradient, config.weighting) == ("adam", "proxy", "ewga")
    assert config.prior_frames == 0


def test_the_package_holds_every_named_preset() -> None:
    folder = Path(__file__).resolve().parents[1] / "edge_tta" / "presets"
    assert {path.stem for path in folder.glob("*.toml")} == set(PRESETS)
