"""Cameras by number or device path, and GStreamer pipelines."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from urllib.parse import urlsplit

import cv2

from edge_tta.errors import SourceError
from edge_tta.frames.addresses import without_secrets
from edge_tta.frames.capture import RECONNECT_S, LiveSource
from edge_tta.frames.csi import BGR_SINK, check_element, csi_pipeline
from edge_tta.frames.source import Pick
from edge_tta.frames.video import Capture

_SYSTEM_OPENCV = (
    "use the system's OpenCV (apt install python3-opencv, in an environment made with "
    "python -m venv --system-site-packages)"
)
_MOST_DIGITS = 5
_EXAMPLE = f"'v4l2src device=/dev/video0 ! {BGR_SINK}'"


def open_camera(spec: str, pick: Pick, reconnect_s: float = RECONNECT_S) -> LiveSource:
    """Camera "0", "1", ... or a device such as "/dev/video0".

    `pick.fps` is asked of the camera. Raises SourceError, with the devices there are, when it is
    missing, forbidden, in use or not a camera.
    """
    by_number = spec.isdecimal()
    if by_number and len(spec) > _MOST_DIGITS:
        raise SourceError(f"there is no camera {spec[:20]}...; cameras are 0, 1, 2")
    device = Path(f"/dev/video{int(spec)}" if by_number else spec)
    target: int | str = int(spec) if by_number else spec

    def opener() -> Capture:
        if sys.platform == "linux":
            _check_device(device)
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

    return LiveSource(f"camera {spec}", opener, pick, reconnect_s=reconnect_s)


def open_pipeline(spec: str, pick: Pick, reconnect_s: float = RECONNECT_S) -> LiveSource:
    """A CSI camera (see `edge_tta.frames.csi`), or a GStreamer pipeline that ends in appsink.

    Raises SourceError when this OpenCV has no GStreamer, or the pipeline does not start.
    """
    scheme = urlsplit(spec).scheme.lower() if " ! " not in spec else ""
    pipeline = csi_pipeline(spec, pick.fps) if scheme == "csi" else spec
    shown = without_secrets(spec)
    if not cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER):
        raise SourceError(
            f"{shown}: this OpenCV has no GStreamer (no wheel from the package index has), which "
            f"CSI cameras and pipelines need; {_SYSTEM_OPENCV}, or a USB camera"
        )
    if " ! " not in pipeline:
        raise SourceError(f"{shown}: give csi://0, or the GStreamer pipeline, such as {_EXAMPLE}")

    if scheme:
        check_element(pipeline)

    def opener() -> Capture:
        capture = cv2.VideoCapture(pipeline, cv2.CAP_GSTREAMER)
        if not capture.isOpened():
            raise SourceError(
                f"the GStreamer pipeline does not start; try it with gst-launch-1.0, and end it "
                f"with {BGR_SINK}: {without_secrets(pipeline)}"
            )
        return capture

    return LiveSource(spec if scheme else "pipeline", opener, pick, reconnect_s=reconnect_s)


def _check_device(device: Path) -> None:
    """Raise SourceError when the device is not there or not permitted."""
    if not device.exists():
        there = _others(device) or (
            "; no /dev/video* exists: plug in a USB camera (v4l2-ctl --list-devices); in a "
            "container pass --device; a CSI camera is csi://0"
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
