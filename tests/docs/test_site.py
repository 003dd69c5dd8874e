"""The documentation as a site, and what its pages refer to."""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, README, ROOT

EXAMPLE = {"edge_tta/method/hosts/pseudo_label.py", "tests/method/hosts/test_pseudo_label.py"}
OF_OTHER_PROGRAMS = {"--group-add", "--no-deps"}


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    for package in ("mkdocs", "material", "mkdocstrings"):
        pytest.importorskip(package)
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    run = subprocess.run(
        [*words, "--site-dir", str(tmp_path)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    command_line = (tmp_path / "reference" / "command-line.html").read_text()
    assert "--adapt-every" in command_line
    presets = (tmp_path / "reference" / "presets.html").read_text()
    assert "dead_zone" in presets
    assert "What it gives" in (tmp_path / "index.html").read_text()  # of the README
    example = (tmp_path / "contributing" / "add-a-host.html").read_text()
    assert "is_predicted" in example  # of the file that the page includes
    assert "wanted_gradient" in example


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_includes_files_by_the_marker_that_includes_them(page: Path) -> None:
    for line in re.findall(r"^.*--8.*$", page.read_text(), re.MULTILINE):
        marker = re.fullmatch(r'--8<-- "([^"]+)"', line)
        assert marker, line
        assert (ROOT / marker[1]).is_file(), line


def test_the_readme_is_short() -> None:
    assert len(README.read_text().splitlines()) <= 120


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page: Path) -> None:
    for target in re.findall(r"\]\((?![a-z]+:|#)([^)#\s]+)[^)]*\)", page.read_text()):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_a_page_names_are_there(page: Path) -> None:
    named = set(
        re.findall(r"\b(?:edge_tta|export|bench|tests|configs)/[\w/.-]*\w", page.read_text())
    )
    assert not {name for name in named - EXAMPLE if not (ROOT / name).exists()}


def test_what_the_way_of_a_frame_names_is_in_the_code() -> None:
    files = [path for top in ("edge_tta", "export") for path in ROOT.glob(f"{top}/**/*.py")]
    words = set(re.findall(r"\w+", " ".join(path.read_text() for path in files)))
    page = (ROOT / "docs" / "contributing" / "one-frame.md").read_text()
    named = re.findall(r"`([A-Za-z_][\w.]*)(?=[`(])", page)
    parts = {part for name in named if not name.endswith(".py") for part in name.split(".")}
    assert len(parts) > 80
    assert not parts - words


def test_pages_that_the_code_names_are_there() -> None:
    files = [
        path
        for top in ("edge_tta", "export", "bench", "tests")
        for path in ROOT.glob(f"{top}/**/*.*")
    ]
    code = [path for path in files if path.suffix in (".py", ".toml")]
    for path in code:
        for named in re.findall(r"\bdocs/[\w/-]+\.(?:md|png|jpg|svg)", path.read_text()):
            assert (ROOT / named).exists(), f"{path}: {named}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_options_that_a_page_names_exist(page: Path) -> None:
    if page.name == "CHANGELOG.md":
        pytest.skip("it names options that are gone, too")
    text = page.read_text().replace("\\\n", " ")
    commands = " ".join(re.findall(r"edge-tta [a-z].*", text))
    named = set(re.findall(r"(?<!\S)(--[a-z0-9-]+)", commands)) | set(
        re.findall(r"`(--[a-z0-9-]+)", text)
    )
    assert named <= _options() | OF_OTHER_PROGRAMS


@functools.cache
def _options() -> set[str]:
    spec = importlib.util.spec_from_file_location(
        "command_line", ROOT / "docs/hooks/command_line.py"
    )
    assert spec is not None
    assert spec.loader is not None
    hook = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hook)
    return {
        name
        for parser in hook.parsers()
        for action in parser._actions
        for name in action.option_strings
    }
