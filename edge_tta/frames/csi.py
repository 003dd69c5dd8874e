"""CSI cameras by address: the GStreamer pipeline that reads one.

    csi://0     csi://1?width=1280&height=720&fps=30&flip=2

NVIDIA Jetson: `nvarguscamerasrc` and `nvvidconv` (the pipeline of NVIDIA's "Accelerated GStreamer"
guide); elsewhere, as on a Raspberry Pi, `libcamerasrc`.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from edge_tta.errors import SourceError

BGR_SINK = "videoconvert ! video/x-raw,format=BGR ! appsink drop=true max-buffers=1 sync=false"
_RELEASE = Path("/etc/nv_tegra_release")
"""Every JetPack has this file."""
_PACKAGES = {"nvarguscamerasrc": "nvidia-l4t-gstreamer", "libcamerasrc": "gstreamer1.0-libcamera"}
_LIMITS = {"width": (16, 8192), "height": (16, 8192), "fps": (1, 240), "flip": (0, 7)}
_DEFAULTS = {"width": 1280, "height": 720, "fps": 30, "flip": 0}


def is_jetson() -> bool:
    """Return True where this is an NVIDIA Jetson with its own Linux."""
    return _RELEASE.exists()


def check_element(pipeline: str) -> None:
    """Refuses a camera element that GStreamer has not: OpenCV would wait for it in vain.

    Raises SourceError. Without gst-inspect-1.0 nothing can be told.
    """
    element = pipeline.split(maxsplit=1)[0]
    tool = shutil.which("gst-inspect-1.0")
    if tool is None or element not in _PACKAGES:
        return
    quiet: Any = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    if subprocess.run([tool, "--exists", element], check=False, **quiet).returncode:
        raise SourceError(f"GStreamer has no {element}; apt install {_PACKAGES[element]}")


def csi_pipeline(spec: str, fps: float | None = None, jetson: bool | None = None) -> str:
    """The pipeline for `csi://NUMBER?width=&height=&fps=&flip=`.

    fps: where the address has none. flip: Jetson's method, 0 none, 2 half a turn.
    jetson: None: found out.

    Raises SourceError for another form, or a value out of range.
    """
    parts = urlsplit(spec)
    number = parts.netloc or "0"
    if not (number.isascii() and number.isdecimal() and len(number) < 3) or parts.path.strip("/"):
        raise SourceError(f"{spec}: expected a camera number, such as csi://0")
    values = dict(_DEFAULTS)
    if fps is not None:
        values["fps"] = min(max(round(fps), _LIMITS["fps"][0]), _LIMITS["fps"][1])
    for name, text in parse_qsl(parts.query, keep_blank_values=True):
        if name not in _LIMITS:
            raise SourceError(f"{spec}: unknown {name}; known are {', '.join(_LIMITS)}")
        low, high = _LIMITS[name]
        fits = text.isascii() and text.isdecimal() and len(text) < 6 and low <= int(text) <= high
        if not fits:
            raise SourceError(f"{spec}: {name} must be a whole number from {low} to {high}")
        values[name] = int(text)
    size = f"width={values['width']},height={values['height']}"
    rate = f"framerate={values['fps']}/1"
    if is_jetson() if jetson is None else jetson:
        return (
            f"nvarguscamerasrc sensor-id={int(number)} ! "
            f"video/x-raw(memory:NVMM),{size},{rate},format=NV12 ! "
            f"nvvidconv flip-method={values['flip']} ! video/x-raw,format=BGRx ! {BGR_SINK}"
        )
    if values["flip"]:
        raise SourceError(f"{spec}: flip is for Jetson; turn the camera in its own settings")
    if int(number):
        raise SourceError(
            f"{spec}: libcamera tells cameras by name; give the pipeline "
            f"'libcamerasrc camera-name=NAME ! video/x-raw,{size} ! {BGR_SINK}'"
        )
    return f"libcamerasrc ! video/x-raw,{size},{rate} ! {BGR_SINK}"
