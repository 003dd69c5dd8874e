"""What a package index shows, and what is installed from one."""

from __future__ import annotations

import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import time
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


@pytest.mark.installed
def test_the_wheel_runs_the_demo_in_a_fresh_environment_without_torch(tmp_path: Path) -> None:
    """Builds, installs and runs as a device does; needs a package index."""
    source, wheels, venv = (tmp_path / name for name in ("source", "wheels", "venv"))
    for name in ("edge_tta", "export", "bench"):  # a build leaves files where it is done
        shutil.copytree(ROOT / name, source / name)
    for name in ("pyproject.toml", "setup.py", "setup.cfg", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    _run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", wheels, source)
    (wheel,) = wheels.glob("*.whl")
    assert wheel.stat().st_size < 2_000_000
    _run(sys.executable, "-m", "venv", venv)
    programs = venv / "bin"
    _run(programs / "python", "-m", "pip", "install", "--no-compile", wheel)
    begun = time.monotonic()
    words = ("run", "demo", "--headless", "--max-frames", "40", "--jsonl", "-")
    with subprocess.Popen(
        [programs / "edge-tta", *words], stdout=subprocess.PIPE, text=True, cwd=tmp_path, env=_FRESH
    ) as run:
        assert run.stdout is not None
        first = json.loads(run.stdout.readline())
        print(f"first record after {time.monotonic() - begun:.1f} s")
        records = [first, *map(json.loads, run.stdout)]
    assert run.returncode == 0
    assert len(records) == 40
    assert records[-1]["prediction"]
    assert "not installed: bundles only" in _run(programs / "edge-tta", "doctor")


# Nothing of this checkout is found.
_FRESH = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def _run(*words: object) -> str:
    """What a command says; skips where pip reaches no index."""
    done = subprocess.run(
        [str(word) for word in words],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        env=_FRESH,
    )
    unreachable = ("No matching distribution", "NewConnectionError", "Temporary failure in name")
    if done.returncode and any(said in done.stderr for said in unreachable):
        pytest.skip(f"no package index answers: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    return done.stdout
