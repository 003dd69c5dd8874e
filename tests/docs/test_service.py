"""What a service is made of: the files in configs/service, as far as they run here."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from edge_tta.cli.main import COMMANDS
from edge_tta.cli.run_options import check, parser
from tests.docs.pages import ROOT

FOLDER = ROOT / "configs" / "service"
UNIT = (FOLDER / "edge-tta.service").read_text()
CONTAINER = (FOLDER / "Containerfile").read_text()


def _unit_command() -> list[str]:
    line = re.search(r"^ExecStart=((?:.*\\\n)*.*)", UNIT, re.MULTILINE)
    assert line
    return shlex.split(line[1].replace("\\\n", " "))[1:]


def _container_command() -> list[str]:
    line = re.search(r"^CMD ((?:.*\\\n)*.*)", CONTAINER, re.MULTILINE)
    assert line
    words: list[str] = json.loads(line[1].replace("\\\n", " "))
    return words


def _compose_command() -> list[str]:
    yaml = pytest.importorskip("yaml", reason="needs PyYAML")
    service = yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"]["edge-tta"]
    words: list[str] = service["command"]
    return words


@pytest.mark.parametrize(
    "command", [_unit_command, _container_command, _compose_command], ids=lambda c: c.__name__
)
def test_a_command_line_is_one_of_the_program(command: object, tmp_path: Path) -> None:
    assert callable(command)
    name, *words = command()
    assert name in COMMANDS
    token = tmp_path / "token"
    token.write_text("0123456789abcdef\n")
    for option, here in {"--token-file": token, "--state": tmp_path / "state.safetensors"}.items():
        if option in words:
            words[words.index(option) + 1] = str(here)
    arguments = parser().parse_args(words)
    check(arguments)
    assert not arguments.serve.local
    assert arguments.serve.token
    assert arguments.state is not None
    assert arguments.reconnect == float("inf")


def test_the_unit_is_one_for_systemd(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze")
    unit = tmp_path / "edge-tta.service"
    unit.write_text(re.sub(r"/opt/\S+/edge-tta", "/bin/true", UNIT))
    words = ["systemd-analyze", "verify", "--man=no", unit]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_image_has_the_light_install_and_the_page_and_no_rights() -> None:
    tomllib = pytest.importorskip("tomllib", reason="needs Python 3.11")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["serve"]]
    names = {re.split(r"[<>=;]", line)[0] for line in wanted if "python_version" not in line}
    names = names - {"opencv-python"} | {"opencv-python-headless"}
    line = re.search(r"^RUN pip install --no-cache-dir (.*)$", CONTAINER, re.MULTILINE)
    assert line
    assert set(line[1].split()) == names
    assert CONTAINER.index("\nUSER edge-tta\n") < CONTAINER.index("\nENTRYPOINT ")


def test_what_the_image_is_built_from_is_there() -> None:
    kept = re.findall(r"^!(.+)$", (FOLDER / "Containerfile.dockerignore").read_text(), re.MULTILINE)
    assert {"edge_tta", "export", "bench", "pyproject.toml", "README.md"} <= set(kept)
    for name in kept:
        assert (ROOT / name).exists(), name
    compose = (FOLDER / "compose.yaml").read_text()
    context, dockerfile = (
        re.search(rf"^ +{key}: (.+)$", compose, re.MULTILINE) for key in ("context", "dockerfile")
    )
    assert context
    assert dockerfile
    assert (FOLDER / context[1]).resolve() == ROOT
    assert (ROOT / dockerfile[1]).is_file()
