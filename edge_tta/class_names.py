"""Names of a network's classes, from a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edge_tta.errors import ConfigError, one_line
from edge_tta.small_files import MIB, read_small

_MOST_BYTES = 32 * MIB


def read_class_names(path: str | Path) -> tuple[str, ...]:
    """Return class names in the order of the network's outputs.

    The file is a text with one name a line; a JSON list of names; or a JSON object from index to
    name, or to a list whose last entry is the name (as in imagenet_class_index.json).

    Raises:
        ConfigError: the file cannot be read, is none of these, or has more than 32 MiB.
    """
    expected = "expected one name a line, a JSON list, or a JSON object from index to name"
    try:
        text = read_small(path, _MOST_BYTES).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = one_line(error, 120) if isinstance(error, ValueError) else error.strerror
        raise ConfigError(f"cannot read the labels file {path} ({reason}); {expected}") from error
    if text.lstrip()[:1] in ("[", "{"):
        try:
            names = _from_json(json.loads(text))
        except (ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
            raise ConfigError(f"the labels file {path} is not understood; {expected}") from error
    else:
        lines = [line.strip() for line in text.splitlines()]
        names = tuple(line for line in lines if line)
    if not names:
        raise ConfigError(f"the labels file {path} is empty; {expected}")
    return names


def _from_json(value: Any) -> tuple[str, ...]:
    if isinstance(value, dict):
        value = [value[str(index)] for index in range(len(value))]
    return tuple(str(name[-1] if isinstance(name, list) else name) for name in value)
