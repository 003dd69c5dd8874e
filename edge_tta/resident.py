"""Memory of this process, as the operating system counts it.

Linux: the resident set (VmRSS) and its peak (VmHWM), which can be reset through
/proc/self/clear_refs. Elsewhere only a peak that never falls, from getrusage.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_RESET_PEAK = "5"  # proc(5): "reset the peak resident set size"


def resident_bytes() -> int | None:
    """Resident bytes of this process now; None where there is no /proc."""
    return _field(_STATUS, "VmRSS")


def reset_peak() -> bool:
    """Lets the peak start again from now; False where the system cannot."""
    try:
        _CLEAR.write_text(_RESET_PEAK)
    except OSError:
        return False
    return True


def peak_bytes() -> tuple[int, str]:
    """Peak of this process since `reset_peak`, or since its start, and how it was found.

    Never `ru_maxrss` where /proc is there: a child inherits its parent's.
    """
    peak = _field(_STATUS, "VmHWM")
    if peak is not None:
        return peak, "VmHWM of /proc/self/status"
    import resource

    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size if sys.platform == "darwin" else 1024 * size, "ru_maxrss since the process began"


def available_bytes() -> int | None:
    """Return the bytes the system could still give (MemAvailable); a Jetson's GPU shares them."""
    return _field(Path("/proc/meminfo"), "MemAvailable")


def _field(path: Path, name: str) -> int | None:
    try:
        line = re.search(rf"^{name}:\s+(\d+) kB", path.read_text(), re.MULTILINE)
    except OSError:
        return None
    return None if line is None else 1024 * int(line[1])
