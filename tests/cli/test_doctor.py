"""`edge-tta doctor` on machines of all kinds, as far as files and programs make them."""

from __future__ import annotations

import importlib.metadata
import json
import re
import sys
from pathlib import Path

import pytest

from edge_tta.cli import look_cameras, look_machine, look_software
from edge_tta.cli.doctor import findings
from edge_tta.cli.finding import said
from tests.cli.commands import call

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

JETSON = "NV Power Mode: {}\n{}"


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """Makes a program that prints something the only one there is."""

    def make(name: str, text: str, code: int = 0) -> None:
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\ncat <<'X'\n{text}\nX\nexit {code}\n")
        path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    return make


def test_every_finding_that_is_not_well_says_how_to_mend_it() -> None:
    everything = list(findings())
    assert {"machine", "memory", "disk", "PyTorch", "OpenCV", "video .mp4"} <= {
        finding.what for finding in everything
    }
    for finding in everything:
        assert finding.found
        assert finding.ok or finding.advice, finding
        assert "\n" not in finding.found + finding.advice


def test_every_package_of_an_extra_is_looked_for() -> None:
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    extras = tomllib.loads(text)["project"]["optional-dependencies"]
    needed = {
        re.match(r"[\w-]+", package)[0]  # type: ignore[index]
        for extra in set(extras) - {"all", "dev", "docs", "fuzz"}
        for package in extras[extra]
    }
    assert needed <= {finding.what for finding in findings()} | {"torch"}


def test_the_table_fits_narrow_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    result = call("doctor")
    assert max(map(len, result.out.splitlines())) <= 80


def test_the_json_is_the_same_as_the_table() -> None:
    result = call("doctor", "--json")
    assert result.code == 0
    named = [entry["what"] for entry in json.loads(result.out)]
    assert named == [finding.what for finding in findings()]


@pytest.mark.parametrize(("mode", "number", "well"), [("MAXN_SUPER", 2, True), ("15W", 0, False)])
def test_a_jetsons_power_mode_is_told(program, mode: str, number: int, well: bool) -> None:  # type: ignore[no-untyped-def]
    program("nvpmodel", JETSON.format(mode, number))
    finding = {finding.what: finding for finding in look_machine.power()}["power mode"]
    assert (finding.found, finding.ok) == (mode, well)
    assert ("nvpmodel -m N" in finding.advice) == (not well)


@pytest.mark.parametrize(
    ("bits", "said"),
    [
        ("0x0", "enough"),
        ("0x50000", "enough"),  # it has been so, and is not now
        ("0x50005", "the voltage is too low, it is throttled"),
    ],
)
def test_a_weak_power_supply_is_told(program, bits: str, said: str) -> None:  # type: ignore[no-untyped-def]
    program("vcgencmd", f"throttled={bits}")
    finding = {finding.what: finding for finding in look_machine.power()}["power supply"]
    assert finding.found == said
    assert finding.ok == (said == "enough")


def test_a_sleepy_governor_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    governor = tmp_path / "scaling_governor"
    monkeypatch.setattr(look_machine, "GOVERNOR", str(governor))
    for name, well in (("powersave", False), ("schedutil", True)):
        governor.write_text(name + "\n")
        finding = {finding.what: finding for finding in look_machine.power()}["CPU governor"]
        assert (finding.found, finding.ok) == (name, well)


def test_the_memory_is_what_a_container_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    system = {
        "/proc/meminfo": "MemTotal:       8388608 kB\nMemAvailable:   6291456 kB\n",
        "/sys/fs/cgroup/memory.max": "max",
    }
    monkeypatch.setattr(look_machine, "read", system.get)
    (finding,) = look_machine.memory()
    assert (finding.found, finding.ok) == ("6.0 GiB of 8.0 GiB available", True)
    system["/sys/fs/cgroup/memory.max"] = str(2**30)
    system["/sys/fs/cgroup/memory.current"] = str(2**29)
    (finding,) = look_machine.memory()
    assert (finding.found, finding.ok) == ("0.5 GiB of 1.0 GiB available", False)


def test_two_wheels_of_opencv_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.metadata.version
    monkeypatch.setattr(
        importlib.metadata,
        "version",
        lambda name: "4.8" if name.startswith("opencv-python") else real(name),
    )
    finding = next(iter(look_software.opencv()))
    assert not finding.ok
    assert finding.advice.startswith("pip uninstall opencv-python opencv-python-headless;")


def test_a_device_that_gives_no_picture_is_told_with_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "video0").write_bytes(b"")
    (tmp_path / "names" / "video0").mkdir(parents=True)
    (tmp_path / "names" / "video0" / "name").write_text("USB Camera\n")
    monkeypatch.setattr(look_cameras, "_DEVICES", str(tmp_path))
    monkeypatch.setattr(look_cameras, "_NAMES", str(tmp_path / "names"))
    (finding,) = look_cameras.cameras()
    assert finding.what == f"camera {tmp_path / 'video0'}"
    assert not finding.ok
    assert finding.found.startswith("USB Camera: ")
    assert finding.advice


def test_programs_that_fail_or_hang_say_nothing(program) -> None:  # type: ignore[no-untyped-def]
    program("fails", "x", code=3)
    assert said("fails") is None
    assert said("no-such-program") is None
    assert said("sleep", "5", timeout_s=0.1) is None
