"""`Background`: an adapter that learns in a thread of its own, so that no prediction waits."""

from __future__ import annotations

import contextlib
import copy
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from edge_tta.adapter import Adapter
from edge_tta.bundle.runtime import usable_cores
from edge_tta.closing import Closing
from edge_tta.engines.base import State, stepped

_NICENESS = 10
"""Of the thread that learns, where the system has a niceness by thread: predictions come first."""


class _Work(NamedTuple):
    """A frame to learn from."""

    batch: Any
    learn: bool


class Background(Adapter, Closing):
    """Answers with what has been learned so far, and learns from the newest frame meanwhile.

    A frame that comes while the last one is still being learned from waits, and the next one takes
    its place. Which frames are learned from depends on the machine's speed: for the same result
    twice, use the adapter itself. To be closed at the end, or used in a `with` block.

    Args:
        adapter: gives network, method and state, and is not changed.
    """

    def __init__(self, adapter: Adapter) -> None:
        self.engine, self._learner = adapter.engine.pair()
        self._preset, self._has_seen = adapter._preset, adapter._has_seen
        self._state, self._source, self.changed = adapter._state, adapter._source, adapter.changed
        self._changing = threading.Condition()
        self._work: _Work | None = None
        self._busy = self._closed = False
        self._times_set = 0  # the state, by the caller: what is being learned is then of no use
        self._problem: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="edge_tta learning", daemon=True)

    def __call__(self, images: Any, *, learn: bool = True) -> Any:
        """Return logits (N, classes) of images (N, channels, H, W) at the present state.

        They are learned from afterwards, unless newer ones come before. Arguments and errors as of
        `Adapter`; what has failed in learning is raised by the next call.

        Raises:
            ValueError: it is closed.
        """
        batch = self._prepared(images, finite=True)
        self._check_fisher(learn)
        with self._changing:
            if self._closed:
                raise ValueError("it is closed: it learns no more")
            self._raise_problem()
            # The caller may use its array for the next frame.
            self._work = _Work(copy.deepcopy(batch), learn)
            self._changing.notify_all()
        if not self._thread.is_alive():
            self._thread.start()
        self._has_seen = True
        return self.engine.predict(batch, self._state)

    def wait(self) -> None:
        """Wait until the newest frame has been learned from, if it is not closed.

        Raises what failed in learning.
        """
        with self._changing:
            self._changing.wait_for(lambda: self._problem or not (self._work or self._busy))
            self._raise_problem()

    def reset(self) -> None:
        """Go back to the source: everything learned from the stream is forgotten."""
        with self._setting():
            super().reset()

    def restore(self, state: State) -> None:
        """Continue from what `state` gave; see `Adapter.restore`."""
        with self._setting():
            super().restore(state)

    def load(self, path: str | Path) -> None:
        """Continue from a saved state; see `Adapter.load`."""
        with self._setting():
            super().load(path)

    def estimate_fisher(self, images: Any, batch_size: int = 1) -> None:
        """Learn which parameters matter to the source; see `Adapter.estimate_fisher`."""
        with self._setting():
            super().estimate_fisher(images, batch_size)

    def close(self) -> None:
        """End the thread, after the frame that it is learning from."""
        with self._changing:
            self._closed, self._work = True, None
            self._changing.notify_all()
        if self._thread.is_alive():
            self._thread.join()

    @contextlib.contextmanager
    def _setting(self) -> Iterator[None]:
        """The block sets the state; where that fails, learning goes on as if nothing had been."""
        with self._changing:
            yield
            self._times_set += 1
            self._work = None

    def _raise_problem(self) -> None:
        problem, self._problem = self._problem, None
        if problem is not None:
            raise problem

    def _run(self) -> None:
        with contextlib.suppress(AttributeError, OSError):  # Linux alone has it by thread
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
        while (taken := self._next()) is not None:
            work, state, times_set = taken
            new, problem = None, None
            try:
                self._learner.prepare(tuple(work.batch.shape[1:]))
                _, new = stepped(self._learner, work.batch, state, work.learn)
                self.engine.ready(new)
            except Exception as error:  # whatever it is, the next call raises it
                problem = error
            with self._changing:
                if problem is not None:
                    self._problem = problem
                elif new is not None and times_set == self._times_set:
                    self._state, self.changed = new, True
                self._busy = False
                self._changing.notify_all()

    def _next(self) -> tuple[_Work, State, int] | None:
        """Wait for a frame; return it with the state to learn at; None: closed."""
        with self._changing:
            self._changing.wait_for(lambda: self._closed or self._work is not None)
            if self._work is None:
                return None
            work, self._work, self._busy = self._work, None, True
            return work, self._state, self._times_set


def has_spare_core() -> bool:
    """Tell whether this process may use more than one core."""
    return usable_cores() > 1
