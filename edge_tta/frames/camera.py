"""Cameras by number or device path, and GStreamer pipelines."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import cv2

from edge_tta.errors import SourceError
from edge_tta.frames.capture import LiveSource
from edge_tta.frames.source import Pick
from edge_tta.frames.video import Capture

_SYSTEM_OPENCV = (
    "use the system's OpenCV (apt install python3-opencv, in an environment made with "
    "python -m venv --system-site-packages)"
)
_CSI_PIPELINE = (
    "'libcamerasrc ! video/x-raw,width=640,height=480 ! videoconvert ! "
    "video/x-raw,format=BGR ! appsink drop=1' (Jetson: nvarguscamerasrc and nvvidconv)"
)


def open_camera(spec: str, pick: Pick) -> LiveSource:
    """Camera "0", "1", ... or a device such as "/dev/video0".

    `pick.fps` is asked of the camera. Raises SourceError, with the devices there are, when it is
    missing, forbidden, in use or not a camera.
    """
    by_number = spec.isdecimal()
    device = Path(f"/dev/video{int(spec)}" if by_number else spec)
    if sys.platform == "linux":
        _check_device(device)
    target: int | str = int(spec) if by_number else spec
    return LiveSource(f"camera {spec}", _opener(target, device, pick), pick)


def open_pipeline(spec: str, pick: Pick) -> LiveSource:
    """A GStreamer pipeline that ends in appsink; needs an OpenCV built with GStreamer.

    `csi://` addresses are not pipelines: they are answered with the one to use.
    """
    if not cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER):
        raise SourceError(
            f"{spec}: this OpenCV has no GStreamer (no wheel from the package index has), which "
            f"CSI cameras and pipelines need; {_SYSTEM_OPENCV}, or a USB camera"
        )
    if " ! " not in spec:
        raise SourceError(f"{spec}: give the GStreamer pipeline instead, such as {_CSI_PIPELINE}")

    def opener() -> Capture:
        capture = cv2.VideoCapture(spec, cv2.CAP_GSTREAMER)
        if not capture.isOpened():
            raise SourceError(
                "the GStreamer pipeline does not start; try it with gst-launch-1.0, and end it "
                "with videoconvert ! video/x-raw,format=BGR ! appsink drop=1"
            )
        return capture

    return LiveSource("pipeline", opener, pick)


def _opener(target: int | str, device: Path, pick: Pick) -> Callable[[], Capture]:
    def opener() -> Capture:
        backend = cv2.CAP_V4L2 if sys.platform == "linux" else cv2.CAP_ANY
        capture = cv2.VideoCapture(target, backend)
        if not capture.isOpened():
            raise SourceError(
                f"camera {target} cannot be opened: in use by another program (fuser {device}), "
                f"or not a camera node (v4l2-ctl --list-devices){_others(device)}"
            )
        # With the default queue of 4, frames are old by the time they are seen.
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        if pick.fps is not None:
            capture.set(cv2.CAP_PROP_FPS, pick.fps)
        return capture

    return opener


def _check_device(device: Path) -> None:
    """Raise SourceError when the device is not there or not permitted."""
    if not device.exists():
        there = _others(device) or (
            "; no /dev/video* exists: plug in a USB camera (v4l2-ctl --list-devices); in a "
            "container pass --device; a CSI camera needs a GStreamer pipeline"
        )
        raise SourceError(f"there is no camera {device}{there}")
    if not os.access(device, os.R_OK | os.W_OK):
        raise SourceError(
            f"no permission for camera {device}; join its group, then log in again: "
            f"sudo usermod -aG video $USER"
        )


def _others(device: Path) -> str:
    """ "; there are: /dev/video2, ...", or nothing."""
    others = [str(path) for path in sorted(Path("/dev").glob("video[0-9]*")) if path != device]
    return f"; there are: {', '.join(others)}" if others else ""
