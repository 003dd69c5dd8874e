"""Source frames become images as the frames of a run do."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from edge_tta.errors import ConfigError
from edge_tta.models.naming import Model
from edge_tta.models.source_frames import labelled_images_of, with_source_frames
from edge_tta.prepare import Fit, InputSpec
from edge_tta.tasks import Classification
from edge_tta.tasks.features import Features


@pytest.mark.parametrize("fit", list(Fit))
def test_they_are_fitted_into_the_input_as_a_runs_frames_are(fit: Fit, tmp_path: Path) -> None:
    pictures = np.random.default_rng(0).integers(0, 255, (3, 20, 40, 3), np.uint8)
    np.savez(tmp_path / "good.npz", pictures=pictures)
    spec = InputSpec(size=(8, 12), fit=fit)
    made = [image for image, _ in labelled_images_of(str(tmp_path / "good.npz"), spec, 2)]
    assert len(made) == 2
    for image, picture in zip(made, pictures, strict=False):
        np.testing.assert_array_equal(image, spec.prepare(picture))


class Brightest(nn.Module):
    """A classifier whose class is the image's brightest channel."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.head = nn.Linear(3, 8, bias=False)
        with torch.no_grad():
            self.head.weight.copy_(torch.eye(8, 3))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(images).mean((2, 3)))


def test_folders_of_classes_label_source_frames_too(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for number in range(2):
            picture = rng.integers(0, 255, (6, 6, 3), np.uint8)
            cv2.imwrite(str(tmp_path / name / f"{number}.png"), picture)
    found = labelled_images_of(str(tmp_path), InputSpec(size=(6, 6)), 9, ("dog", "cat"))
    assert [label for _, label in found] == [1, 1, 0, 0]


@pytest.mark.parametrize(("channels", "told"), [(1, "about 1 of its 8 classes"), (3, "")])
def test_frames_of_few_classes_are_told_of(channels: int, told: str, tmp_path: Path) -> None:
    pictures = np.random.default_rng(0).integers(0, 99, (12, 6, 6, 3), np.uint8)
    for place, picture in enumerate(pictures):
        picture[..., place % channels] += 120
    np.savez(tmp_path / "good.npz", pictures=pictures)
    model = Model("net", Brightest().eval(), InputSpec(size=(6, 6)), task=Classification())
    before = model.module.norm.running_var.clone()  # type: ignore[operator,union-attr]
    made, line = with_source_frames(model, str(tmp_path / "good.npz"), None, lambda text: None)
    assert "12 source frames" in line
    assert (told in line) if told else "classes" not in line
    assert torch.equal(model.module.norm.running_var, before)  # type: ignore[arg-type,union-attr]
    features = dataclasses.replace(model, task=Features())
    made, line = with_source_frames(features, str(tmp_path / "good.npz"), None, lambda text: None)
    assert line.startswith("net: 1 BatchNorms have the statistics of 12 source frames; outputs as")
    assert "classes" not in line
    assert not torch.equal(made.module.norm.running_var, before)  # type: ignore[arg-type,union-attr]


def test_a_known_accuracy_tells_how_sure_the_network_is_of_what_it_gets_right(
    tmp_path: Path,
) -> None:
    pictures = np.random.default_rng(0).integers(0, 255, (12, 6, 6, 3), np.uint8)
    np.savez(tmp_path / "good.npz", pictures=pictures)
    torch.manual_seed(0)
    model = Model("net", Brightest().eval(), InputSpec(size=(6, 6)), task=Classification())
    given = str(tmp_path / "good.npz"), None, lambda text: None
    made, _ = with_source_frames(model, *given, 0.75)
    with torch.no_grad():
        logits = model.module(torch.from_numpy(model.input.normalise(pictures)))
    surest = logits.softmax(1).amax(1).numpy()
    assert made.sure_above is not None
    assert (surest > made.sure_above.value).sum() == 9
    assert with_source_frames(model, *given)[0].sure_above is None
    right = logits.argmax(1).numpy()
    right[:3] = (right[:3] + 1) % 8
    np.savez(tmp_path / "good.npz", pictures=pictures, labels=right)
    by_labels, line = with_source_frames(model, *given)
    assert by_labels.sure_above == made.sure_above
    assert "; 75.0% of them are right by their labels" in line
    higher = with_source_frames(model, *given, 0.5)[0].sure_above
    assert higher is not None
    assert higher.value > made.sure_above.value
    np.savez(tmp_path / "good.npz", pictures=pictures, labels=right[:11])
    assert with_source_frames(model, *given)[0].sure_above is None
    features = dataclasses.replace(model, task=Features())
    with pytest.raises(ConfigError, match="is of a classifier"):
        with_source_frames(features, *given, 0.75)
