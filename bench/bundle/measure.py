"""Runs the peers: time in turns, memory one after another."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import edge_tta
from edge_tta.errors import EdgeTTAError

_ROOT = Path(edge_tta.__file__).resolve().parents[1]
_WARM_UP, _TURN = 2, 10
"""Steps of a turn that are not timed, and those that are. A device runs one method alone: the first
steps after another process find its caches and threads as that one left them."""


@dataclass(frozen=True)
class Setup:
    """What all peers run.

    folder: holds `bundle/` and `frozen.onnx`. model, weights: as the command line names them.
    """

    folder: Path
    model: str
    weights: str
    threads: int


class Peer:
    """A peer's process. start_s: from its first line of Python to its first prediction."""

    def __init__(self, name: str, setup: Setup) -> None:
        self.name = name
        words = [name, str(setup.folder), setup.model, setup.weights, str(setup.threads)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.bundle.peers", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(_ROOT)},
        )
        self.start_s = float(self._answer()["start_s"])

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def step(self) -> dict[str, Any]:
        """One step: `wall_s`, `cpu_s` (of all threads) and `peak` (bytes)."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise EdgeTTAError(f"the process of {self.name!r} ended; what it said is above")
        answer: dict[str, Any] = json.loads(line)
        return answer


def latencies(names: Sequence[str], setup: Setup, rounds: int) -> list[dict[str, Any]]:
    """Rows of all peers, who take turns of some steps so that a busy moment meets all of them.

    Args:
        rounds: timed steps of each peer.
    """
    walls: dict[str, list[float]] = {name: [] for name in names}
    cpus: dict[str, list[float]] = {name: [] for name in names}
    with ExitStack() as stack:
        peers = [stack.enter_context(Peer(name, setup)) for name in names]
        for start in range(0, rounds, _TURN):
            for peer in peers:
                for _ in range(_WARM_UP):
                    peer.step()
                for _ in range(min(_TURN, rounds - start)):
                    took = peer.step()
                    walls[peer.name].append(took["wall_s"])
                    cpus[peer.name].append(took["cpu_s"])
        return [
            {
                "method": peer.name,
                "measure": "latency",
                "p50_s": median(walls[peer.name]),
                "best_s": min(walls[peer.name]),
                "cpu_s": median(cpus[peer.name]),
                "start_s": peer.start_s,
                "raw_s": walls[peer.name],
            }
            for peer in peers
        ]


def memories(names: Sequence[str], setup: Setup, frames: int) -> Iterator[dict[str, Any]]:
    """A row a peer, each alone in a fresh process."""
    for name in names:
        with Peer(name, setup) as peer:
            for _ in range(frames):
                took = peer.step()
            yield {
                "method": name,
                "measure": "memory",
                "process_peak_bytes": took["peak"],
                "start_s": peer.start_s,
                "how": f"VmHWM of a fresh process after {frames + 1} frames",
            }
