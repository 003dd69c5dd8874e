"""From what the user typed to the source it means."""

from __future__ import annotations

import difflib
import glob
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from edge_tta.errors import SourceError
from edge_tta.frames.camera import open_camera, open_pipeline
from edge_tta.frames.capture import RECONNECT_S
from edge_tta.frames.files import is_picture, open_folder, open_pattern, open_picture
from edge_tta.frames.network import open_address
from edge_tta.frames.source import FrameSource, Pick
from edge_tta.frames.video import open_video

_ADDRESSES = ("http", "https", "rtsp", "rtsps", "rtmp", "udp", "tcp", "srt")
_PIPELINES = ("csi", "gst", "gstreamer")


def open_source(
    spec: str,
    *,
    stride: int = 1,
    fps: float | None = None,
    max_frames: int | None = None,
    classes: Sequence[str] | None = None,
    reconnect_s: float = RECONNECT_S,
) -> FrameSource:
    """Open a camera, video, picture, folder, glob pattern, address, or the demo.

    spec: "demo" (a drive that the package renders), "0" (camera number), "/dev/video0", a video
        or picture file, a folder, a pattern such as "shots/*.jpg", an http(s), rtsp, rtmp, udp,
        tcp or srt address, a CSI camera such as "csi://0", or a GStreamer pipeline.
    stride: every stride-th frame is given.
    fps: videos are thinned out to about so many frames per second of media time (before stride);
        cameras are asked for this rate, and live streams that are faster are thinned out; pictures
        are taken to be 1/fps apart, and none is left out.
    max_frames: stop after so many frames.
    classes: the class names, for labels from class folders and `labels.csv`.
    reconnect_s: a camera or live stream that is lost is looked for again for so many seconds.

    Raises SourceError when there is nothing to read, ConfigError for numbers out of range.
    """
    pick = Pick(stride, fps, max_frames)
    spec = spec.strip()
    if not spec:
        raise SourceError("the source is empty; give a camera number, file, folder or address")
    if "\0" in spec:
        raise SourceError(f"{spec!r} holds a zero byte, which no file or address can; check it")
    if spec == "demo":
        from edge_tta.demo.source import DemoSource

        return DemoSource(pick, classes=classes)
    if spec.isascii() and spec.isdecimal():
        return open_camera(spec, pick, reconnect_s)
    scheme = _scheme(spec)
    if " ! " in spec or scheme in _PIPELINES:
        return open_pipeline(spec, pick, reconnect_s)
    if scheme in _ADDRESSES:
        return open_address(spec, pick, reconnect_s=reconnect_s)
    if scheme:
        raise SourceError(f"{spec}: unknown kind of address {scheme}://; known are {_known()}")
    path = Path(os.path.expanduser(spec))
    try:
        path.is_dir()
    except OSError as error:  # no permission for a folder on the way, a name too long
        raise SourceError(f"cannot open {spec}: {error.strerror}; check the path") from error
    if path.is_dir():
        return open_folder(path, pick, classes)
    if spec.startswith("/dev/video") or _is_device(path):
        return open_camera(spec, pick, reconnect_s)
    if path.is_file():
        if is_picture(path):
            return open_picture(path, pick, classes)
        return open_video(path, pick)
    if glob.has_magic(spec):
        return open_pattern(spec, pick, classes)
    raise SourceError(f"there is no file or folder {spec}{_near(path)}")


def _scheme(spec: str) -> str:
    """ "rtsp" of "rtsp://...", "" of a name."""
    try:
        return urlsplit(spec).scheme.lower() if "://" in spec else ""
    except ValueError as error:
        raise SourceError(f"{spec} is no address ({error}); check it") from error


def _known() -> str:
    return ", ".join(f"{scheme}://" for scheme in _ADDRESSES)


def _is_device(path: Path) -> bool:
    try:
        return stat.S_ISCHR(path.stat().st_mode)
    except OSError:
        return False


def _near(path: Path) -> str:
    """What was probably meant, else where to look."""
    folder = path.parent
    if not folder.is_dir():
        return f": the folder {folder} does not exist either; check the path"
    try:
        names = [entry.name for entry in folder.iterdir()]
    except OSError:
        names = []
    near = difflib.get_close_matches(path.name, names, n=3, cutoff=0.6)
    if near:
        return f"; did you mean {' or '.join(str(folder / name) for name in near)}?"
    return "; expected a camera number, a video, a folder, a pattern or an address"
