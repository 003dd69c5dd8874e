"""`edge-tta corrupt --drift`: one stream whose corruption changes slowly."""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import itertools
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.cli import corrupting
from bench.cli.corrupting import Job
from bench.cli.writing import whole_folder, write_png
from bench.corruptions import UP_AND_DOWN, drift_schedule
from bench.sets import CLEAN, DRIFT, DRIFT_TABLE
from edge_tta.errors import ConfigError, SourceError
from edge_tta.files import check_place, whole_file, write_whole
from edge_tta.frames import FrameSource, open_source
from edge_tta.prepare import Pixels
from edge_tta.show.video import VIDEO_SUFFIXES, VideoRecorder

Steps = Sequence[tuple[str, int]]
"""(corruption, severity) of each frame; (clean, 0) where there is none."""

Write = Callable[[Pixels, str], str]
"""Takes one frame (H, W, 3) and its name in the source; returns its name in the table."""

SaveTable = Callable[[bytes], None]

_FPS = 25.0


def severities(text: str) -> tuple[int, ...]:
    """`1,2,3,2,1` as numbers, each 0 (clean) to 5."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part in ("0", "1", "2", "3", "4", "5") for part in parts):
        raise argparse.ArgumentTypeError(
            f"expected severities from 0 (clean) to 5 such as 1,3,5,3,1, got {text!r}; "
            "--drift alone comes after SRC and DST"
        )
    return tuple(int(part) for part in parts)


def add_option(parser: argparse._ActionsContainer) -> None:
    """Add --drift."""
    parser.add_argument(
        "--drift",
        nargs="?",
        type=severities,
        const=UP_AND_DOWN,
        metavar="SEVERITIES",
        help="one stream instead of copies: each corruption in turn climbs through these "
        f"severities (default {','.join(map(str, UP_AND_DOWN))}; 0 is clean)",
    )


def drift(job: Job, path: Sequence[int]) -> int:
    """Writes the stream; returns how many frames were left out, because they cannot be read.

    path: the severities that each corruption goes through.

    Raises:
        EdgeTTAError: what the user can mend.
    """
    if CLEAN in job.names:
        raise ConfigError(
            "clean is no corruption to drift through; clean frames are severity 0: "
            "--drift 0,1,3,5,3,1"
        )
    if ".npz" in (job.source.suffix, job.target.suffix):
        _npz(job, path)
        return 0
    with open_source(str(job.source), max_frames=job.limit) as source:
        n = source.length or job.limit
        if n is None:
            raise SourceError(
                f"{job.source} does not tell how many frames it has; say so, for example "
                "--limit 500"
            )
        plan, task = _plan(job, n, path), job.progress.add_task("corrupting", total=n)
        place = _video if job.target.suffix.lower() in VIDEO_SUFFIXES else _folder
        with place(job, source) as (write, save_table):
            rows = []
            for index, name, pixels in job.pictures(source):
                # A header can tell too few frames: the rest goes on with the last step.
                step = plan[min(index, n - 1)]
                rows.append((write(job.corrupted(pixels, *step, index)[0], name), *step))
                job.progress.advance(task)
            save_table(_table(rows))
        return source.dropped.total()


def _plan(job: Job, n: int, path: Sequence[int]) -> Steps:
    """`drift_schedule`, its clean frames told by name."""
    schedule = drift_schedule(n, job.names, path)
    return [(name if severity else CLEAN, severity) for name, severity in schedule]


def _npz(job: Job, path: Sequence[int]) -> None:
    """Arrays drift (n, H, W, 3), labels, kinds, severities (n,): the pictures in their order."""
    if {job.source.suffix, job.target.suffix} != {".npz"}:
        raise ConfigError(
            f"cannot drift from {job.source} to {job.target}: an .npz becomes an .npz, "
            "a folder or video becomes a folder or video"
        )
    job.check_other_target()
    frames, labels, more = job.npz()
    plan = _plan(job, len(frames), path)
    task = job.progress.add_task("corrupting", total=len(frames))
    # Opened first, so that a wrong place is told before the work.
    with whole_file(job.target) as file:
        drifted = np.empty_like(frames)
        for first, end in _runs(plan):
            drifted[first:end] = job.corrupted(frames[first:end], *plan[first], first)
            job.progress.advance(task, end - first)
        arrays: dict[str, Any] = {DRIFT: drifted, "labels": labels, **more}
        arrays["kinds"] = np.array([name for name, _ in plan])
        arrays["severities"] = np.array([severity for _, severity in plan])
        np.savez(file, **arrays)


def _runs(plan: Steps) -> Iterator[tuple[int, int]]:
    """First and end of frames with one step, a few at once."""
    first = 0
    for _, group in itertools.groupby(plan):
        end = first + len(list(group))
        for start in range(first, end, corrupting.AT_ONCE):
            yield start, min(start + corrupting.AT_ONCE, end)
        first = end


@contextlib.contextmanager
def _video(job: Job, source: FrameSource) -> Iterator[tuple[Write, SaveTable]]:
    """A video, and NAME.drift.csv beside it."""
    target = job.target
    job.check_other_target()
    check_place(target)
    count = itertools.count()
    # Renamed at the end: an interruption leaves no shorter video, whose drift would be another.
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as scratch:
        part = Path(scratch, target.name)
        table: list[bytes] = []
        with VideoRecorder(part, source.fps or _FPS) as recorder:

            def write(frame: Pixels, name: str) -> str:
                recorder.write(frame)
                return str(next(count))

            yield write, table.append
        os.replace(part, target)
    write_whole(target.with_suffix(f".{DRIFT_TABLE}"), table[0])


@contextlib.contextmanager
def _folder(job: Job, source: FrameSource) -> Iterator[tuple[Write, SaveTable]]:
    """A folder with drift.csv."""
    numbers = itertools.count()
    with whole_folder(job.target) as folder:

        def write(frame: Pixels, name: str) -> str:
            # Frames of a video have no file names of their own.
            path = job.png(folder, name if job.source.is_dir() else f"{next(numbers):06d}.png")
            write_png(path, frame)
            return path.relative_to(folder).as_posix()

        def save_table(data: bytes) -> None:
            (folder / DRIFT_TABLE).write_bytes(data)
            job.copy_labels(folder)

        yield write, save_table


def _table(rows: Sequence[tuple[str, str, int]]) -> bytes:
    """CSV with a header: the frame (file name, or number in the video), corruption, severity."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("frame", "corruption", "severity"))
    writer.writerows(rows)
    return text.getvalue().encode()
