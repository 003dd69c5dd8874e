"""Class names from files."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from edge_tta.class_names import read_class_names
from edge_tta.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("cat\ndog\n", ("cat", "dog")),
        ("cat\r\ndog", ("cat", "dog")),
        ("  give way \n\n\n stop\n", ("give way", "stop")),
        ("\ufeffcat\ndog\n", ("cat", "dog")),
        ("caf\u00e9\n\u72ac\n", ("caf\u00e9", "\u72ac")),
        ('["cat", "dog"]', ("cat", "dog")),
        ("\n  [1, 2]", ("1", "2")),
        ('{"1": "dog", "0": "cat"}', ("cat", "dog")),
        ('{"0": ["n01", "tench"], "1": ["n02", "goldfish"]}', ("tench", "goldfish")),
        (json.dumps({str(i): f"c{i}" for i in range(11)}), tuple(f"c{i}" for i in range(11))),
    ],
)
def test_every_form_gives_the_names_in_the_order_of_the_outputs(
    text: str, names: tuple[str, ...], tmp_path: Path
) -> None:
    path = tmp_path / "names"
    path.write_bytes(text.encode())
    assert read_class_names(path) == names
    assert read_class_names(str(path)) == names


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n \n",
        b"[]",
        b"{}",
        b'["cat", ',
        b'{"0": "cat", "2": "dog"}',
        b'{"cat": 0, "dog": 1}',
        b'[["n01", "tench"], []]',
        b"\xff\xfe\x00cat",
    ],
    ids=repr,
)
def test_what_is_not_understood_is_told_with_what_was_expected(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "names"
    path.write_bytes(data)
    with pytest.raises(ConfigError, match="expected one name a line") as caught:
        read_class_names(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_and_a_folder_are_told(tmp_path: Path) -> None:
    for path in (tmp_path / "gone.txt", tmp_path):
        with pytest.raises(ConfigError, match="cannot read the labels file"):
            read_class_names(path)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no /dev/zero here")
def test_a_device_without_an_end_is_told() -> None:
    with pytest.raises(ConfigError, match="more than 32 MiB"):
        read_class_names("/dev/zero")


def test_a_pipe_is_read_as_shells_give_them(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"cat\ndog\n")
    os.close(writing)
    try:
        assert read_class_names(f"/dev/fd/{reading}") == ("cat", "dog")
    finally:
        os.close(reading)
