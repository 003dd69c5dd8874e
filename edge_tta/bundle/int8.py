"""Folded graphs in int8, which take a state's vectors as input (`export.graph.int8`).

No weight changes with the state, so one loaded graph serves any number of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_tta.bundle.runtime import Session

Array = npt.NDArray[np.float32]

DEVIATION = "deviation"
"""Vector beside those of folded graphs: by how much what is measured deviates from 0."""


class Int8Session:
    """A loaded graph with the vectors of a state. Used as `edge_tta.bundle.folding.FoldedSession`.

    Attributes:
        names: of the outputs.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._inputs = [item.name for item in session.get_inputs() if item.name != "images"]
        self._vectors: dict[str, npt.NDArray[Any]] = {}
        self.names = [item.name for item in session.get_outputs()]

    def fold(self, vectors: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take the vectors of a state: `scale` and others, of all sites."""
        self._vectors = {name: vectors[name] for name in self._inputs}

    def run(self, images: Array) -> list[Any]:
        """Return the outputs, in the order of `names`."""
        return self._session.run(self.names, {"images": images, **self._vectors})
