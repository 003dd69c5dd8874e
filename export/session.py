"""Graphs in memory, run by onnxruntime."""

from __future__ import annotations

from typing import Any

from edge_tta.bundle.runtime import quiet_runtime


def session_of(graph: bytes) -> Any:
    """Return a session of an ONNX file's bytes, on the CPU; it says nothing but what it raises."""
    runtime = quiet_runtime()
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    return runtime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
