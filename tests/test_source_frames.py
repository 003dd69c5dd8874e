"""Source frames become images as the frames of a run do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_tta.models.source_frames import images_of
from edge_tta.prepare import Fit, InputSpec


@pytest.mark.parametrize("fit", list(Fit))
def test_they_are_fitted_into_the_input_as_a_runs_frames_are(fit: Fit, tmp_path: Path) -> None:
    pictures = np.random.default_rng(0).integers(0, 255, (3, 20, 40, 3), np.uint8)
    np.savez(tmp_path / "good.npz", pictures=pictures)
    spec = InputSpec(size=(8, 12), fit=fit)
    made = list(images_of(str(tmp_path / "good.npz"), spec, 2))
    assert len(made) == 2
    for image, picture in zip(made, pictures, strict=False):
        np.testing.assert_array_equal(image, spec.prepare(picture))
