"""Places that cannot be written, found out before the work."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge_tta.errors import OutputError
from edge_tta.files import check_place


def test_a_new_file_and_an_old_one_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / "some.json"
    check_place(path)
    assert not path.exists()
    path.write_bytes(b"of yesterday")
    check_place(path)
    assert path.read_bytes() == b"of yesterday"


def test_a_folder_and_a_missing_folder_are_told(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="it is a folder"):
        check_place(tmp_path)
    with pytest.raises(OutputError, match="make it first"):
        check_place(tmp_path / "gone" / "some.json")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(OutputError, match="no permission"):
            check_place(tmp_path / "some.json")
    finally:
        tmp_path.chmod(0o700)
