"""Cameras as `edge-tta doctor` sees them: each is opened, and one frame is read."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator
from pathlib import Path

import cv2

from edge_tta.cli.finding import Finding, read
from edge_tta.errors import EdgeTTAError, SourceError
from edge_tta.frames.camera import open_camera
from edge_tta.frames.csi import check_element, csi_pipeline, is_jetson
from edge_tta.frames.source import Pick

_DEVICES = "/dev"
_NAMES = "/sys/class/video4linux"


def cameras() -> Iterator[Finding]:
    """A finding for each device. Most USB cameras have a second one, which gives no pictures."""
    if platform.system() != "Linux":
        return
    devices = sorted(Path(_DEVICES).glob("video[0-9]*"), key=lambda path: int(path.name[5:] or 0))
    if not devices:
        advice = "plug one in; v4l2-ctl --list-devices; in a container: --device /dev/video0"
        yield Finding("cameras", "no /dev/video*", advice)
    for device in devices:
        yield _camera(device)


def csi() -> Iterator[Finding]:
    """Yield whether csi:// addresses can be read."""
    if not cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER):
        return  # OpenCV's finding says so
    pipeline = csi_pipeline("csi://0")
    kind = "Jetson" if is_jetson() else "libcamera"
    try:
        check_element(pipeline)
    except SourceError as error:
        what, _, mend = str(error).partition("; ")
        yield Finding("CSI cameras", what, mend)
    else:
        yield Finding("CSI cameras", f"by {kind}: edge-tta run csi://0")


def _camera(device: Path) -> Finding:
    name = read(f"{_NAMES}/{device.name}/name") or "camera"
    what = f"camera {device}"
    try:
        pick = Pick(max_frames=1)
        with open_camera(str(device), pick, reconnect_s=0.0) as source:
            frame = source.read()
    except EdgeTTAError as error:
        problem, _, mend = re.sub(r"^camera \S+ ", "", str(error)).partition("; ")
        advice = mend or f"fuser {device} says who uses it; others: v4l2-ctl --list-devices"
        return Finding(what, f"{name}: {problem}", advice)
    assert frame is not None
    height, width = frame.pixels.shape[:2]
    rate = f", {source.fps:g} frames a second" if source.fps else ""
    return Finding(what, f"{name}: {width} x {height}{rate}")
