"""Completion of command lines in a shell, by argcomplete (extra [completion])."""

from __future__ import annotations

import argparse
import importlib
import os
from collections.abc import Mapping, Sequence

ASKED = "_ARGCOMPLETE"
"""Environment variable that a shell sets which asks for completions."""


def answer(parser: argparse.ArgumentParser, commands: Mapping[str, tuple[str, str]]) -> None:
    """Tells the shell what could stand next, and ends the process; returns without argcomplete.

    Args:
        parser: of the top level, with `commands`: name: (module, what it does).
    """
    try:
        import argcomplete
    except ImportError:
        return
    words = os.environ.get("COMP_LINE", "").split()
    fill_in(parser, commands, words[1:])
    argcomplete.autocomplete(parser)


def fill_in(
    parser: argparse.ArgumentParser,
    commands: Mapping[str, tuple[str, str]],
    words: Sequence[str],
) -> None:
    """Put the whole parser of the command that the words begin with into its place.

    Only its module is imported: completion is as quick as the command.
    """
    if not words or words[0] not in commands:
        return
    module = importlib.import_module(commands[words[0]][0])
    kinds: Mapping[str, tuple[str, str]] | None = getattr(module, "KINDS", None)
    command: argparse.ArgumentParser = module.parser()
    if kinds is not None:
        fill_in(command, kinds, words[1:])
    below = next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    below.choices[words[0]] = command
