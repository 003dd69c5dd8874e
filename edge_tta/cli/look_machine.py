"""Machine as `edge-tta doctor` sees it: processor, power mode, memory, disk."""

from __future__ import annotations

import os
import platform
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from edge_tta.bundle.runtime import usable_cores
from edge_tta.cli.finding import Finding, read, said

_BOARD = "/proc/device-tree/model"
GOVERNOR = "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"
_THROTTLED = {0: "the voltage is too low", 1: "the frequency is capped", 2: "it is throttled"}
"""Bits of `vcgencmd get_throttled` that are of now (Raspberry Pi)."""


def processor() -> Iterator[Finding]:
    """Yield the processor's name, or the board's."""
    system = f"{platform.system()} {platform.release()} {platform.machine()}"
    cores = usable_cores()
    name = read(_BOARD) or processor_name()
    yield Finding("machine", f"{name}, {cores} cores, {system}")


def processor_name() -> str:
    """Return the processor's name, else the board's."""
    cpu = re.search(r"^model name\s*:\s*(.+)$", read("/proc/cpuinfo") or "", re.M)
    return (cpu and cpu[1]) or read(_BOARD) or platform.processor() or platform.machine()


def power() -> Iterator[Finding]:
    """The power mode, where the system tells it."""
    mode = said("nvpmodel", "-q")
    if mode is not None:
        named = re.search(r"NV Power Mode:\s*(\S+)", mode)
        name = named[1] if named else mode
        # Numbers differ from board to board: 0 is the largest on some, the smallest on others.
        advice = "sudo nvpmodel -m N (MAXN's ID in /etc/nvpmodel.conf)"
        yield Finding("power mode", name, "" if name.startswith("MAXN") else advice)
    governor = read(GOVERNOR)
    if governor is not None:
        slow = governor == "powersave" and "intel_pstate" not in (
            read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_driver") or ""
        )
        advice = "sudo cpupower frequency-set -g schedutil (or performance)" if slow else ""
        yield Finding("CPU governor", governor, advice)
    throttled = re.search(r"throttled=0x([0-9a-fA-F]+)", said("vcgencmd", "get_throttled") or "")
    if throttled is not None:
        bits = int(throttled[1], 16)
        now = [why for bit, why in _THROTTLED.items() if bits >> bit & 1]
        advice = "a stronger power supply, or a fan" if now else ""
        yield Finding("power supply", ", ".join(now) or "enough", advice)
    hottest = max(_temperatures(), default=None)
    if hottest is not None:
        advice = "" if hottest < 85 else "cool it: it slows itself down"
        yield Finding("temperature", f"{hottest:.0f} degrees Celsius", advice)


def memory() -> Iterator[Finding]:
    """Yield the free memory, less what a container's limit takes of it."""
    kib = {
        name: int(value)
        for name, value in re.findall(r"^(\w+):\s+(\d+) kB", read("/proc/meminfo") or "", re.M)
    }
    if "MemAvailable" not in kib or "MemTotal" not in kib:
        return
    free, total = kib["MemAvailable"] / 2**20, kib["MemTotal"] / 2**20
    limit = read("/sys/fs/cgroup/memory.max") or ""
    if limit.isdecimal() and int(limit) / 2**30 < total:
        used = read("/sys/fs/cgroup/memory.current") or "0"
        total = int(limit) / 2**30
        free = min(free, total - int(used) / 2**30)
    advice = "close other programs; PyTorch alone takes 0.5 GiB, a bundle less"
    yield Finding(
        "memory", f"{free:.1f} GiB of {total:.1f} GiB available", "" if free > 0.75 else advice
    )


def disk() -> Iterator[Finding]:
    """Room for states and videos, here."""
    try:
        free = shutil.disk_usage(".").free / 2**30
    except OSError:
        return
    writable = os.access(".", os.W_OK)
    room = f"{free:.1f} GiB free here" if writable else "this folder is read-only"
    advice = "" if writable else "give --state, --save and --jsonl another folder"
    if writable and free < 0.5:
        advice = "make room: a video takes about 1 GiB an hour"
    yield Finding("disk", room, advice)


def _temperatures() -> Iterator[float]:
    """Degrees Celsius of the system's thermal zones."""
    for zone in sorted(Path("/sys/class/thermal").glob("thermal_zone*")):
        text = read(str(zone / "temp")) or ""
        if text.lstrip("-").isdecimal() and -40_000 < int(text) < 150_000:
            yield int(text) / 1000
