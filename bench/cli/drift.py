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
from typing import Any, Protocol

import numpy as np
from rich.progress import Progress

from bench.cli.writing import whole_new_folder, write_png
from bench.corruptions import UP_AND_DOWN, drift_schedule
from bench.sets import CLEAN, DRIFT, DRIFT_TABLE, load_npz_pictures
from edge_tta.cli import options
from edge_tta.demo.source import DEMO
from edge_tta.errors import ConfigError, SourceError
from edge_tta.files import check_place, whole_file, write_whole
from edge_tta.frames import FrameSource, open_source
from edge_tta.prepare import Pixels, resize
from edge_tta.show.video import VIDEO_SUFFIXES, VideoRecorder

Corrupt = Callable[[Pixels, str, int, int], Pixels]
"""Pictures (n, H, W, 3), corruption, severity, index of the first: the corrupted pictures."""

Steps = Sequence[tuple[str, int]]
"""(corruption, severity) of each frame; (clean, 0) where there is none."""

_FPS = 25.0
_AT_ONCE = 64


class Write(Protocol):
    """Takes one frame (H, W, 3) and the name that it has in its source."""

    def __call__(self, frame: Pixels, name: str, /) -> str:
        """The name under which the table tells of it."""


def severities(text: str) -> tuple[int, ...]:
    """`1,2,3,2,1` as numbers, each 0 (clean) to 5."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part in ("0", "1", "2", "3", "4", "5") for part in parts):
        raise argparse.ArgumentTypeError(
            f"expected severities from 0 (clean) to 5 such as 1,3,5,3,1, got {text!r}; "
            "--drift alone comes after SRC and DST"
        )
    return tuple(int(part) for part in parts)


def steps(n: int, names: Sequence[str], path: Sequence[int]) -> Steps:
    """`drift_schedule`, its clean frames told by name."""
    schedule = drift_schedule(n, names, path)
    return [(name if severity else CLEAN, severity) for name, severity in schedule]


def add_option(parser: argparse._ActionsContainer) -> None:
    """--drift."""
    parser.add_argument(
        "--drift",
        nargs="?",
        type=severities,
        const=UP_AND_DOWN,
        metavar="SEVERITIES",
        help="one stream instead of copies: each corruption in turn climbs through these "
        f"severities (default {','.join(map(str, UP_AND_DOWN))}; 0 is clean)",
    )


def drift(
    arguments: argparse.Namespace, names: Sequence[str], make: Corrupt, progress: Progress
) -> int:
    """Writes the stream; returns how many frames were left out, because they cannot be read.

    Raises:
        EdgeTTAError: what the user can mend.
    """
    if CLEAN in names:
        raise ConfigError(
            "clean is no corruption to drift through; clean frames are severity 0: "
            "--drift 0,1,3,5,3,1"
        )
    if arguments.src.suffix == ".npz" or arguments.dst.suffix == ".npz":
        _npz(arguments, names, make, progress)
        return 0
    with open_source(str(arguments.src), max_frames=arguments.limit, more=DEMO) as source:
        n = source.length or arguments.limit
        if n is None:
            raise SourceError(
                f"{arguments.src} does not tell how many frames it has; say so, for example "
                "--limit 500"
            )
        plan = steps(n, names, arguments.drift)
        task = progress.add_task("corrupting", total=n)
        with _destination(arguments, source) as (write, save_table):
            rows = []
            for frame in source:
                # A header can tell too few frames: the rest goes on with the last step.
                name, severity = plan[min(frame.index, n - 1)]
                pixels = frame.pixels
                if arguments.size is not None:
                    pixels = resize(pixels, arguments.size)
                picture = make(pixels[None], name, severity, frame.index)[0]
                rows.append((write(picture, frame.name), name, severity))
                progress.advance(task)
            save_table(_table(rows))
        return source.dropped.total()


def _npz(
    arguments: argparse.Namespace, names: Sequence[str], make: Corrupt, progress: Progress
) -> None:
    """Arrays drift (n, H, W, 3), labels, kinds, severities (n,): the pictures in their order."""
    for path in (arguments.src, arguments.dst):
        if path.suffix != ".npz":
            raise ConfigError(
                f"cannot drift from {arguments.src} to {arguments.dst}: an .npz becomes an .npz, "
                "a folder or video becomes a folder or video"
            )
    if options.same_file(arguments.dst, arguments.src):
        raise ConfigError(f"{arguments.dst} is SRC itself; choose another DST")
    frames, labels, more = load_npz_pictures(arguments.src, arguments.limit)
    if arguments.size is not None:
        frames = np.stack([resize(frame, arguments.size) for frame in frames])
    plan = steps(len(frames), names, arguments.drift)
    task = progress.add_task("corrupting", total=len(frames))
    # Opened first, so that a wrong place is told before the work.
    with whole_file(arguments.dst) as file:
        drifted = np.empty_like(frames)
        for first, end, (name, severity) in _runs(plan):
            drifted[first:end] = make(frames[first:end], name, severity, first)
            progress.advance(task, end - first)
        arrays: dict[str, Any] = {DRIFT: drifted, "labels": labels, **more}
        arrays["kinds"] = np.array([name for name, _ in plan])
        arrays["severities"] = np.array([severity for _, severity in plan])
        np.savez(file, **arrays)


def _runs(plan: Steps) -> Iterator[tuple[int, int, tuple[str, int]]]:
    """(first, end, step) of frames with one step, a few at once."""
    first = 0
    for step, group in itertools.groupby(plan):
        end = first + len(list(group))
        for start in range(first, end, _AT_ONCE):
            yield start, min(start + _AT_ONCE, end), step
        first = end


@contextlib.contextmanager
def _destination(
    arguments: argparse.Namespace, source: FrameSource
) -> Iterator[tuple[Write, Callable[[bytes], None]]]:
    """Where frames and their table go: a video and NAME.drift.csv, or a folder with drift.csv."""
    if arguments.dst.suffix.lower() in VIDEO_SUFFIXES:
        with _video(arguments, source) as place:
            yield place
    else:
        with _folder(arguments) as place:
            yield place


@contextlib.contextmanager
def _video(
    arguments: argparse.Namespace, source: FrameSource
) -> Iterator[tuple[Write, Callable[[bytes], None]]]:
    target: Path = arguments.dst
    if options.same_file(target, arguments.src):
        raise ConfigError(f"{target} is SRC itself; choose another DST")
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
def _folder(arguments: argparse.Namespace) -> Iterator[tuple[Write, Callable[[bytes], None]]]:
    root: Path = arguments.src
    numbers = itertools.count()
    with whole_new_folder(arguments.dst) as folder:

        def write(frame: Pixels, name: str) -> str:
            # Frames of a video have no file names of their own.
            own = Path(name).with_suffix(".png") if root.is_dir() else _numbered(next(numbers))
            if (folder / own).exists():
                raise SourceError(
                    f"{root} has two pictures that would become {own}; rename one of them"
                )
            write_png(folder / own, frame)
            return own.as_posix()

        def save_table(data: bytes) -> None:
            (folder / DRIFT_TABLE).write_bytes(data)
            for labels in sorted(root.rglob("labels.csv")) if root.is_dir() else ():
                kept = folder / labels.relative_to(root)
                kept.parent.mkdir(parents=True, exist_ok=True)
                kept.write_bytes(labels.read_bytes())

        yield write, save_table


def _numbered(number: int) -> Path:
    return Path(f"{number:06d}.png")


def _table(rows: Sequence[tuple[str, str, int]]) -> bytes:
    """CSV with a header: the frame (file name, or number in the video), corruption, severity."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("frame", "corruption", "severity"))
    writer.writerows(rows)
    return text.getvalue().encode()
