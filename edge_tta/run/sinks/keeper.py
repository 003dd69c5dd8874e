"""The state file of a run: resumed when it exists, saved as it goes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from edge_tta.adapter import Adapter
from edge_tta.errors import OutputError, StateError
from edge_tta.files import check_place, remove_leftovers
from edge_tta.guard import Guard
from edge_tta.run.frame_result import FrameResult
from edge_tta.run.generations import keeping_previous, load_or_previous
from edge_tta.run.sinks import Sink


class StateKeeper(Sink):
    """Saves an adapter's state at most every `every_s` seconds, and at the end.

    The save before the last one is kept beside it; where the last one is damaged, the run goes on
    from there.

    Raises OutputError at once when nothing can be written there, StateError when the file exists
    and is not this adapter's, or is damaged and there is none before it. While a guard has
    fallen back, what is saved is its last good state, or the source's.

    Attributes:
        path: of the file.
        resumed: whether the file was there.
        recovered: what was done because it was damaged; None: nothing.
        tell: called with a line when saving fails on the way, and when it works again.
        saved_s: when it was last saved, by `time.monotonic`; None: not by this run.
        problem: why the last save failed; None: it did not.
    """

    stage = "save"

    def __init__(
        self, adapter: Adapter, path: Path, every_s: float, guard: Guard | None = None
    ) -> None:
        self._adapter, self.path, self._every_s = adapter, path, every_s
        self._guarded = guard or adapter
        self.tell: Callable[[str], None] = lambda said: None
        self.resumed = path.exists()
        self.recovered = load_or_previous(adapter.load, path) if self.resumed else None
        check_place(path)
        remove_leftovers(path)
        adapter.changed = False
        self.saved_s: float | None = None
        self.problem: str | None = None
        self._due_s = time.monotonic() + every_s

    def take(self, result: FrameResult) -> None:
        self.save_if_due()

    def close(self) -> None:
        self.save()

    def save_if_due(self) -> None:
        """Saves when the last time is long enough ago."""
        if time.monotonic() >= self._due_s:
            self.try_to_save()

    def try_to_save(self) -> None:
        """Saves now. A full disk, or a state beyond all bounds, does not end the run: it is told,
        and tried again when the next time is due.
        """
        failed = self.problem is not None
        try:
            self.save()
        except (OutputError, StateError) as error:
            self.problem = str(error)
            if not failed:
                self.tell(f"{error}; the run goes on and tries again every {self._every_s:g} s")
        else:
            self.problem = None
            if failed:
                self.tell(f"{self.path} is written again")
        self._due_s = time.monotonic() + self._every_s

    def save_as_asked(self) -> str | None:
        """Saves now, also what is unchanged where its file has gone; returns the problem if any."""
        self._adapter.changed |= not self.path.is_file()
        self.try_to_save()
        return self.problem

    def save(self) -> None:
        """Saves, if anything changed since the last time.

        Raises OutputError or StateError when it cannot; what was saved before stays.
        """
        if self._adapter.changed:
            self._adapter.changed = False  # before: a thread may learn meanwhile
            try:
                with keeping_previous(self.path):
                    self._guarded.save(self.path)
            except BaseException:
                self._adapter.changed = True
                raise
            self.saved_s = time.monotonic()
