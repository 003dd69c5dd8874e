"""`edge-tta corrupt SRC DST`: corrupted copies of labelled pictures."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import Progress

from bench.cli import corrupting
from bench.cli.corrupting import Job
from bench.cli.drift import add_option, drift
from bench.cli.writing import whole_folder, write_png
from bench.corruptions import CORRUPTIONS, GROUPS, load_frost_textures
from bench.sets import CLEAN
from edge_tta.cli import values
from edge_tta.cli.help import CommandParser
from edge_tta.cli.terminal import terminal
from edge_tta.errors import ConfigError, SourceError, did_you_mean
from edge_tta.files import whole_file
from edge_tta.frames import open_source
from edge_tta.prepare import Pixels


def parser() -> argparse.ArgumentParser:
    """The subcommand's options."""
    parser = CommandParser(
        prog="edge-tta corrupt",
        description="Writes corrupted copies of pictures (the 15 corruptions of ImageNet-C and "
        "CIFAR-C). An .npz becomes an .npz (one severity) or a CIFAR-C folder (--severity all); a "
        "folder becomes a tree CORRUPTION/SEVERITY/. With --drift an .npz, folder or video becomes "
        "one stream whose corruption changes slowly.",
    )
    parser.add_argument(
        "src", metavar="SRC", type=Path, help=".npz with images and labels, or folder, or video"
    )
    parser.add_argument("dst", metavar="DST", type=Path, help=".npz, new folder, or video")
    parser.add_argument(
        "--corruption",
        default="all",
        metavar="NAME[,NAME...]",
        help=f"all | clean | {' | '.join(GROUPS)} | a name; several separated by commas",
    )
    strength = parser.add_mutually_exclusive_group()
    strength.add_argument(
        "--severity", default="5", choices=[*"12345", "all"], help="1 to 5, or all (default: 5)"
    )
    add_option(strength)
    parser.add_argument("--seed", type=values.natural, default=0)
    parser.add_argument(
        "--limit", type=values.count, help="the first so many pictures (default: all)"
    )
    parser.add_argument(
        "--size",
        type=values.size,
        metavar="S|HxW",
        help="of the pictures, cut to it (default: as they are)",
    )
    parser.add_argument(
        "--draw",
        choices=("frame", "track"),
        default="frame",
        help="what is random is drawn anew for each frame (the default), or once for all frames "
        "with the same number in the array `track` of an .npz, as dirt on a lens",
    )
    parser.add_argument(
        "--frost", type=Path, metavar="DIR", help="pictures of frost to use (default: drawn)"
    )
    return parser


def main(argv: Sequence[str]) -> int:
    """Runs the subcommand; returns the exit code."""
    arguments = parser().parse_args(argv)
    console = terminal(stderr=True)
    with Progress(console=console, disable=not console.is_terminal) as progress:
        job = Job(
            arguments.src,
            arguments.dst,
            _names(arguments.corruption),
            arguments.seed,
            arguments.size,
            arguments.limit,
            None if arguments.frost is None else load_frost_textures(arguments.frost),
            progress,
        )
        severity = arguments.severity
        severities = [1, 2, 3, 4, 5] if severity == "all" else [int(severity)]
        by_track = arguments.draw == "track"
        if by_track and (arguments.drift is not None or job.source.suffix != ".npz"):
            raise ConfigError(
                "--draw track needs an .npz as SRC, with an array `track`, no --drift"
            )
        left_out = 0
        if arguments.drift is not None:
            left_out = drift(job, arguments.drift)
        elif job.source.suffix == ".npz":
            _from_npz(job, severities, by_track)
        elif job.source.is_dir():
            if job.target.suffix == ".npz":
                raise ConfigError(
                    f"a folder of pictures becomes a folder, and {job.target} is the name of a "
                    f"file; give {job.target.with_suffix('')}, say"
                )
            left_out = _from_folder(job, severities)
        else:
            raise SourceError(
                f"cannot read {job.source}; expected an .npz with images and labels, a folder, "
                "or with --drift a video (--drift 3 for severity 3 throughout)"
            )
    if left_out:
        console.print(f"left out: {left_out} unreadable")
    console.print(f"wrote {job.target}")
    return 0


def _names(text: str) -> list[str]:
    known: dict[str, tuple[str, ...]] = {"all": CORRUPTIONS, CLEAN: (CLEAN,), **GROUPS}
    known.update({name: (name,) for name in CORRUPTIONS})
    names: dict[str, None] = {}
    for part in text.split(","):
        if part.strip() not in known:
            hint = did_you_mean(part.strip(), known) or f"; expected {', '.join(known)}"
            raise ConfigError(f"unknown corruption {part!r}{hint}")
        names.update(dict.fromkeys(known[part.strip()]))
    return list(names)


def _from_npz(job: Job, severities: Sequence[int], by_track: bool) -> None:
    frames, labels, more = job.npz()
    tracks = more.get("track")
    whole = tracks is not None and tracks.dtype.kind in "iu" and tracks.shape == labels.shape
    if by_track and not (whole and tracks is not None and (tracks >= 0).all()):
        raise SourceError(
            f"--draw track needs an array `track` of numbers from 0, one a picture, in {job.source}"
        )
    task = job.progress.add_task("corrupting", total=len(frames) * len(job.names) * len(severities))

    def made(name: str, severity: int) -> Pixels:
        parts = []
        at_once = 1 if by_track else corrupting.AT_ONCE
        for first in range(0, len(frames), at_once):
            part = frames[first : first + at_once]
            drawn = int(tracks[first]) if by_track and tracks is not None else first
            parts.append(job.corrupted(part, name, severity, drawn))
            job.progress.advance(task, len(part))
        return np.concatenate(parts)

    if job.target.suffix == ".npz":
        if len(severities) > 1:
            raise ConfigError(
                "an .npz holds one severity; give --severity 1 to 5, or a folder as DST"
            )
        job.check_other_target()
        # Opened first, so that a wrong place is told before the work.
        with whole_file(job.target) as file:
            arrays: dict[str, Any] = {n: made(n, severities[0]) for n in job.names}
            arrays |= {**more, "labels": labels, "severity": np.int64(severities[0])}
            np.savez(file, **arrays)
        return
    if len(severities) == 1:
        raise ConfigError("a CIFAR-C folder holds five severities; give --severity all, or DST.npz")
    with whole_folder(job.target, [Path(f"{n}.npy") for n in (*job.names, "labels")]) as folder:
        for name in job.names:
            stacked = np.concatenate([made(name, severity) for severity in severities])
            np.save(folder / f"{name}.npy", stacked)
        np.save(folder / "labels.npy", np.tile(labels, len(severities)))


def _from_folder(job: Job, severities: Sequence[int]) -> int:
    """Returns how many pictures were left out, because they cannot be read."""
    copies = {
        Path(name, "" if name == CLEAN else str(severity)): (name, severity)
        for name in job.names
        for severity in (severities if name != CLEAN else [0])
    }
    with (
        open_source(str(job.source), max_frames=job.limit) as source,
        whole_folder(job.target, list(copies)) as folder,
    ):
        task = job.progress.add_task("corrupting", total=(source.length or 0) * len(copies))
        for part in copies:
            job.copy_labels(folder / part)
        for index, name, pixels in job.pictures(source):
            for part, (corruption, severity) in copies.items():
                target = job.png(folder / part, name)
                write_png(target, job.corrupted(pixels, corruption, severity, index)[0])
                job.progress.advance(task)
        return source.dropped.total()
