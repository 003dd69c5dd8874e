"""The road scene to segment: masks, network, files, and what `make demo-street` runs."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from bench import street
from edge_tta.demo.scenery import KINDS
from tests.cli.commands import call


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a network that is hardly trained."""
    out = tmp_path_factory.mktemp("street") / "street"
    sizes = ("--frames", "48", "--epochs", "2", "--measured", "6", "--weather", "5")
    assert street.main(["--out", str(out), *sizes]) == 0
    return out


def test_masks_say_what_a_frame_shows() -> None:
    frames = list(street.clear(40, 0))
    shown = np.bincount(np.concatenate([f.mask.ravel() for f in frames]), minlength=len(KINDS))
    assert len(shown) == len(KINDS)
    assert (shown > 0.01 * shown.sum()).all()
    sky, plants, road, building, sign = (KINDS.index(kind) for kind in KINDS)
    for frame in frames:
        assert frame.severity == 0
        assert (frame.mask[0] != road).all()
        assert sign in frame.mask[60:100, 40:120]
    colour = [np.concatenate([f.frame[f.mask == k] for f in frames]).mean(0) for k in range(5)]
    assert colour[sky].mean() > max(colour[plants].mean(), colour[road].mean()) + 40
    assert np.ptp(colour[road]) < 20  # asphalt is gray
    assert np.ptp(colour[building]) > np.ptp(colour[road])


def test_logits_are_as_large_as_the_images() -> None:
    with torch.no_grad():
        assert street.network().eval()(torch.zeros(2, 3, 64, 96)).shape == (2, 5, 64, 96)


def test_drives_are_written_with_masks_and_differ(made: Path) -> None:
    assert len(list((made / "drive").glob("*.png"))) == 6
    assert len(list((made / "weather" / "labels").glob("*.png"))) == 5
    mask = cv2.imread(str(made / "drive" / "labels" / "0001.png"), cv2.IMREAD_UNCHANGED)
    assert mask.dtype == np.uint8
    assert mask.shape == (160, 160)
    assert set(np.unique(mask)) <= set(range(len(KINDS)))
    first, other = (cv2.imread(str(made / name / "0001.png")) for name in ("drive", "weather"))
    assert not np.array_equal(first, other)


def test_training_teaches_it(made: Path) -> None:
    told: list[int] = []
    frames = list(street.clear(48, 3))
    model = street.trained(frames, 8, lambda: told.append(1))
    assert len(told) == 8
    assert not model.training
    image = street.InputSpec(**street.INPUT).prepare(frames[0].frame)  # type: ignore[arg-type]
    with torch.no_grad():
        guess = model(torch.from_numpy(image)).argmax(1)[0].numpy()
    truth = cv2.resize(frames[0].mask, (128, 128), interpolation=cv2.INTER_NEAREST)
    most = np.bincount(truth.ravel()).max() / truth.size
    assert (guess == truth).mean() > most + 0.1
    with pytest.raises(SystemExit):
        street.main(["--out", str(made), "--frames", "15"])


def test_the_commands_of_the_makefile_take_it(made: Path) -> None:
    model = ("--model", "bench/street.py:network", "--weights", made / "street.safetensors")
    ran = call("run", made / "weather", *model, "--save", made / "street.mp4")
    assert ran.code == 0, ran.err
    assert (made / "street.mp4").stat().st_size > 1000
    done = call(
        *("bench", "error", *model, "--data", made / "drive"),
        *("--methods", "source,nanoadapt:norm+guard", "--corruptions", "clean,fog:3"),
    )
    assert done.code == 0, done.err
    assert "miou" in done.out
