"""JSON lines: every line is complete, every number is JSON."""

from __future__ import annotations

import errno
import io
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_tta.errors import OutputError
from edge_tta.show import JsonlWriter


def _lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_each_record_is_on_disk_before_the_next(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with JsonlWriter(path) as writer:
        for index in range(3):
            writer.write({"index": index})
            assert _lines(path) == [{"index": i} for i in range(index + 1)]
    writer.close()


def test_numpy_values_become_json(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    record: dict[Any, Any] = {
        "f32": np.float32(0.1),
        "f64": np.float64(2.5),
        "i64": np.int64(2**40),
        "bool": np.bool_(True),
        "array": np.arange(4).reshape(2, 2),
        "empty": np.zeros(0),
        "tuple": (1, "a", None),
        "counter": Counter(black=2),
        "path": Path("a/b.png"),
        "text": "caf\u00e9 \udc80",
        3: False,
    }
    with JsonlWriter(path) as writer:
        writer.write(record)
    assert _lines(path) == [
        {
            "f32": 0.1,
            "f64": 2.5,
            "i64": 2**40,
            "bool": True,
            "array": [[0, 1], [2, 3]],
            "empty": [],
            "tuple": [1, "a", None],
            "counter": {"black": 2},
            "path": "a/b.png",
            "text": "caf\u00e9 \udc80",
            "3": False,
        }
    ]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (float("nan"), None),
        (np.float32("inf"), None),
        (np.array([1.0, np.nan]), [1.0, None]),
        (0.1234567890123, 0.123457),
        (12345.678901234, 12345.678901),
        (1.23456789e-7, 1.23457e-7),
        (-1.5, -1.5),
        (1e300, 1e300),
        (0.0, 0.0),
    ],
)
def test_floats_are_rounded_and_never_nan(tmp_path: Path, value: Any, expected: Any) -> None:
    with JsonlWriter(tmp_path / "out.jsonl") as writer:
        writer.write({"value": value})
    assert _lines(tmp_path / "out.jsonl") == [{"value": expected}]


def test_an_old_file_stays_until_the_first_record_is_ready(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text("old\n")
    with JsonlWriter(path) as writer:
        assert path.read_text() == "old\n"
        with pytest.raises(TypeError, match="may not hold object"):
            writer.write({"value": object()})
        assert path.read_text() == "old\n"
        writer.write({"value": 1})
    assert _lines(path) == [{"value": 1}]


def test_without_records_there_is_no_file(tmp_path: Path) -> None:
    with JsonlWriter(tmp_path / "out.jsonl"):
        pass
    assert not list(tmp_path.iterdir())


def test_dash_is_standard_output_and_stays_open(capsys: pytest.CaptureFixture[str]) -> None:
    with JsonlWriter("-") as writer:
        writer.write({"a": 1})
    print("after")
    assert capsys.readouterr().out == '{"a": 1}\nafter\n'


def test_places_that_cannot_work_are_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(OutputError, match="is a folder"):
        JsonlWriter(tmp_path)
    with pytest.raises(OutputError, match="does not exist; make it first"):
        JsonlWriter(tmp_path / "gone" / "out.jsonl")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(OutputError, match="no permission"):
        JsonlWriter(tmp_path / "out.jsonl")


def test_a_full_disk_is_reported_in_one_line(tmp_path: Path) -> None:
    class Full(io.BytesIO):
        def write(self, data: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    writer = JsonlWriter(tmp_path / "out.jsonl")
    writer._file = Full()
    with pytest.raises(OutputError, match=r"No space left on device; make room"):
        writer.write({"a": 1})
    writer.close()


@pytest.mark.skipif(sys.platform == "win32", reason="pipes differ")
def test_a_reader_that_goes_away_is_one_clean_error() -> None:
    program = (
        "from edge_tta.show.jsonl import JsonlWriter\n"
        "from edge_tta.errors import OutputError\n"
        "import sys\n"
        "try:\n"
        "    with JsonlWriter('-') as writer:\n"
        "        for index in range(100000):\n"
        "            writer.write({'index': index})\n"
        "except OutputError as error:\n"
        "    print(error, file=sys.stderr)\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert child.stdout is not None
    assert child.stdout.readline() == '{"index": 0}\n'
    child.stdout.close()
    assert child.stderr is not None
    with child.stderr as stream:
        said = stream.read()
    assert child.wait(timeout=20) == 0
    assert said.count("\n") == 1
    assert "standard output" in said
