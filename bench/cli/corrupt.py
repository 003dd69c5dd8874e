"""`edge-tta corrupt SRC DST`: corrupted copies of labelled pictures."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from rich.progress import Progress

from bench.corruptions import CORRUPTIONS, GROUPS, FrostTextures, corrupt, load_frost_textures
from bench.sets import CLEAN, load_npz_pictures
from edge_tta.cli import options
from edge_tta.cli.terminal import terminal
from edge_tta.errors import ConfigError, OutputError, SourceError
from edge_tta.files import whole_file, write_whole
from edge_tta.frames import open_source
from edge_tta.prepare import Pixels, resize

_CHUNK = 64
Corrupt = Callable[[Pixels, str, int, int], Pixels]


def parser() -> argparse.ArgumentParser:
    """The subcommand's options."""
    parser = argparse.ArgumentParser(
        prog="edge-tta corrupt",
        description="Writes corrupted copies of pictures (the 15 corruptions of ImageNet-C and "
        "CIFAR-C). An .npz becomes an .npz (one severity) or a CIFAR-C folder (--severity all); a "
        "folder becomes a tree CORRUPTION/SEVERITY/.",
    )
    parser.add_argument(
        "src", metavar="SRC", type=Path, help=".npz with images and labels, or folder"
    )
    parser.add_argument("dst", metavar="DST", type=Path, help=".npz or new folder")
    parser.add_argument(
        "--corruption",
        default="all",
        metavar="NAME[,NAME...]",
        help=f"all | clean | {' | '.join(GROUPS)} | a name; several separated by commas",
    )
    parser.add_argument("--severity", default="5", choices=[*"12345", "all"], help="1 to 5, or all")
    parser.add_argument("--seed", type=options.natural, default=0)
    parser.add_argument("--limit", type=options.count, help="the first so many pictures")
    parser.add_argument("--size", type=options.count, help="side of the pictures, cut square")
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
        return corrupt(
            frames, name, severity, arguments.seed, first_index=first, frost_textures=textures
        )

    console = terminal(stderr=True)
    with Progress(console=console, disable=not console.is_terminal) as progress:
        if arguments.src.suffix == ".npz":
            _from_npz(arguments, names, severities, make, progress)
        elif arguments.src.is_dir():
            _from_folder(arguments, names, severities, make, progress)
        else:
            raise SourceError(
                f"cannot read {arguments.src}; expected an .npz with images and labels, or a folder"
            )
    console.print(f"wrote {arguments.dst}")
    return 0


def _names(text: str) -> list[str]:
    known: dict[str, tuple[str, ...]] = {"all": CORRUPTIONS, CLEAN: (CLEAN,), **GROUPS}
    known.update({name: (name,) for name in CORRUPTIONS})
    found: dict[str, None] = {}
    for part in text.split(","):
        if part.strip() not in known:
            raise ConfigError(f"unknown corruption {part!r}; expected {', '.join(known)}")
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
        arrays: dict[str, npt.NDArray[Any]] = {name: made(name, severities[0]) for name in names}
        with whole_file(arguments.dst) as file:
            np.savez(
                file,
                allow_pickle=False,
                **arrays,
                **more,
                labels=labels,
                severity=np.int64(severities[0]),
            )
        return
    if len(severities) == 1:
        raise ConfigError("a CIFAR-C folder holds five severities; give --severity all, or DST.npz")
    _make_folder(arguments.dst)
    for name in names:
        stacked = np.concatenate([made(name, severity) for severity in severities])
        with whole_file(arguments.dst / f"{name}.npy") as file:
            np.save(file, stacked)
    with whole_file(arguments.dst / "labels.npy") as file:
        np.save(file, np.tile(labels, len(severities)))


def _from_folder(
    arguments: argparse.Namespace,
    names: Sequence[str],
    severities: Sequence[int],
    make: Corrupt,
    progress: Progress,
) -> None:
    with open_source(str(arguments.src), max_frames=arguments.limit) as source:
        total = (source.length or 0) * len(names) * len(severities)
        task = progress.add_task("corrupting", total=total)
        folders = [
            (name, severity, arguments.dst / name / ("" if name == CLEAN else str(severity)))
            for name in names
            for severity in (severities if name != CLEAN else [0])
        ]
        tables = sorted(arguments.src.glob("labels.csv"))
        for _, _, folder in folders:
            _make_folder(folder)
            for table in tables:
                shutil.copyfile(table, folder / table.name)
        for frame in source:
            pixels = frame.pixels
            if arguments.size is not None:
                pixels = resize(pixels, arguments.size)
            for name, severity, folder in folders:
                picture = make(pixels[None], name, severity, frame.index)[0]
                target = folder / Path(frame.name).with_suffix(".png")
                _make_folder(target.parent)
                bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
                write_whole(target, cv2.imencode(".png", bgr)[1].tobytes())
                progress.advance(task)


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {path}: {error.strerror}") from error
