"""`kill -9` at random moments of a run that saves its state all the time.

Each run is a process of its own. It goes on from the state that the killed one left, as
`edge-tta run --state` does, and reports every frame and every finished save through a pipe.
"""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from bench.signals import end_silently, held
from bench.soak import SoakSource
from edge_tta.adapter import Adapter
from edge_tta.checkpoint import load_state
from edge_tta.errors import EdgeTTAError, StateError
from edge_tta.run.generations import previous_of
from edge_tta.run.loop import Loop
from edge_tta.run.predictors import Predictors
from edge_tta.run.sinks.keeper import StateKeeper
from edge_tta.run.stopping import StopRequest
from edge_tta.tasks import Classes

_PAUSES_S = (0.001, 0.001, 0.02, 0.2)
"""Seconds between saves, by turns: with the shortest, most of the time is spent saving."""


class RunDiedError(EdgeTTAError):
    """A run that ended by itself, so that nothing could be said of kills."""


@dataclass
class KillRow:
    """Counts of what kills did.

    Attributes:
        in_mid_write: kills that left an unfinished file behind.
        unreadable: states that could not be loaded afterwards.
        lost_saves: states older than a save that had finished.
        backward: states older than the one that the killed run went on from.
        leftovers: unfinished files that are still there after the next start.
        longest_loss_s: from the first frame that the state has not to the last before the kill.
        longest_loss_over_interval_s: the same, less the interval between saves.
    """

    model: str
    method: str
    kills: int = 0
    in_mid_write: int = 0
    unreadable: int = 0
    lost_saves: int = 0
    backward: int = 0
    leftovers: int = 0
    steps: int = 0
    longest_loss_s: float = 0.0
    longest_loss_over_interval_s: float = 0.0

    @property
    def ok(self) -> bool:
        """Return True where nothing was lost that had been saved."""
        return not (self.unreadable or self.lost_saves or self.backward or self.leftovers)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for a result file."""
        how = "SIGKILL 0.02 to 0.5 s after the first frame; between saves 1, 1, 20, 200 ms by turns"
        return {"fault": "kill -9", **dataclasses.asdict(self), "ok": self.ok, "how": how}


def measure_kills(
    make: Callable[[], Adapter],
    folder: Path,
    kills: int,
    *,
    model: str,
    method: str,
    seed: int = 0,
    advance: Callable[[], None] = lambda: None,
) -> KillRow:
    """Kills `kills` runs, one after another, of the same state file.

    Args:
        make: an adapter; called in each run's process. PyTorch must have done nothing yet in this
            one: its threads do not survive a fork.
        folder: empty; the state file, and the one before it, are written there.

    Raises:
        RunDiedError: a run ended by itself.
    """
    state = folder / "state.safetensors"
    rng = np.random.default_rng(seed)
    row = KillRow(model, method)
    for number in range(kills):
        pause_s = _PAUSES_S[number % len(_PAUSES_S)]
        parts = _parts(folder, state)
        seen = _one(make, state, pause_s, float(rng.uniform(0.02, 0.5)), seed + number)
        # The start removes what the run before left.
        row.leftovers += len(parts & _parts(folder, state))
        row.in_mid_write += bool(_parts(folder, state))
        row.kills += 1
        steps = 0
        if state.exists():
            try:
                steps = load_state(state)[1].steps
            except StateError:
                row.unreadable += 1
                state.unlink()
        row.backward += steps < row.steps
        row.lost_saves += steps < max(saved for _, saved, _ in seen)
        row.steps = steps
        loss_s = _loss_s(seen, steps)
        row.longest_loss_s = max(row.longest_loss_s, loss_s)
        over_s = max(0.0, loss_s - pause_s)
        row.longest_loss_over_interval_s = max(row.longest_loss_over_interval_s, over_s)
        advance()
    return row


def _parts(folder: Path, state: Path) -> set[Path]:
    return {path for path in folder.iterdir() if path not in (state, previous_of(state))}


def _loss_s(seen: Sequence[tuple[int, int, float]], steps: int) -> float:
    missing = [at for own, _, at in seen if own > steps]
    return missing[-1] - missing[0] if missing else 0.0


def _one(
    make: Callable[[], Adapter], state: Path, pause_s: float, after_s: float, seed: int
) -> list[tuple[int, int, float]]:
    """Runs a child and kills it `after_s` seconds after its first frame; what it reported."""
    context = multiprocessing.get_context("fork")
    reading, writing = context.Pipe(duplex=False)
    child = context.Process(target=_run, args=(make, state, pause_s, seed, reading, writing))
    with held():
        child.start()
    writing.close()  # the child's is the last: when it has gone, reading ends
    seen: list[tuple[int, int, float]] = []
    try:
        with reading, contextlib.suppress(EOFError, OSError):
            seen.append(reading.recv())
            ends_s = time.monotonic() + after_s
            while (left_s := ends_s - time.monotonic()) > 0:
                if reading.poll(left_s):
                    seen.append(reading.recv())
            child.kill()
            while True:
                seen.append(reading.recv())
    except BaseException:
        child.kill()
        raise
    finally:
        child.join()
    if child.exitcode != -signal.SIGKILL or not seen:
        raise RunDiedError("a run ended before it was killed; see its message above, and report it")
    return seen


def _run(
    make: Callable[[], Adapter],
    state: Path,
    pause_s: float,
    seed: int,
    reading: Connection,
    writing: Connection,
) -> None:
    """The child: a run without end.

    It reports steps of the adapter, steps in the last finished save, and seconds.
    """
    end_silently()
    reading.close()  # the parent's: it ends with the parent, and so does this
    adapter = make()
    spec = adapter.input_spec
    keeper = _Reporting(adapter, state, pause_s)
    source = SoakSource(10**9, max(spec.shape[1:]), seed)
    classes = Classes(adapter.prepare(spec.shape))
    with Loop(source, Predictors(adapter, classes, compare=()), spec, [keeper]) as loop:
        for _ in loop.frames(StopRequest()):
            writing.send((adapter.steps, keeper.saved, time.monotonic()))


class _Reporting(StateKeeper):
    """A keeper that knows the steps in its last finished save."""

    saved = 0

    def save(self) -> None:
        super().save()
        self.saved = self._adapter.steps
