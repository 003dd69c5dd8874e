"""The common part of corrupted copies and of a drift."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.progress import Progress

from bench.corruptions import FrostTextures, corrupt
from bench.corruptions.generate import SMALLEST_SIDE
from bench.sets import CLEAN, load_npz_pictures
from edge_tta.errors import ConfigError, SourceError
from edge_tta.files import same_file
from edge_tta.frames import FrameSource
from edge_tta.prepare import Pixels, resize

AT_ONCE = 64
"""Pictures that are corrupted together."""


@dataclass(frozen=True)
class Job:
    """A call of `edge-tta corrupt`.

    Attributes:
        names: of the corruptions, `clean` among them where asked for.
        size: of the pictures, cut square; None: as they are.
        limit: the first so many pictures; None: all.
    """

    source: Path
    target: Path
    names: Sequence[str]
    seed: int
    size: int | None
    limit: int | None
    textures: FrostTextures | None
    progress: Progress

    def corrupted(self, frames: Pixels, name: str, severity: int, first: int) -> Pixels:
        """Frames (n, H, W, 3) of the source from number `first` on, corrupted.

        Raises:
            ConfigError: they are too small.
        """
        if name == CLEAN:
            return frames
        if min(frames.shape[1:3]) < SMALLEST_SIDE:
            raise ConfigError(
                f"pictures of {frames.shape[2]} x {frames.shape[1]} are too small to corrupt; "
                f"expected sides of at least {SMALLEST_SIDE} pixels: --size {SMALLEST_SIDE} or more"
            )
        return corrupt(
            frames, name, severity, self.seed, first_index=first, frost_textures=self.textures
        )

    def npz(self) -> tuple[Pixels, npt.NDArray[Any], dict[str, npt.NDArray[Any]]]:
        """Load with `load_npz_pictures`, the pictures brought to their size."""
        frames, labels, more = load_npz_pictures(self.source, self.limit)
        return np.stack([self._sized(frame) for frame in frames]), labels, more

    def pictures(self, source: FrameSource) -> Iterator[tuple[int, str, Pixels]]:
        """Number, name and picture (1, H, W, 3) of each frame."""
        for frame in source:
            yield frame.index, frame.name, self._sized(frame.pixels)[None]

    def check_other_target(self) -> None:
        """Refuses the source as target.

        Raises:
            ConfigError: they are the same file.
        """
        if same_file(self.target, self.source):
            raise ConfigError(f"{self.target} is SRC itself; choose another DST")

    def png(self, folder: Path, name: str | Path) -> Path:
        """Path of a picture of the source as PNG in a folder.

        Raises:
            SourceError: another picture has it.
        """
        own = Path(name).with_suffix(".png")
        if (folder / own).exists():
            raise SourceError(
                f"{self.source} has two pictures that would become {own}; rename one of them"
            )
        return folder / own

    def copy_labels(self, folder: Path) -> None:
        """Copies the source's tables of labels, each to its place in a folder."""
        for table in sorted(self.source.rglob("labels.csv")):
            target = folder / table.relative_to(self.source)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(table, target)

    def _sized(self, pixels: Pixels) -> Pixels:
        return pixels if self.size is None else resize(pixels, self.size)
