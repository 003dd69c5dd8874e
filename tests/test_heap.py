"""The heap keeps what was freed, unless the user says otherwise."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from edge_tta import heap

GLIBC = platform.libc_ver()[0] == "glibc"

FAULTS = """
import ctypes, resource
from edge_tta import heap
assert heap.keep()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
def fill():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    places = [libc.malloc(2**20) for _ in range(16)]
    for place in places:
        ctypes.memset(place, 1, 2**20)
    for place in places:
        libc.free(place)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
fill()
assert fill() < 100, "freed memory went back to the system"
heap.trim()
assert fill() > 1000, "nothing was given back"
"""


@pytest.mark.skipif(not GLIBC, reason="glibc's")
def test_freed_memory_stays_until_it_is_trimmed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(heap.OFF, raising=False)
    subprocess.run([sys.executable, "-c", FAULTS], check=True)


@pytest.mark.parametrize("name", [heap.OFF, "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES"])
def test_what_the_environment_says_goes_before(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "0")
    assert not heap.keep()
    assert not heap.trim()


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert not heap.keep()
