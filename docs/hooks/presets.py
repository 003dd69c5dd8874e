"""The reference of presets, from the tables' own docstrings and the presets' own files.

A line `{{ presets }}` of a page becomes a section for every table. Nothing is imported.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import griffe

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
MARK = "{{ presets }}"
PRESETS = ("edge", "paper")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Return the page with its mark replaced."""
    return markdown.replace(MARK, "\n".join(_lines())) if MARK in markdown else markdown


def _lines() -> Iterator[str]:
    module = griffe.load("edge_tta.config.tables", search_paths=[ROOT], resolve_aliases=False)
    files = {name: _preset(name) for name in PRESETS}
    for name, record in _tables(module).items():
        sections = record.docstring.parse("google")
        yield f"## [{name}]\n\n{sections[0].value.splitlines()[0]}\n"
        (attributes,) = (s for s in sections if s.kind is griffe.DocstringSectionKind.attributes)
        for described in attributes.value:
            for field in described.name.split(", "):
                values = [
                    f"default {_shown(ast.literal_eval(str(record.attributes[field].value)))}"
                ]
                values += [
                    f"`{preset}` {_shown(tables[name][field])}"
                    for preset, tables in files.items()
                    if field in tables.get(name, {})
                ]
                short = f", on the command line `{name}`" if field in ("kind", "count") else ""
                yield f"`{field}`{short}: {', '.join(values)}"
                yield f":   {' '.join(described.description.split())}\n"


def _tables(module: Any) -> dict[str, Any]:
    """Return the record of each table, by the table's name: the fields of a MethodConfig."""
    fields = module.classes["MethodConfig"].attributes
    return {
        name: module.classes[str(field.annotation)]
        for name, field in fields.items()
        if str(field.annotation) in module.classes
    }


def _preset(name: str) -> dict[str, dict[str, Any]]:
    return tomllib.loads((ROOT / "edge_tta" / "presets" / f"{name}.toml").read_text("utf-8"))


def _shown(value: Any) -> str:
    """Return a value as TOML has it."""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f'`"{value}"`' if isinstance(value, str) else f"`{value:g}`"
