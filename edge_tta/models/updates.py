"""Updates of an adapted ONNX file for another engine, which runs the network beside."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edge_tta.adapter import Adapter
from edge_tta.engines.torch import engine_of
from edge_tta.guard import Guard
from edge_tta.network.onnx_file.adapted import Adapted, adapted_file


class Updates:
    """Hands an ONNX file's adapted weights over; call it after each frame.

    Args:
        adapter: made from the file.
        path: the file.
        hand_over: is given the graph with adapted weights (`model`), and these by their names in it
            (`weights`).
        every: steps from one update to the next, from 1; the optimizer's interval is 16.
        guard: around the adapter. When it falls back, the source's weights are handed over, and
            nothing more until it has returned.

    Raises:
        ModelError: weights that are quantised or computed in the graph.
    """

    def __init__(
        self,
        adapter: Adapter,
        path: str | Path,
        hand_over: Callable[[Adapted], None],
        every: int = 16,
        guard: Guard | None = None,
    ) -> None:
        self._adapter, self._path, self._hand_over = adapter, Path(path).expanduser(), hand_over
        self._every, self._guard = every, guard
        self._steps, self._of_source = adapter.steps, False
        self._adapted(of_source=True)  # what cannot be handed over is told at once

    def __call__(self) -> bool:
        """Hand over what was learned since the last time, if it is due; return whether it was."""
        fallen = self._guard is not None and self._guard.fallen is not None
        if fallen:
            due = not self._of_source
        else:
            due = abs(self._adapter.steps - self._steps) >= self._every or self._of_source
        if due:
            self._hand_over(self._adapted(of_source=fallen))
            self._steps, self._of_source = self._adapter.steps, fallen
        return due

    def _adapted(self, *, of_source: bool) -> Adapted:
        network = engine_of(self._adapter).network
        folded = network.copy() if of_source else self._adapter.folded()
        return adapted_file(folded.cpu(), self._path)
