"""Places of a run's results: none of them is the source, or that of another result."""

from __future__ import annotations

import argparse
from pathlib import Path

from edge_tta.errors import ConfigError
from edge_tta.files import same_file
from edge_tta.frames.finding import is_picture

_FILES = ("save", "jsonl", "state", "plot")


def check_results(arguments: argparse.Namespace) -> None:
    """Refuses results that would be written over the source, or over one another.

    Raises:
        ConfigError: one would.
    """
    given = {name: getattr(arguments, name) for name in _FILES}
    places = {name: Path(out) for name, out in given.items() if out not in (None, "-")}
    source = Path(arguments.source)
    # What a folder or a pattern of pictures shows, or the folder of a picture.
    folder = source if source.is_dir() else source.parent if is_picture(source) else None
    taken: dict[Path, str] = {}
    for name, place in places.items():
        shown = folder is not None and is_picture(place) and _within(place, folder)
        if same_file(source, place) or (shown and place.exists()):
            raise ConfigError(f"{place} is the source itself; choose another name for the result")
        other = taken.setdefault(place.absolute(), name)
        if other != name:
            raise ConfigError(f"--{other} and --{name} are both {place}; give each a name")
    masks = arguments.masks
    if masks is not None and folder is not None and _within(masks, folder, itself=True):
        raise ConfigError(
            f"--masks {masks} is in the folder of the source's pictures, which masks of the same "
            "names would replace; choose another folder"
        )


def _within(path: Path, folder: Path, *, itself: bool = False) -> bool:
    """Tell whether a path is somewhere below a folder, or, where asked for, the folder."""
    above = [path, *path.parents] if itself else list(path.parents)
    return any(one.resolve() == folder.resolve() for one in above)
