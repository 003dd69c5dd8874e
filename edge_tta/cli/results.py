"""Places of a run's results: none of them is the source, or that of another result."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

from edge_tta.errors import ConfigError
from edge_tta.files import same_file

_FILES = ("save", "jsonl", "state", "plot")
_MASK = re.compile(r"\d{6,}\.png")


def check_results(arguments: argparse.Namespace) -> None:
    """Refuses results that would be written over the file that is the source, or one another.

    Raises:
        ConfigError: one would.
    """
    taken: dict[Path, str] = {}
    for name, place in _places(arguments).items():
        if same_file(Path(arguments.source), place):
            raise _is_source(place)
        other = taken.setdefault(place.resolve(), name)
        if other != name:
            raise ConfigError(f"--{other} and --{name} are both {place}; give each a name")


def check_pictures(arguments: argparse.Namespace, pictures: Sequence[Path]) -> None:
    """Refuses results that would be written over the pictures of a source.

    Raises:
        ConfigError: one would.
    """
    names: dict[Path, set[str]] = {}
    for picture in pictures:
        names.setdefault(picture.parent, set()).add(picture.name)
    shown = [(folder.resolve(), inside) for folder, inside in names.items()]
    for place in _places(arguments).values():
        if any(place.parent.resolve() == folder and place.name in own for folder, own in shown):
            raise _is_source(place)
    masks = arguments.masks
    for folder, inside in shown if masks is not None else ():
        if masks.resolve() == folder and (hit := next(filter(_MASK.fullmatch, inside), None)):
            raise ConfigError(
                f"--masks {masks} is where the source's pictures are, and a mask would replace "
                f"{hit}; choose another folder"
            )


def _places(arguments: argparse.Namespace) -> dict[str, Path]:
    """Return the files that results go to, by option."""
    given = {name: getattr(arguments, name) for name in _FILES}
    return {name: Path(out) for name, out in given.items() if out not in (None, "-")}


def _is_source(place: Path) -> ConfigError:
    return ConfigError(f"{place} is the source itself; choose another name for the result")
