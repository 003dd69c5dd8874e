"""onnxruntime as bundles use it: quiet, on the CPU, for speed or for memory."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edge_tta.errors import BundleError, ConfigError, one_line, quoted

PROFILES = ("speed", "memory")
_FEW_THREADS, _THREADS_A_CORE = 8, 4


class Session:
    """A loaded graph, whose failures are told in one line."""

    def __init__(self, session: Any, graph: Path) -> None:
        self._session, self._graph = session, graph
        self.get_inputs, self.get_outputs = session.get_inputs, session.get_outputs

    def run(self, outputs: Sequence[str] | None, inputs: Mapping[str, Any]) -> list[Any]:
        """Return the outputs of that name, all where None.

        Raises:
            BundleError: onnxruntime fails, as it does where memory is short.
        """
        try:
            values: list[Any] = self._session.run(outputs, inputs)
        except Exception as error:
            raise BundleError(
                f"onnxruntime cannot run {self._graph}: {one_line(error, 200)}; free memory, try "
                "--profile memory, or export the bundle again"
            ) from error
        return values


def usable_cores() -> int:
    """Return how many cores this process may use."""
    with contextlib.suppress(AttributeError):  # not on every system
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def check_threads(threads: int) -> None:
    """Refuses more threads than make sense here: thousands of them stall the machine.

    Raises:
        ConfigError: fewer than 1, or far more than there are cores.
    """
    cores = os.cpu_count() or 1
    most = max(_FEW_THREADS, _THREADS_A_CORE * cores)
    if not 1 <= threads <= most:
        has = f"{cores} cores" if cores > 1 else "one core"
        raise ConfigError(
            f"threads must be a whole number from 1 to {most} (this machine has {has}), got "
            f"{quoted(threads)}"
        )


def open_session(
    graph: Path,
    threads: int | None,
    profile: str,
    *,
    optimised: Path | None = None,
    own: Mapping[str, Any] | None = None,
    int8: bool = False,
) -> Session:
    """Return a session of a graph that has been checked.

    Args:
        threads: of one operator; None: as many as there are cores.
        profile: `speed`, or `memory`: weights stay mapped from their file and are not repacked,
            freed memory goes back at once; slower.
        optimised: where to write what becomes of the graph here.
        own: constants by name that lie in the caller's memory (OrtValue), of a graph that was
            written so.
        int8: the graph is in int8: its weights are repacked in any profile, being small.

    Raises:
        BundleError: onnxruntime is missing or refuses the graph.
        ConfigError: an unknown profile, or too many threads.
    """
    runtime = quiet_runtime()
    options = runtime.SessionOptions()
    options.log_severity_level = 4  # what it would say of errors is in what it raises
    options.inter_op_num_threads = 1
    # The graphs' own order frees what is read at once as early as can be.
    options.execution_order = runtime.ExecutionOrder.PRIORITY_BASED
    if threads is not None:
        check_threads(threads)
        options.intra_op_num_threads = threads
    if profile == "memory":
        options.enable_cpu_mem_arena = False
        options.enable_mem_pattern = False
        _return_freed_memory()
    elif profile != "speed":
        raise ConfigError(f"unknown profile {profile!r}; expected one of {', '.join(PROFILES)}")
    if (profile == "memory" and not int8) or own is not None:
        # The graphs are as they are meant to be; what optimizers make of them keeps more.
        level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.graph_optimization_level = level
        options.add_session_config_entry("session.disable_prepacking", "1")
    for name, value in (own or {}).items():
        options.add_initializer(name, value)
    if optimised is not None:
        options.optimized_model_filepath = str(optimised)
        for key, value in (("file_name", f"{optimised.name}.data"), ("min_size_in_bytes", "1024")):
            options.add_session_config_entry(
                f"session.optimized_model_external_initializers_{key}", value
            )
    # Equal small constants would become one, and constants behind a convolution part of its own:
    # neither could be changed then.
    fusions = ["ConstantSharing", "ConvAddFusion", "ConvMulFusion"]
    keeps = fusions if optimised is not None else None
    try:
        session = runtime.InferenceSession(
            str(graph), options, providers=["CPUExecutionProvider"], disabled_optimizers=keeps
        )
    except Exception as error:
        raise BundleError(
            f"onnxruntime {runtime.__version__} cannot load {graph}: {one_line(error, 200)}; "
            "export the bundle again, or upgrade onnxruntime"
        ) from error
    return Session(session, graph)


def quiet_runtime() -> Any:
    """Return the module onnxruntime, its telemetry off.

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
    """Have the C library give large freed blocks back, for the whole process; glibc keeps them."""
    trim_threshold, mmap_threshold, size = -1, -3, 1 << 16
    with contextlib.suppress(OSError, AttributeError, TypeError):  # another C library
        library = ctypes.CDLL(None)
        for option in (trim_threshold, mmap_threshold):
            library.mallopt(option, size)
