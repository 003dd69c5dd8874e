"""Result files and the documents that quote them belong together."""

from __future__ import annotations

import re
from fnmatch import fnmatch

from tests.docs.pages import PAGES, ROOT

OF_OTHERS = {"annotations.json", "instances_val2017.json", "manifest.json"}
RESULTS = sorted(path.name for path in ROOT.glob("bench/results/*.json"))


def _named() -> set[str]:
    """Return the names and patterns of JSON files in the documents."""
    text = "".join(page.read_text() for page in PAGES)
    return set(re.findall(r"(?:`|bench/results/)([\w*.-]+\.json)", text))


def test_every_result_file_is_named_by_a_document() -> None:
    names = _named()
    assert [file for file in RESULTS if not any(fnmatch(file, name) for name in names)] == []


def test_a_result_file_that_a_document_names_exists() -> None:
    named = _named() - OF_OTHERS
    assert [name for name in named if not any(fnmatch(file, name) for file in RESULTS)] == []
