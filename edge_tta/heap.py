"""The C library's heap, as a process that runs frame after frame wants it.

glibc gives memory that a step has freed back to the system, and the next step has it faulted in
again, page by page: of ResNet-50 some 8,000 pages a frame, a twentieth of the time. `keep` lets it
hold what it has; `trim` gives back what loading left, once. Other C libraries are left as they are,
and so is a glibc that the user's own environment has set.
"""

from __future__ import annotations

import ctypes
import gc
import os
import platform

OFF = "EDGE_TTA_HEAP"
"""Environment variable: 0 leaves the heap as it is."""

_OWN = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")
# malloc.h; the second is as high as glibc lets it grow by itself.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = (-1, 2**30), (-3, 2**25)


def keep() -> bool:
    """Lets freed memory stay with this process; False where nothing was changed."""
    libc = _libc()
    return libc is not None and all(
        libc.mallopt(*setting) for setting in (_TRIM_THRESHOLD, _MMAP_THRESHOLD)
    )


def trim() -> bool:
    """Gives back what is free now; False where nothing was changed."""
    libc = _libc()
    if libc is None:
        return False
    gc.collect()  # captured graphs hold one another
    libc.malloc_trim(0)
    return True


def _libc() -> ctypes.CDLL | None:
    set_otherwise = os.environ.get(OFF) == "0" or any(name in os.environ for name in _OWN)
    if set_otherwise or platform.libc_ver()[0] != "glibc":
        return None
    return ctypes.CDLL(None)
