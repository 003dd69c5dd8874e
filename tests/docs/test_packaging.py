"""What a package index shows."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest

setuptools = pytest.importorskip("setuptools", reason="needs setuptools")
ROOT = Path(__file__).parents[2]


def test_links_and_pictures_of_the_readme_lead_to_the_repository_on_an_index(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: dict[str, Any] = {}
    monkeypatch.setattr(setuptools, "setup", lambda **options: told.update(options))
    runpy.run_path(str(ROOT / "setup.py"))
    text = told["long_description"]
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert len(links) == len(re.findall(r"\]\(([^)]+)\)", (ROOT / "README.md").read_text("utf-8")))
    assert all(link.startswith(("https://", "#")) for link in links)
    assert "/raw/main/docs/pictures/demo.jpg" in text
    assert "/blob/main/docs/index.md" in text
