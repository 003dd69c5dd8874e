"""What consoles print of names that others chose."""

from __future__ import annotations

import io

import pytest
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from edge_tta.cli import terminal as module
from edge_tta.cli.main import main
from edge_tta.cli.terminal import stages, terminal

EVIL = "a\x1b[31mb\u202e\x07"
SHOWN = "a\\x1b[31mb\\u202e\\x07"


def test_messages_and_tables_show_control_characters_and_obey_none(
    capsys: pytest.CaptureFixture[str],
) -> None:
    console = terminal()
    table = Table(title=EVIL)
    table.add_column(EVIL)
    table.add_row(f"{EVIL}\nnext")
    console.print(table)
    console.print(f"wrote {EVIL}\nmore")
    console.print(Text("\x1b[1mbold"))
    out = capsys.readouterr().out
    assert "\\x1b[1mbold" in out
    assert out.count(SHOWN) == 4
    assert not set(out) & set("\x1b\u202e\x07")
    assert f"wrote {SHOWN}\\nmore\n" in out


def test_a_progress_bar_shows_a_source_and_obeys_none_of_its_name() -> None:
    out = io.StringIO()
    console = module._SafeConsole(file=out, force_terminal=True, width=200)
    with Progress(console=console) as progress:
        progress.add_task("a\x1b]0;title\x07", total=2)
    assert "\x1b]" not in out.getvalue()
    assert "a\\x1b]0;" in out.getvalue()


def test_long_cells_wrap(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table(width=20)
    table.add_column("name")
    table.add_row("word " * 20)
    terminal().print(table)
    assert "\\n" not in capsys.readouterr().out


def test_names_that_are_not_utf_8_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    terminal().print("wrote cam\udce9ra")
    assert capsys.readouterr().out == "wrote cam\\udce9ra\n"


def test_the_command_lines_own_errors_obey_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "no\x1b[31msuch\u202e\nfile"]) == 1
    err = capsys.readouterr().err
    assert not set(err) & set("\x1b\u202e")
    assert len(err.splitlines()) == 1


def test_stages_of_long_work_are_lines_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with stages(terminal(), "exporting") as tell:
        tell("tracing")
        tell("writing")
    assert capsys.readouterr().out == "exporting: tracing\nexporting: writing\n"


def test_names_that_a_terminal_has_no_letters_for_end_no_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(written, "ascii", write_through=True))
    main(["--version"])
    terminal().print("Fu\u00dfg\u00e4nger")
    assert written.getvalue().endswith(b"Fu\\xdfg\\xe4nger\n")
