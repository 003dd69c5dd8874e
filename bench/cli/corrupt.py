"""`edge-tta corrupt SRC DST`: corrupted copies of labelled pictures."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import Progress

from bench.cli.drift import Corrupt, add_option, drift
from bench.cli.writing import whole_folder, write_png
from bench.corruptions import CORRUPTIONS, GROUPS, FrostTextures, corrupt, load_frost_textures
from bench.corruptions.generate import SMALLEST_SIDE
from bench.sets import CLEAN, load_npz_pictures
from edge_tta.cli import options
from edge_tta.cli.terminal import terminal
from edge_tta.errors import ConfigError, SourceError, did_you_mean
from edge_tta.files import whole_file
from edge_tta.frames import open_source
from edge_tta.prepare import Pixels, resize

_CHUNK = 64


def parser() -> argparse.ArgumentParser:
    """The subcommand's options."""
    parser = argparse.ArgumentParser(
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
    parser.add_argument("--seed", type=options.natural, default=0)
    parser.add_argument("--limit", type=options.count, help="the first so many pictures")
    parser.add_argument(
        "--size", type=options.size, metavar="S|HxW", help="of the pictures, cut to it"
    )
    parser.add_argument("--frost", type=Path, metavar="DIR", help="pictures of frost to use")
    return parser


def main(argv: Sequence[str]) -> int:
    """Runs the subcommand; returns the exit code."""
    arguments = parser().parse_args(argv)
    names = _names(arguments.corruption)
    severities = [1, 2, 3, 4, 5] if arguments.severity == "all" else [int(arguments.severity)]
    textures: FrostTextures | None = None
    if arguments.frost is not None:
        textures = load_frost_textures(arguments.frost)

    def make(frames: Pixels, name: str, severity: int, first: int) -> Pixels:
        if name == CLEAN:
            return frames
        if min(frames.shape[1:3]) < SMALLEST_SIDE:
            raise ConfigError(
                f"pictures of {frames.shape[2]} x {frames.shape[1]} are too small to corrupt; "
                f"expected sides of at least {SMALLEST_SIDE} pixels: --size {SMALLEST_SIDE} or more"
            )
        return corrupt(
            frames, name, severity, arguments.seed, first_index=first, frost_textures=textures
        )

    console = terminal(stderr=True)
    left_out = 0
    with Progress(console=console, disable=not console.is_terminal) as progress:
        if arguments.drift is not None:
            left_out = drift(arguments, names, make, progress)
        elif arguments.src.suffix == ".npz":
            _from_npz(arguments, names, severities, make, progress)
        elif arguments.src.is_dir():
            left_out = _from_folder(arguments, names, severities, make, progress)
        else:
            raise SourceError(
                f"cannot read {arguments.src}; expected an .npz with images and labels, a folder, "
                "or with --drift a video (--drift 3 for severity 3 throughout)"
            )
    if left_out:
        console.print(f"left out: {left_out} unreadable")
    console.print(f"wrote {arguments.dst}")
    return 0


def _names(text: str) -> list[str]:
    known: dict[str, tuple[str, ...]] = {"all": CORRUPTIONS, CLEAN: (CLEAN,), **GROUPS}
    known.update({name: (name,) for name in CORRUPTIONS})
    found: dict[str, None] = {}
    for part in text.split(","):
        if part.strip() not in known:
            hint = did_you_mean(part.strip(), known) or f"; expected {', '.join(known)}"
            raise ConfigError(f"unknown corruption {part!r}{hint}")
        found.update(dict.fromkeys(known[part.strip()]))
    return list(found)


def _from_npz(
    arguments: argparse.Namespace,
    names: Sequence[str],
    severities: Sequence[int],
    make: Corrupt,
    progress: Progress,
) -> None:
    frames, labels, more = load_npz_pictures(arguments.src, arguments.limit)
    if arguments.size is not None:
        frames = np.stack([resize(frame, arguments.size) for frame in frames])
    task = progress.add_task("corrupting", total=len(frames) * len(names) * len(severities))

    def made(name: str, severity: int) -> Pixels:
        parts = []
        for first in range(0, len(frames), _CHUNK):
            part = frames[first : first + _CHUNK]
            parts.append(make(part, name, severity, first))
            progress.advance(task, len(part))
        return np.concatenate(parts)

    if arguments.dst.suffix == ".npz":
        if len(severities) > 1:
            raise ConfigError(
                "an .npz holds one severity; give --severity 1 to 5, or a folder as DST"
            )
        if options.same_file(arguments.dst, arguments.src):
            raise ConfigError(f"{arguments.dst} is SRC itself; choose another DST")
        # Opened first, so that a wrong place is told before the work.
        with whole_file(arguments.dst) as file:
            arrays: dict[str, Any] = {n: made(n, severities[0]) for n in names}
            arrays |= {**more, "labels": labels, "severity": np.int64(severities[0])}
            np.savez(file, **arrays)
        return
    if len(severities) == 1:
        raise ConfigError("a CIFAR-C folder holds five severities; give --severity all, or DST.npz")
    parts = [Path(f"{name}.npy") for name in (*names, "labels")]
    with whole_folder(arguments.dst, parts) as folder:
        for name in names:
            stacked = np.concatenate([made(name, severity) for severity in severities])
            np.save(folder / f"{name}.npy", stacked)
        np.save(folder / "labels.npy", np.tile(labels, len(severities)))


def _from_folder(
    arguments: argparse.Namespace,
    names: Sequence[str],
    severities: Sequence[int],
    make: Corrupt,
    progress: Progress,
) -> int:
    """Returns how many pictures were left out, because they cannot be read."""
    parts = [
        (name, severity, Path(name, "" if name == CLEAN else str(severity)))
        for name in names
        for severity in (severities if name != CLEAN else [0])
    ]
    with (
        open_source(str(arguments.src), max_frames=arguments.limit) as source,
        whole_folder(arguments.dst, [part for _, _, part in parts]) as folder,
    ):
        task = progress.add_task("corrupting", total=(source.length or 0) * len(parts))
        for table in sorted(arguments.src.rglob("labels.csv")):
            for _, _, part in parts:
                target = folder / part / table.relative_to(arguments.src)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(table, target)
        for frame in source:
            pixels = frame.pixels
            if arguments.size is not None:
                pixels = resize(pixels, arguments.size)
            for name, severity, part in parts:
                target = folder / part / Path(frame.name).with_suffix(".png")
                if target.exists():
                    raise SourceError(
                        f"{arguments.src} has two pictures that would become "
                        f"{target.relative_to(folder / part)}; rename one of them"
                    )
                picture = make(pixels[None], name, severity, frame.index)[0]
                write_png(target, picture)
                progress.advance(task)
        return source.dropped.total()
