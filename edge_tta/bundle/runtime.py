"""onnxruntime as bundles use it: quiet, on the CPU, for speed or for memory."""

from __future__ import annotations

import contextlib
import ctypes
import os
from pathlib import Path
from typing import Any

from edge_tta.errors import BundleError, ConfigError, one_line

PROFILES = ("speed", "memory")


def open_session(graph: Path, threads: int | None, profile: str) -> Any:
    """A session of a graph that has been checked.

    Args:
        threads: of one operator; None: as many as there are cores.
        profile: `speed`, or `memory`: weights stay mapped from their file and are not repacked,
            freed memory goes back at once; slower.

    Raises:
        BundleError: onnxruntime is missing or refuses the graph.
    """
    runtime = quiet_runtime()
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    options.inter_op_num_threads = 1
    # The graphs' own order frees what is read at once as early as can be.
    options.execution_order = runtime.ExecutionOrder.PRIORITY_BASED
    if threads is not None:
        options.intra_op_num_threads = threads
    if profile == "memory":
        # The graphs are as they are meant to be; what optimizers make of them keeps more.
        level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.graph_optimization_level = level
        options.enable_cpu_mem_arena = False
        options.enable_mem_pattern = False
        _return_freed_memory()
        options.add_session_config_entry("session.disable_prepacking", "1")
    elif profile != "speed":
        raise ConfigError(f"unknown profile {profile!r}; expected one of {', '.join(PROFILES)}")
    try:
        return runtime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise BundleError(
            f"onnxruntime {runtime.__version__} cannot load {graph}: {one_line(error, 200)}; "
            "export the bundle again, or upgrade onnxruntime"
        ) from error


def quiet_runtime() -> Any:
    """The module onnxruntime, its telemetry off.

    Raises:
        BundleError: it is not installed.
    """
    # Without it, onnxruntime writes a device id and a database into the user's cache.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except ImportError as error:
        raise BundleError(
            f"bundles need onnxruntime ({one_line(error, 120)}); pip install onnxruntime"
        ) from error
    return onnxruntime


def _return_freed_memory() -> None:
    """glibc keeps large freed blocks, more the larger they were. This is for the whole process."""
    trim_threshold, mmap_threshold, size = -1, -3, 1 << 16
    with contextlib.suppress(OSError, AttributeError, TypeError):  # another C library
        library = ctypes.CDLL(None)
        for option in (trim_threshold, mmap_threshold):
            library.mallopt(option, size)
