"""The presets and the configuration files of the repository, and files that are wrong or old."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_tta.config import PRESETS, make_config
from edge_tta.config.presets import load_preset
from edge_tta.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "configs").glob("**/*.toml"))


def test_the_repository_has_an_example() -> None:
    assert FILES


@pytest.mark.parametrize("preset", [*PRESETS, *FILES], ids=lambda preset: Path(preset).name)
@pytest.mark.parametrize("host", ["norm", "tent"])
def test_every_preset_makes_a_configuration(preset: str | Path, host: str) -> None:
    config = make_config("nanoadapt", host, preset)
    assert config.label == f"nanoadapt:{host}"


def test_the_paper_preset_has_the_paper_s_numbers() -> None:
    """m of Eq. 5, k and the learning rate as published."""
    config = make_config("nanoadapt", "tent", "paper")
    calibration, optimizer = config.calibration, config.optimizer
    assert calibration.kind == "running"
    assert (calibration.smoothing, config.views.count) == (0.98, 3)
    assert (optimizer.kind, optimizer.learning_rate) == ("adam", 1e-3)
    assert (calibration.gradient, config.loss.weighting) == ("proxy", "ewga")
    assert calibration.prior_frames == 0


def test_the_package_holds_every_named_preset() -> None:
    folder = ROOT / "edge_tta" / "presets"
    assert {path.stem for path in folder.glob("*.toml")} == set(PRESETS)


def _message(folder: Path, text: str) -> str:
    """The one line that a file of this text is refused with."""
    path = folder / "own.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(ConfigError) as caught:
        make_config("nanoadapt:tent", preset=path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[calibration]\nsmoothing = ", "is not valid TOML"),
        ("[calibration]\nsmoothing = 0.5\nsmoothing = 0.6", "is not valid TOML"),
        ("[calibration]\nsmothing = 0.5", "own.toml: smothing; did you mean smoothing?"),
        ("smothing = 0.5", "own.toml: smothing; did you mean smoothing?"),
        ("[table]\nsmoothing = 0.5", "own.toml: table"),
        ("[calibration]\nqqq = 1", "own.toml: qqq; known: accumulation, "),
        ("[calibration]\nsmoothing = '0.5'", "smoothing must be a number"),
        ("[calibration]\nsmoothing = true", "smoothing must be a number"),
        ("[calibration]\nsmoothing = nan", "smoothing must be a number"),
        ("[views]\ncount = 1.5", "views must be a whole number"),
        ("[views]\ncount = [1]", "views must be a whole number"),
        ("[optimizer]\nkind = 'lion'", "optimizer must be one of adam, sgd, got 'lion'"),
        ("[optimizer]\nkind = 1", "optimizer must be one of"),
        ("[optimizer]\nkind = []", "optimizer must be one of"),
        ("[calibration.smoothing]\nx = 1", "smoothing must be a number"),
        ("[[views]]\ncount = 1", "views"),
    ],
)
def test_a_wrong_file_is_told_in_one_line(text: str, said: str, tmp_path: Path) -> None:
    assert said in _message(tmp_path, text)


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("smoothing = 0.9", "[calibration] smoothing"),
        ("learning_rate = 1e-3", "[optimizer] learning_rate"),
        ("depth = 2", "[layers] depth"),
        ("diversity = 1.0", "[loss] diversity"),
        ("seed = 1", "[views] seed"),
        ("calibration = 'anchored'", "[calibration] kind"),
        ("optimizer = 'sgd'", "[optimizer] kind"),
        ("views = 3", "[views] count"),
    ],
)
def test_a_field_outside_its_table_is_told_with_its_place(
    name: str, place: str, tmp_path: Path
) -> None:
    assert f"stands in a table: {place}" in _message(tmp_path, name + "\n")


@pytest.mark.parametrize(
    ("text", "there", "right"),
    [
        ("[loss]\nsmoothing = 0.9", "[loss]", "[calibration] smoothing"),
        ("[calibration]\nlearning_rate = 1e-3", "[calibration]", "[optimizer] learning_rate"),
        ("[optimizer]\nviews = 3", "[optimizer]", "[views] count"),
        ("[calibration]\ncalibration = 'anchored'", "[calibration]", "[calibration] kind"),
    ],
)
def test_a_field_in_another_table_is_told_with_the_right_one(
    text: str, there: str, right: str, tmp_path: Path
) -> None:
    message = _message(tmp_path, text)
    assert f"stands in {there}, expected {right}" in message


def test_a_preset_that_is_not_there_is_told(tmp_path: Path) -> None:
    (tmp_path / "latin.toml").write_bytes(b"# \xff\n")
    (tmp_path / "folder.toml").mkdir()
    for name in ("gone.toml", "latin.toml", "folder.toml"):
        with pytest.raises(ConfigError, match=f"cannot read the preset .*{name}"):
            load_preset(tmp_path / name)
    for name in ("edgy", "", "Edge"):
        with pytest.raises(ConfigError, match=r"unknown preset .*edge, paper or a \.toml file"):
            load_preset(name)


def test_a_preset_of_absurd_size_is_told_and_not_parsed(tmp_path: Path) -> None:
    path = tmp_path / "huge.toml"
    path.write_text("\n".join(f"a.b{i}.c = 1" for i in range(20_000)))
    with pytest.raises(ConfigError, match=r"more than 0\.0625 MiB"):
        load_preset(path)
