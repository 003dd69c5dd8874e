"""Presets: TOML files with the tables of a configuration; `edge` and `paper` come along."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Any

from edge_tta.config.fields import PLACES, TABLES
from edge_tta.errors import ConfigError
from edge_tta.small_files import read_small

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PRESETS = ("edge", "paper")
_MOST_BYTES = 1 << 16


def load_preset(preset: str | Path) -> dict[str, Any]:
    """Return the fields of a named preset or a TOML file, by the names of PLACES.

    Raises:
        ConfigError: no such preset, not TOML, or an unknown table or field.
    """
    if str(preset) in PRESETS:
        text = (resources.files("edge_tta") / "presets" / f"{preset}.toml").read_text("utf-8")
    else:
        path = Path(preset)
        if path.suffix != ".toml":
            raise ConfigError(
                f"unknown preset {str(preset)!r}; expected {', '.join(PRESETS)} or a .toml file"
            )
        try:
            text = read_small(path, _MOST_BYTES).decode("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"cannot read the preset {path}: {error}") from error
    try:
        tables = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"the preset {preset} is not valid TOML: {error}") from error
    return _fields(tables, f" in {preset}")


def check_names(names: Iterable[str], what: str, where: str = "") -> None:
    """Refuse names that are no field.

    what, where: for the message, as `field` and ` in FILE`.

    Raises:
        ConfigError: an unknown name, with the nearest known one.
    """
    for name in names:
        if name not in PLACES:
            near = difflib.get_close_matches(name, PLACES, n=1)
            hint = f"; did you mean {near[0]}?" if near else f"; known: {', '.join(sorted(PLACES))}"
            raise ConfigError(f"unknown {what}{where}: {name}{hint}")


def _fields(tables: dict[str, Any], where: str) -> dict[str, Any]:
    """Values of a file's tables, by the names of PLACES."""
    names = {place: name for name, place in PLACES.items()}
    fields: dict[str, Any] = {}
    for table, entries in tables.items():
        if table not in TABLES or not isinstance(entries, dict):
            check_names([table], "field", where)
            raise ConfigError(f"the field {table}{where} stands in a table: {_place(table)}")
        for field, value in entries.items():
            if (table, field) not in names:
                check_names([field], "field", where)
                raise ConfigError(
                    f"the field {field}{where} stands in [{table}], expected {_place(field)}"
                )
            fields[names[table, field]] = value
    return fields


def _place(name: str) -> str:
    table, field = PLACES[name]
    return f"[{table}] {field}"
