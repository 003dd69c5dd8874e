"""Opening of the source that the user's text means."""

from __future__ import annotations

import difflib
import errno
import glob
import os
import re
import stat
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias
from urllib.parse import unquote, urlsplit

from edge_tta.errors import SourceError
from edge_tta.frames.addresses import without_secrets
from edge_tta.frames.arrays import holds_arrays, open_arrays
from edge_tta.frames.camera import open_camera, open_pipeline
from edge_tta.frames.capture import RECONNECT_S
from edge_tta.frames.files import open_folder, open_numbered, open_pattern, open_picture
from edge_tta.frames.finding import NUMBER, is_picture
from edge_tta.frames.network import SCHEMES, open_address
from edge_tta.frames.pipes import STANDARD_INPUT, open_pipe
from edge_tta.frames.source import FrameSource, Pick
from edge_tta.frames.video import open_video

_PIPELINES = ("csi", "gst", "gstreamer")
_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*)://")

Opener: TypeAlias = Callable[[Pick, Sequence[str] | None], FrameSource]
"""Makes a source from which frames are taken, and the class names."""


def open_source(
    spec: str,
    *,
    stride: int = 1,
    fps: float | None = None,
    max_frames: int | None = None,
    classes: Sequence[str] | None = None,
    reconnect_s: float = RECONNECT_S,
    more: Mapping[str, Opener] | None = None,
) -> FrameSource:
    """Open a camera, video, picture, folder, pattern, address or pipe, or arrays.

    spec: "0" (camera number), "/dev/video0", a video or picture file, a folder, a pattern such as
        "shots/*.jpg" or "shots/img_%04d.jpg", an http(s), rtsp, rtmp, udp, tcp or srt address, a
        CSI camera such as "csi://0", a GStreamer pipeline, a named pipe, "-" (standard input), or
        a name in `more`.
        Of .npz and .npy: `edge_tta.frames.arrays`.
    stride: every stride-th frame is given.
    fps: videos are thinned out to about so many frames per second of media time (before stride);
        cameras are asked for this rate, and live streams that are faster are thinned out; pictures
        are taken to be 1/fps apart, and none is left out. See PacedSource for waiting.
    max_frames: stop after so many frames.
    classes: the class names, for labels from class folders and `labels.csv`.
    reconnect_s: a camera or live stream that is lost is looked for again for so many seconds.
    more: sources of the caller's own, by name.

    Raises SourceError when there is nothing to read, ConfigError for numbers out of range.
    """
    pick = Pick(stride, fps, max_frames)
    if "\0" in spec:
        raise SourceError(f"{spec!r} holds a zero byte, which no file or address can; check it")
    path = Path(os.path.expanduser(spec))
    if not os.path.lexists(path):  # names of files may begin or end with a space
        spec = spec.strip()
        path = Path(os.path.expanduser(spec))
    if not spec:
        raise SourceError("the source is empty; give a camera number, file, folder or address")
    if more and spec in more:
        return more[spec](pick, classes)
    if spec.isascii() and spec.isdecimal():
        return open_camera(spec, pick, reconnect_s)
    if spec in STANDARD_INPUT:
        return _open_standard_input(pick, classes)
    if os.path.lexists(path):
        return _open_path(spec, path, pick, classes, reconnect_s)
    address = _SCHEME.match(spec)
    scheme = address[1].lower() if address else ""
    if " ! " in spec or scheme in _PIPELINES:
        return open_pipeline(spec, pick, reconnect_s)
    if scheme in SCHEMES:
        return open_address(spec, pick, reconnect_s=reconnect_s)
    if scheme == "file":
        path = Path(unquote(urlsplit(spec).path))
    elif scheme:
        known = ", ".join(f"{known}://" for known in SCHEMES)
        raise SourceError(f"{without_secrets(spec)}: unknown kind of address; known are {known}")
    return _open_path(spec, path, pick, classes, reconnect_s)


def seems_live(spec: str) -> bool:
    """Tell from its name alone whether frames of a source would be lost that are not read in time.

    Videos behind an address seem so too.
    """
    address = _SCHEME.match(spec.strip())
    scheme = address[1].lower() if address else ""
    return (
        (spec.isascii() and spec.strip().isdecimal())
        or spec.strip().startswith("/dev/video")
        or " ! " in spec
        or scheme in {*_PIPELINES, *SCHEMES}
    )


def _open_path(
    spec: str, path: Path, pick: Pick, classes: Sequence[str] | None, reconnect_s: float
) -> FrameSource:
    """Open what is at a path, else all that it names as a pattern."""
    try:
        kind = path.stat().st_mode
    except (OSError, ValueError) as error:
        if spec.startswith("/dev/video"):
            return open_camera(spec, pick, reconnect_s)
        _check_missing(spec, path, error)
        if NUMBER.search(path.name):
            return open_numbered(spec, pick, classes)
        if glob.has_magic(spec):
            return open_pattern(spec, pick, classes)
        raise SourceError(
            f"there is no file or folder {without_secrets(spec)}{_near(path)}"
        ) from None
    if (stat.S_ISDIR(kind) or stat.S_ISREG(kind)) and holds_arrays(path):
        return open_arrays(path, pick)
    if stat.S_ISDIR(kind):
        return open_folder(path, pick, classes)
    if stat.S_ISCHR(kind):
        return open_camera(spec, pick, reconnect_s)
    if stat.S_ISFIFO(kind):
        return open_pipe(path, pick)
    if not stat.S_ISREG(kind):
        raise SourceError(f"{spec} is a socket or disk, which holds no video; give a file or pipe")
    return open_picture(path, pick, classes) if is_picture(path) else open_video(path, pick)


def _open_standard_input(pick: Pick, classes: Sequence[str] | None) -> FrameSource:
    """A video from another program or file; not from a terminal."""
    path = Path("/dev/stdin")
    if not path.exists() or stat.S_ISCHR(path.stat().st_mode):
        raise SourceError(
            "no video comes from standard input; pipe one into it: "
            "ffmpeg -i IN -f matroska - | edge-tta run -"
        )
    return _open_path("-", path, pick, classes, 0.0)


def _check_missing(spec: str, path: Path, error: Exception) -> None:
    """Raise SourceError unless there is nothing at all at a path that cannot be looked at."""
    code = (error.errno if isinstance(error, OSError) else None) or errno.EINVAL
    if code == errno.ELOOP:
        raise SourceError(f"{spec} is a link that leads back to itself; remove it") from None
    if os.path.lexists(path):
        target = os.path.realpath(path)
        raise SourceError(
            f"{spec} is a link to {target}, which is not there; mend the link or mount its disk"
        ) from None
    if code not in (errno.ENOENT, errno.ENOTDIR, errno.EINVAL):  # no permission, name too long
        raise SourceError(
            f"cannot open {without_secrets(spec)}: {os.strerror(code)}; check the path"
        ) from None


def _near(path: Path) -> str:
    """Return what was probably meant, else what would be right, for an error's end."""
    folder = path.parent
    if not folder.is_dir():
        return f": the folder {without_secrets(str(folder))} does not exist either; check the path"
    try:
        names = [entry.name for entry in folder.iterdir()]
    except OSError:
        names = []
    near = difflib.get_close_matches(path.name, names, n=3, cutoff=0.6)
    if near:
        return f"; did you mean {' or '.join(str(folder / name) for name in near)}?"
    return "; expected a camera number, a video, a folder, a pattern or an address"
