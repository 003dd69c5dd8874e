"""`edge-tta doctor`: what this machine has, what is missing, and the command that mends it."""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from rich.table import Table
from rich.text import Text

from edge_tta import __version__
from edge_tta.cli.terminal import terminal
from edge_tta.errors import EdgeTTAError
from edge_tta.show import VideoRecorder, display_problem


@dataclass(frozen=True)
class Finding:
    """One thing looked at.

    Attributes:
        ok: whether it can be used.
        found: what there is.
        advice: what to do where it cannot be used.
    """

    what: str
    ok: bool
    found: str
    advice: str = ""


def main(argv: Sequence[str]) -> int:
    """Prints the findings. Nothing of it is a failure: exit code 0."""
    argparse.ArgumentParser(prog="edge-tta doctor", description=__doc__).parse_args(argv)
    table = Table(header_style="bold")
    for column in ("", "what", "found", "to mend it"):
        table.add_column(column, overflow="fold")
    for finding in findings():
        mark = Text("ok", "green") if finding.ok else Text("--", "yellow")
        table.add_row(mark, finding.what, finding.found, finding.advice)
    terminal().print(table)
    return 0


def findings() -> Iterator[Finding]:
    """Looks at one thing after another."""
    yield Finding("edge_tta", True, f"{__version__}, Python {platform.python_version()}")
    for look in (_onnxruntime, _torch, _packages, _memory, _opencv, _codec, _display, _cameras):
        yield from look()


def _onnxruntime() -> Iterator[Finding]:
    try:
        yield Finding("onnxruntime", True, importlib.metadata.version("onnxruntime"))
    except importlib.metadata.PackageNotFoundError:
        yield Finding("onnxruntime", False, "no bundles", "pip install onnxruntime")


def _torch() -> Iterator[Finding]:
    try:
        import torch
    except ImportError:
        advice = "for models that are no bundles: pip install 'edge-tta[torch]'"
        yield Finding("PyTorch", False, "not installed: bundles only", advice)
        return
    yield Finding("PyTorch", True, f"{torch.__version__}, {torch.get_num_threads()} threads")
    if torch.cuda.is_available():
        yield Finding("CUDA", True, torch.cuda.get_device_name())
    else:
        built = torch.version.cuda
        advice = "nvidia-smi must list the device" if built else "install a CUDA build of PyTorch"
        yield Finding("CUDA", False, "no device for PyTorch: --device cpu only", advice)


def _packages() -> Iterator[Finding]:
    for name, use in (("torchvision", "torchvision:NAME models"), ("matplotlib", "--plot")):
        try:
            yield Finding(name, True, importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            yield Finding(name, False, f"not installed: no {use}", f"pip install {name}")


def _memory() -> Iterator[Finding]:
    try:
        text = Path("/proc/meminfo").read_text()
    except OSError:
        return
    kib = {name: int(value) for name, value in re.findall(r"^(\w+):\s+(\d+) kB", text, re.M)}
    if "MemAvailable" in kib and "MemTotal" in kib:
        free, total = kib["MemAvailable"] / 2**20, kib["MemTotal"] / 2**20
        enough = free > 0.75
        yield Finding(
            "memory",
            enough,
            f"{free:.1f} GiB of {total:.1f} GiB available",
            "" if enough else "close other programs; PyTorch alone takes 0.5 GiB, a bundle less",
        )


def _opencv() -> Iterator[Finding]:
    yield Finding("OpenCV", True, cv2.__version__)
    for backend, name, use, advice in (
        (cv2.CAP_FFMPEG, "FFmpeg in OpenCV", "videos and addresses", "pip install opencv-python"),
        (cv2.CAP_GSTREAMER, "GStreamer in OpenCV", "CSI cameras", "apt install python3-opencv"),
    ):
        has = cv2.videoio_registry.hasBackend(backend)
        yield Finding(name, has, "yes" if has else f"no: no {use}", "" if has else advice)


def _codec() -> Iterator[Finding]:
    """Writes a short video, because the list of codecs promises more than it holds."""
    frame = np.zeros((64, 64, 3), np.uint8)
    for ending in (".mp4", ".avi"):
        with tempfile.TemporaryDirectory() as folder:
            try:
                with VideoRecorder(Path(folder) / f"trial{ending}", 10.0) as recorder:
                    recorder.write(frame)
                yield Finding(f"video {ending}", True, "can be written")
            except EdgeTTAError as error:
                yield Finding(f"video {ending}", False, str(error), "pip install opencv-python")


def _display() -> Iterator[Finding]:
    problem = display_problem()
    advice = "run on a desktop, or headless with --save"
    yield Finding("display", problem is None, problem or "yes", advice if problem else "")


def _cameras() -> Iterator[Finding]:
    devices = sorted(Path("/dev").glob("video[0-9]*"))
    usable = [str(d) for d in devices if os.access(d, os.R_OK | os.W_OK)]
    if usable:
        yield Finding("cameras", True, ", ".join(usable))
    elif devices:
        advice = "sudo usermod -aG video $USER, then log in again"
        yield Finding("cameras", False, f"no permission for {devices[0]}", advice)
    elif platform.system() == "Linux":
        yield Finding("cameras", False, "no /dev/video*", "plug one in; v4l2-ctl --list-devices")
