"""Help of commands."""

from __future__ import annotations

import argparse

import pytest

from bench.cli import error
from edge_tta.cli import run_options
from edge_tta.cli.help import CommandParser, help_of
from edge_tta.cli.main import main
from export import cli as export_cli


def _every_parser() -> list[argparse.ArgumentParser]:
    export = export_cli.parser()
    kinds = next(a for a in export._actions if isinstance(a, argparse._SubParsersAction))
    return [run_options.parser(), error.parser(), *kinds.choices.values()]


@pytest.mark.parametrize("parser", _every_parser(), ids=lambda parser: parser.prog)
def test_every_option_that_takes_a_value_tells_its_default(
    parser: argparse.ArgumentParser,
) -> None:
    text = " ".join(parser.format_help().split())
    for action in parser._actions:
        hidden = action.help is argparse.SUPPRESS
        if action.option_strings and action.nargs != 0 and not action.required and not hidden:
            assert "default" in help_of(action), action.option_strings
            assert help_of(action).split()[-1].replace("%%", "%") in text


def test_a_default_is_told_as_it_is_typed() -> None:
    parser = CommandParser()
    parser.add_argument("--share", default="50%", help="of all")
    parser.add_argument("--sizes", default=(1, 2), help="in pixels")
    parser.add_argument("--told", default=3, help="by default many")
    text = parser.format_help()
    assert "of all (default: 50%)" in text
    assert "in pixels (default: 1,2)" in text
    assert "by default many\n" in text


def test_help_of_run_shows_what_a_newcomer_needs_and_help_all_the_rest(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["run", "--help"]) == 0
    short = capsys.readouterr().out
    assert main(["run", "--help-all"]) == 0
    everything = capsys.readouterr().out
    for option in run_options.FIRST:
        assert f"  {option} " in short
        assert f"  {option} " in everything
    assert "--help-all" in short
    assert "--reconnect" not in short
    assert "--reconnect" in everything
    assert len(short.splitlines()) < 45
    assert max(map(len, (short + everything).splitlines())) <= 80
