"""Tables of benchmarks fit the terminal, whatever is in them."""

from __future__ import annotations

import pytest

from bench.cli.showing import show_table
from bench.report.document import Table

NAMES = [
    "tent-stock",
    "nanoadapt:tent, learn, profile memory (onnx)",
    "`source`",
    "nanoadapt:tent@paper+smoothing=0.95+views=3+learning_rate=0.00025+guard+filter",
]


def _lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(("│", "┃"))]


@pytest.mark.parametrize("width", [60, 80, 200])
@pytest.mark.parametrize("columns", [1, 5, 14])
def test_no_line_is_longer_and_no_figure_is_broken(
    width: int, columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    header = ["method", *(f"long header {k}" for k in range(columns))]
    rows = [[name, *(f"{1234.5 + k}" for k in range(columns))] for name in NAMES]
    show_table(Table(header, rows), "title")
    text = capsys.readouterr().out
    assert max(len(line.rstrip()) for line in text.splitlines()) <= width
    cells = [cell.strip() for line in _lines(text) for cell in line.split("│")]
    for k in range(columns):
        assert cells.count(f"{1234.5 + k}") == len(NAMES)
    assert text.count("title") == 1
    names = "".join(line.split("│")[1] for line in _lines(text) if line.startswith("│"))
    for name in NAMES:
        assert name.replace("`", "").replace(" ", "") in names.replace(" ", "")


def test_a_table_that_fits_is_as_wide_as_what_is_in_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    show_table(Table(["method", "a:b+c"], [["one", "2.0"], ["**two**", "10.5"]]))
    lines = _lines(capsys.readouterr().out)
    assert [line.split("│")[1].strip() for line in lines[-2:]] == ["one", "two"]
    assert max(map(len, lines)) < 25
