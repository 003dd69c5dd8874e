"""The state file of a run: resumed when it exists, saved as it goes."""

from __future__ import annotations

import time
from pathlib import Path

from edge_tta.executor import Executor
from edge_tta.files import check_place


class StateKeeper:
    """Saves an adapter's state at most every `every_s` seconds, and at the end.

    Raises OutputError at once when nothing can be written there, StateError when the file exists
    and is not this adapter's.
    """

    def __init__(self, adapter: Executor, path: Path, every_s: float) -> None:
        self._adapter, self._path, self._every_s = adapter, path, every_s
        self.resumed = path.exists()
        if self.resumed:
            adapter.load(path)
        check_place(path)
        self._saved_steps = -1
        self._due_s = time.monotonic() + every_s

    def save_if_due(self) -> None:
        """Saves when the last time is long enough ago."""
        if time.monotonic() >= self._due_s:
            self.save()

    def save(self) -> None:
        """Saves, if anything changed since the last time."""
        if self._adapter.steps not in (0, self._saved_steps):
            self._adapter.save(self._path)
            self._saved_steps = self._adapter.steps
        self._due_s = time.monotonic() + self._every_s
