"""`edge-tta bench report` from result files to a page with plots."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import cv2
import pytest

from bench.report import writing
from bench.report.page import html_page
from edge_tta.config.fields import to_fields
from tests.bench.rows import MACHINE, methods_of, result_file, row
from tests.cli.commands import Result, assert_one_line_of_advice, call

RESULTS = sorted((Path(__file__).parents[2] / "bench" / "results").glob("*.json"))
ROWS = [
    row(label, corruption, error, order=order)
    for order in ("iid", "correlated:30")
    for label, error in (("source", 0.5), ("tent", 0.3), ("nanoadapt:tent", 0.52))
    for corruption in ("clean", "fog", "snow")
]


def _report(*words: object) -> Result:
    return call("bench", "report", *words)


def _page(*words: object, out: Path) -> str:
    result = _report(*words, "--out", out)
    assert result.code == 0, result.err
    assert result.err.endswith(f"wrote {out / 'report.md'} and {out / 'report.html'}\n")
    return (out / "report.md").read_text()


def test_every_plot_of_the_page_is_a_picture_beside_it(tmp_path: Path) -> None:
    page = _page(result_file(tmp_path / "r.json", ROWS), out=tmp_path / "out")
    names = re.findall(r"!\[.+\]\((.+)\)", page)
    assert sorted(names) == sorted(path.name for path in (tmp_path / "out").glob("*.png"))
    assert len(names) == 3  # the orders, and the corruptions in each of the two
    for name in names:
        picture = cv2.imread(str(tmp_path / "out" / name))
        assert min(picture.shape[:2]) > 300
        assert picture.std() > 5  # not an empty page


def test_the_page_has_means_differences_and_what_it_was_measured_with(tmp_path: Path) -> None:
    page = _page(result_file(tmp_path / "r.json", ROWS), out=tmp_path / "out")
    assert "`zoo.py:net` on `some`, severity 5" in page
    assert "| `nanoadapt:tent` | 52.0 (" in page
    assert "| fog | -20.0 | **+2.0 ▲** |" in page
    assert "- iid, N = 1: 3 of 6\n" in page
    assert "edge-tta bench error --json r.json" in page
    assert "| processor | Some CPU |" in page
    assert "| `r.json` | 18 | 0 | abc1234 |" in page


def test_results_of_the_repository_can_be_reported_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the README quotes is in the page of its file; other files measured parts again."""
    # Every plot is drawn; turning 75 of them into pixels takes most of the time and shows no more.
    monkeypatch.setattr(writing, "picture", lambda plot: str(plot.draw()).encode())
    (quoted,) = (path for path in RESULTS if path.name == "cifar10_resnet20_edge.json")
    page = _page(quoted, out=tmp_path / "quoted")
    rows = [
        row
        for row in json.loads(quoted.read_text())["results"]
        if row["order"] == "iid" and row["corruption"] != "clean"
    ]
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    for label in ("source", "nanoadapt:tent"):
        errors = [100 * row["error"] for row in rows if row["label"] == label]
        mean = f"{sum(errors) / len(errors):.1f}"
        assert f"| `{label}` | {mean} (" in page
        assert f"| {mean} |" in readme or f"| **{mean}** |" in readme
    page = _page(*RESULTS, "--mix-machines", out=tmp_path / "out")
    for path in RESULTS:
        assert f"`{path.name}`" in page
    assert "correlated:300" in page


def test_rows_of_a_kind_that_is_not_reported_are_told_of(tmp_path: Path) -> None:
    file = result_file(tmp_path / "r.json", ROWS)
    content = json.loads(file.read_text())
    # As the former `bench bundle` wrote them: not to be taken for those of `bench memory`.
    content["results"].append({"label": "learn", "bundle_peak_bytes": 1})
    file.write_text(json.dumps(content))
    assert "1 rows are of kinds not reported here" in _page(file, out=tmp_path / "out")


def test_the_folder_s_other_files_stay_and_a_second_report_replaces_the_first(
    tmp_path: Path,
) -> None:
    file = result_file(tmp_path / "r.json", ROWS)
    (tmp_path / "notes.txt").write_text("mine")
    first = _page(file, out=tmp_path)
    assert _page(file, out=tmp_path) == first
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert json.loads(file.read_text())["results"]


def test_a_file_that_is_named_twice_counts_once(tmp_path: Path) -> None:
    file = result_file(tmp_path / "r.json", ROWS)
    page = _page(file, tmp_path / "." / "r.json", out=tmp_path / "out")
    assert page == _page(file, out=tmp_path / "other")


def test_files_of_one_name_are_told_apart(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        result_file(tmp_path / name / "r.json", [row((name == "a" and "tent") or "norm")])
    page = _page(tmp_path / "a" / "r.json", tmp_path / "b" / "r.json", out=tmp_path / "out")
    assert "a/r.json`" in page
    assert "b/r.json`" in page


def test_results_of_different_machines_are_not_mixed_unless_asked_for(tmp_path: Path) -> None:
    one = result_file(tmp_path / "one.json", ROWS)
    other = result_file(tmp_path / "other.json", ROWS, environment={**MACHINE, "cores": 4})
    result = _report(one, other, "--out", tmp_path / "out")
    assert_one_line_of_advice(result, "one.json and other.json", "cores 2 and 4", "--mix-machines")
    assert not (tmp_path / "out").exists()
    page = _page(one, other, "--mix-machines", out=tmp_path / "out")
    assert "| cores | 2 | 4 |" in page


def test_another_version_of_a_library_is_no_other_machine(tmp_path: Path) -> None:
    one = result_file(tmp_path / "one.json", ROWS)
    other = result_file(tmp_path / "other.json", ROWS, environment={**MACHINE, "torch": "3.0"})
    assert "| torch | 2.6.0 | 3.0 |" in _page(one, other, out=tmp_path / "out")


def test_one_label_for_two_methods_becomes_two_labels(tmp_path: Path) -> None:
    one, other = row("nanoadapt:tent", error=0.2), row("nanoadapt:tent", error=0.4)
    (config,) = methods_of([one]).values()
    fields = to_fields(config)
    first = result_file(tmp_path / "one.json", [one])
    second = result_file(
        tmp_path / "two.json", [other], {"nanoadapt:tent": {**fields, "smoothing": 0.5}}
    )
    page = _page(first, second, out=tmp_path / "out")
    assert "| `nanoadapt:tent` | 20.0 (" in page
    assert "| `nanoadapt:tent (two)` | 40.0 (" in page
    assert "is another method in `two.json`" in page


def test_a_field_that_a_later_version_added_makes_no_other_method(tmp_path: Path) -> None:
    one, other = row("tent", "fog"), row("tent", "snow")
    (config,) = methods_of([one]).values()
    first = result_file(tmp_path / "one.json", [one])
    second = result_file(tmp_path / "two.json", [other], {"tent": {**to_fields(config), "new": 1}})
    assert "(two)" not in _page(first, second, out=tmp_path / "out")


def test_rows_that_were_measured_again_count_as_in_the_last_file(tmp_path: Path) -> None:
    one = result_file(tmp_path / "one.json", [row("tent", error=0.2)])
    two = result_file(tmp_path / "two.json", [row("tent", error=0.4)])
    page = _page(one, two, out=tmp_path / "out")
    assert "| `tent` | 40.0 (" in page
    assert "1 rows were measured more than once" in page


def test_an_input_is_never_overwritten(tmp_path: Path) -> None:
    file = result_file(tmp_path / "report.md", ROWS)
    before = file.read_bytes()
    result = _report(file, "--out", tmp_path)
    assert_one_line_of_advice(result, "report.md is an input", "choose another --out")
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nothing", "is not JSON"),
        ("[1]", "no schema"),
        ('{"schema": 2, "results": []}', "schema 2 and this edge-tta reads 1"),
        ('{"schema": 1, "results": []}', "lacks its environment, methods or results"),
        ('{"schema": 1, "environment": {}, "methods": {}, "results": [3]}', "lacks its"),
        ('{"schema": 1, "environment": {}, "methods": {}, "results": []}', "no row has any"),
        (
            '{"schema": 1, "environment": {}, "methods": {}, "results": [{"watts": 3}]}',
            "no row has any",
        ),
    ],
)
def test_a_file_that_is_no_result_file_is_told(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text(text)
    result = _report(tmp_path / "r.json", "--out", tmp_path / "out")
    assert_one_line_of_advice(result, "r.json", said)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"error": 1.5}, "error 1.5"),
        ({"error": None}, "error None"),
        ({"by_seed": []}, "by_seed"),
        ({"n": 0}, "n 0"),
        ({"order": "backwards"}, "unknown order 'backwards'"),
        ({"label": 3}, "label 3"),
    ],
)
def test_a_row_that_bench_error_cannot_have_written_is_told(
    changes: dict[str, object], said: str, tmp_path: Path
) -> None:
    rows = [{**row("tent").as_dict(), **changes}]
    file = result_file(tmp_path / "r.json", [row("tent")], results=rows)
    assert_one_line_of_advice(_report(file, "--out", tmp_path / "out"), said)


def test_a_row_that_lacks_a_field_is_told(tmp_path: Path) -> None:
    rows = [{k: v for k, v in row("tent").as_dict().items() if k != "corruption"}]
    file = result_file(tmp_path / "r.json", [row("tent")], results=rows)
    result = _report(file, "--out", tmp_path / "out")
    assert_one_line_of_advice(result, "a row of tent has no corruption")


def test_rows_of_another_kind_are_left_out_and_counted(tmp_path: Path) -> None:
    rows = [row("tent").as_dict(), {"label": "tent", "watts": 3, "seed": 1, "by_seed": 2}]
    page = _page(
        result_file(tmp_path / "r.json", [row("tent")], results=rows), out=tmp_path / "out"
    )
    assert "1 rows are of kinds not reported here" in page


def test_a_missing_file_and_a_folder_are_told(tmp_path: Path) -> None:
    assert_one_line_of_advice(
        _report(tmp_path / "gone.json", "--out", tmp_path / "out"), "cannot read", "gone.json"
    )
    assert_one_line_of_advice(_report(tmp_path, "--out", tmp_path / "out"), "cannot read")


def test_a_place_that_cannot_hold_a_report_is_told(tmp_path: Path) -> None:
    file = result_file(tmp_path / "r.json", ROWS)
    assert_one_line_of_advice(_report(file, "--out", file), "it is a file")
    assert_one_line_of_advice(
        _report(file, "--out", tmp_path / "no" / "out"), "does not exist; make it first"
    )


def test_without_matplotlib_it_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    file = result_file(tmp_path / "r.json", ROWS)
    result = _report(file, "--out", tmp_path / "out")
    assert_one_line_of_advice(result, "matplotlib", "pip install 'edge-tta[plot]'")


def test_it_needs_no_display(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No window system is asked for: pyplot is never imported."""
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    _page(result_file(tmp_path / "r.json", ROWS), out=tmp_path / "out")


def test_an_html_page_fetches_nothing_that_foreign_text_names() -> None:
    text = "![y](http://127.0.0.1:9/q.png) <script>x</script> ![own](plot.png)"
    page = html_page(text, {"plot.png": b"png"}, "<title>")
    assert page.count("<img") == 1
    assert 'src="data:image/png;base64,' in page
    assert "127.0.0.1" not in page
    assert "<script>" not in page
    assert "default-src 'none'" in page
