"""Help texts of commands: every option with its default, the options of a newcomer first."""

from __future__ import annotations

import argparse
from collections.abc import Collection
from typing import Any, NoReturn


def help_of(action: argparse.Action) -> str:
    """Return an option's help with its default, where the text does not tell it."""
    said = action.help or ""
    takes_none = action.nargs == 0 or not action.option_strings
    if takes_none or action.required or "default" in said or action.help is argparse.SUPPRESS:
        return said
    default = action.default
    if default in (None, (None,), argparse.SUPPRESS):
        shown = "none"
    elif isinstance(default, list | tuple):
        shown = ",".join(map(str, default))
    else:
        shown = f"{default:g}" if isinstance(default, float) else str(default)
    return f"{said} (default: {shown.replace('%', '%%')})".strip()


class _Formatter(argparse.HelpFormatter):
    def _get_help_string(self, action: argparse.Action) -> str | None:
        return help_of(action)


class CommandParser(argparse.ArgumentParser):
    """A parser whose help tells defaults, and whose errors are one line."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **{"formatter_class": _Formatter, **options})

    def error(self, message: str) -> NoReturn:
        """Exit with 2: a usage of dozens of options would bury what was wrong."""
        self.exit(2, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def show_first(parser: argparse.ArgumentParser, first: Collection[str]) -> None:
    """Have --help show these options alone, and --help-all every one."""

    class ShowFirst(argparse.Action):
        def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
            for action in parser._actions:
                if action.option_strings and not {*action.option_strings} & {*first}:
                    action.help = argparse.SUPPRESS
            parser.usage = "%(prog)s SOURCE [OPTIONS]"
            parser.print_help()
            parser.exit()

    names = ("-h", "--help")
    parser.add_argument(*names, nargs=0, action=ShowFirst, help="show the usual options")
    parser.add_argument("--help-all", action="help", help="show every option")
