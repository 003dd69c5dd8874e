"""Software as `edge-tta doctor` sees it: packages, programs, OpenCV's abilities, display."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edge_tta.cli.finding import Finding
from edge_tta.cli.loading import DEMO_BUNDLE
from edge_tta.engines.onnx import OnnxEngine
from edge_tta.errors import EdgeTTAError
from edge_tta.frames import open_source
from edge_tta.show import VideoRecorder, display_problem

_PACKAGES = (
    ("numpy", "", "numpy"),
    ("safetensors", "no state files", "safetensors"),
    ("onnx", "no export of bundles; extra [torch]", "onnx"),
    ("torchvision", "no torchvision:NAME models; extra [torch]", "torchvision"),
    ("av", "recordings that browsers do not play; extra [video]", "av"),
    ("bottle", "no --serve; extra [serve]", "bottle"),
    ("matplotlib", "no --plot; extra [plot]", "matplotlib"),
    ("argcomplete", "no completion in the shell; extra [completion]", "argcomplete"),
    ("markdown-it-py", "no report.html; extra [plot]", "markdown-it-py"),
)
_PROGRAMS = (
    ("ffprobe", "to see what is in a video or stream", "ffmpeg"),
    ("v4l2-ctl", "to list cameras", "v4l-utils"),
    ("gst-launch-1.0", "to try pipelines of CSI cameras", "gstreamer1.0-tools"),
)
_WHEELS = ("opencv-python", "opencv-contrib-python", "opencv-python-headless")


def torch() -> Iterator[Finding]:
    """PyTorch and its device."""
    try:
        import torch
    except ImportError:
        advice = "for models that are no bundles: pip install 'edge-tta[torch]'"
        yield Finding("PyTorch", "not installed: bundles only", advice)
        return
    yield Finding("PyTorch", f"{torch.__version__}, {torch.get_num_threads()} threads")
    if torch.cuda.is_available():
        yield Finding("CUDA", torch.cuda.get_device_name())
    else:
        built = torch.version.cuda
        advice = "nvidia-smi must list the device" if built else "install a CUDA build of PyTorch"
        yield Finding("CUDA", "no device for PyTorch: --device cpu only", advice)


def packages() -> Iterator[Finding]:
    """Python packages that are used, some of them by one option only."""
    for name, without, install in _PACKAGES:
        version = _installed(name)
        missing = "not installed" + (f": {without}" if without else "")
        yield Finding(name, version or missing, "" if version else f"pip install {install}")


def onnxruntime() -> Iterator[Finding]:
    """The runtime of exported bundles, and what it can run on."""
    # Without it the import writes an id of the device and a database under the user's cache.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        runtime: Any = importlib.import_module("onnxruntime")
    except ImportError:
        yield Finding("onnxruntime", "not installed: no bundles", "pip install onnxruntime")
        return
    providers = runtime.get_available_providers()
    names = ", ".join(name.removesuffix("ExecutionProvider") for name in providers)
    yield Finding("onnxruntime", f"{runtime.__version__} ({names})")
    engine = OnnxEngine(DEMO_BUNDLE)
    image = np.zeros((1, *engine.image_shape), np.float32)
    engine.predict(image, engine.initial_state())
    advice = "predictions take longer; try another version" if engine.not_folded else ""
    yield Finding("weights in place", engine.not_folded or "yes", advice)


def programs() -> Iterator[Finding]:
    """Programs that messages refer to."""
    for name, use, package in _PROGRAMS:
        path = shutil.which(name)
        place = path or f"not installed ({use})"
        yield Finding(name, place, "" if path else f"apt install {package}")


def opencv() -> Iterator[Finding]:
    """Yield OpenCV's version, where it is from, and what it was built with."""
    wheels = [name for name in _WHEELS if _installed(name)]
    where = " and ".join(wheels) or "the system's"
    two = len(wheels) > 1
    # Two wheels share one folder: the later one overwrites the other's files.
    advice = f"pip uninstall {' '.join(wheels)}; pip install opencv-python" if two else ""
    threads = f"{cv2.getNumThreads()} threads"
    yield Finding("OpenCV", f"{cv2.__version__} ({where}), {threads}", advice)
    names = [
        cv2.videoio_registry.getBackendName(backend)
        for backend in cv2.videoio_registry.getCameraBackends()
        if cv2.videoio_registry.hasBackend(backend)
    ]
    advice = "" if names else "pip install opencv-python"
    yield Finding("camera backends", ", ".join(names) or "none: no cameras", advice)
    for backend, name, use, advice in (
        (cv2.CAP_FFMPEG, "FFmpeg in OpenCV", "videos and addresses", "pip install opencv-python"),
        (
            cv2.CAP_GSTREAMER,
            "GStreamer in OpenCV",
            "CSI cameras",
            "apt install python3-opencv, in an environment with --system-site-packages",
        ),
    ):
        has = cv2.videoio_registry.hasBackend(backend)
        answer = f"yes{_version_of(name.split()[0])}" if has else f"no: no {use}"
        yield Finding(name, answer, "" if has else advice)


def codecs() -> Iterator[Finding]:
    """Writes short videos and reads them again: the list of codecs promises more than it holds."""
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 256, (64, 64, 3)).astype(np.uint8) for _ in range(3)]
    for ending in (".mp4", ".avi"):
        what, advice = f"video {ending}", "pip install opencv-python"
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"trial{ending}"
            try:
                with VideoRecorder(path, 10.0) as recorder:
                    for frame in frames:
                        recorder.write(frame)
                with open_source(str(path)) as source:
                    count = sum(1 for _ in source)
            except EdgeTTAError as error:
                yield Finding(what, str(error), advice)
                continue
        whole = count == len(frames)
        back = "can be written and read" if whole else f"{count} of {len(frames)} frames come back"
        yield Finding(what, back, "" if whole else advice)


def display() -> Iterator[Finding]:
    """Yield whether --show can open a window."""
    problem = display_problem()
    advice = "run on a desktop, or headless with --save"
    yield Finding("display", problem or "yes", advice if problem else "")


def _installed(package: str) -> str | None:
    """Return a package's version; None where it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _version_of(part: str) -> str:
    """Return ", 1.22.0" where OpenCV's build information tells it, else nothing."""
    built = re.search(rf"^\s*{part}:\s+YES\s*\(?([\w.]+)?", cv2.getBuildInformation(), re.M)
    return f", {built[1]}" if built is not None and built[1] else ""
