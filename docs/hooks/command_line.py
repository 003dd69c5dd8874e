"""The reference of the command line, from the parsers themselves.

A line `{{ commands }}` of a page becomes a section for every command.
"""

from __future__ import annotations

import argparse
import importlib
import re
from collections.abc import Iterator
from typing import Any

MARK = "{{ commands }}"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Return the page with its mark replaced."""
    return markdown.replace(MARK, "\n".join(_lines())) if MARK in markdown else markdown


def parsers() -> Iterator[argparse.ArgumentParser]:
    """Yield the parser of every command, in the order of `edge-tta --help`."""
    from edge_tta.cli.main import COMMANDS

    for module, _ in COMMANDS.values():
        command = importlib.import_module(module)
        kinds = getattr(command, "KINDS", None)
        if kinds is not None:
            for kind, _ in kinds.values():
                yield importlib.import_module(kind).parser()
            continue
        parser: argparse.ArgumentParser = command.parser()
        below = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
        if below:
            yield from below[0].choices.values()
        else:
            yield parser


def _lines() -> Iterator[str]:
    for parser in parsers():
        yield f"## {parser.prog}\n"
        if parser.description:
            yield f"{_text(parser.description)}\n"
        places = [a.metavar or a.dest for a in parser._get_positional_actions()]
        yield f"```\n{' '.join([parser.prog, *map(str, places), '[OPTIONS]'])}\n```\n"
        for group in parser._action_groups:
            actions = [a for a in group._group_actions if "--help" not in a.option_strings]
            if not actions:
                continue
            if group.title not in ("options", "positional arguments"):
                yield f"**{str(group.title).capitalize()}**\n"
            if group.description:
                yield f"{_text(group.description)}\n"
            for action in actions:
                yield _term(action)
                yield f":   {_what(action)}\n"
        if parser.epilog:
            yield f"{_text(parser.epilog)}\n"


def _term(action: argparse.Action) -> str:
    value = "" if action.nargs == 0 else str(action.metavar or "")
    if action.choices is not None and not action.metavar:
        value = " | ".join(map(str, action.choices))
    elif not value and action.nargs != 0:
        value = action.dest.upper()
    names = list(action.option_strings) or [value]
    value = value if action.option_strings else ""
    return f"`{', '.join(names)}{' ' + value if value else ''}`"


def _what(action: argparse.Action) -> str:
    from edge_tta.cli.help import help_of

    what = [_text(help_of(action))]
    if action.required and action.option_strings:
        what.append("Required.")
    return " ".join(what) or "&nbsp;"


def _text(text: str) -> str:
    """Return a text of argparse as Markdown that shows it as it is."""
    flat = " ".join(text.replace("%%", "%").split())
    return re.sub(r"([\\<>\[\]*_])", r"\\\1", flat)
