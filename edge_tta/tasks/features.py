"""Features only: outputs that nobody explains. Statistics are calibrated, and the outputs are the
user's."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from edge_tta.nest import leaves
from edge_tta.prepare import Fit
from edge_tta.tasks.base import FRAMEWISE, Classes, Reading


class Features:
    """The task of whatever is no other."""

    name, learns, host, filtered, fit = "features", False, "norm", False, Fit.STRETCH
    preset: Mapping[str, Any] = FRAMEWISE

    def takes(self, outputs: Any, image_shape: Sequence[int]) -> str:
        """Return "": anything will do."""
        return ""

    def votes(self, outputs: Any) -> None:
        """Return none."""

    def read(self, outputs: Any, classes: Classes) -> Reading:
        """Return the outputs' shapes, in words."""
        said = ", ".join(" x ".join(map(str, leaf.shape[1:])) for leaf in leaves(outputs))
        return Reading(0, f"outputs {said}", math.nan, math.nan, math.nan, ())
