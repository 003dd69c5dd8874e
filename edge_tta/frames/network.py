"""Pictures, videos and live streams behind an address."""

from __future__ import annotations

from urllib.parse import urlsplit

import cv2

from edge_tta.errors import SourceError
from edge_tta.frames.addresses import checked_address, escaping_advice, without_secrets
from edge_tta.frames.animation import Loaded
from edge_tta.frames.asking import DEFAULT_PORTS, ask_http, check_listening
from edge_tta.frames.capture import RECONNECT_S, LiveSource
from edge_tta.frames.files import Picture, PictureSource
from edge_tta.frames.pictures import decode_capture
from edge_tta.frames.quiet import quiet_opencv
from edge_tta.frames.source import FrameSource, Pick
from edge_tta.frames.video import Capture, VideoSource
from edge_tta.frames.waiting import within

SCHEMES = ("http", "https", "rtsp", "rtsps", "rtmp", "udp", "tcp", "srt")
_ADVICE = "check the address and the network"


def open_address(
    url: str, pick: Pick, timeout_s: float = 8.0, reconnect_s: float = RECONNECT_S
) -> FrameSource:
    """Open an address of one of SCHEMES.

    A picture is one frame; a video of known length is read like a file, every frame; anything
    else is live. Secrets in the address are used but never shown. Raises SourceError after
    `timeout_s` seconds without an answer in any of the steps.
    """
    url, shown = checked_address(url), without_secrets(url)
    answer = _ask(url, timeout_s)
    if isinstance(answer, bytes):
        return PictureSource(shown, [Picture(shown, lambda: Loaded(decode_capture(answer)))], pick)
    if urlsplit(url).scheme in ("http", "https") and answer.get(cv2.CAP_PROP_FRAME_COUNT) >= 1:
        return VideoSource(shown, answer, pick)
    first = [answer]

    def opener() -> Capture:
        again = first.pop() if first else _ask(url, timeout_s)
        if isinstance(again, bytes):
            raise SourceError(f"{shown} gives a picture now, and gave a stream before")
        return again

    # A still scene is encoded as "no change", which decodes to exact repeats: on a network these
    # are no sign of a fault for a long time.
    return LiveSource(
        shown,
        opener,
        pick,
        silence_s=timeout_s,
        useless_s=60.0,
        opening_s=4.0 * timeout_s,
        reconnect_s=reconnect_s,
    )


def _ask(url: str, timeout_s: float) -> bytes | Capture:
    """A picture's bytes, or an opened capture."""
    parts, shown = urlsplit(url), without_secrets(url)
    if parts.scheme in ("http", "https"):
        answer = within(timeout_s + 1.0, lambda: ask_http(url, timeout_s), shown, _ADVICE)
        if answer is not None:
            return answer
    elif parts.scheme in DEFAULT_PORTS:
        within(timeout_s + 1.0, lambda: check_listening(url, timeout_s), shown, _ADVICE)
    capture = within(2.0 * timeout_s, lambda: _open_stream(url, timeout_s), shown, _ADVICE)
    if not capture.isOpened():
        raise SourceError(
            f"{shown} gives no video that this OpenCV can open; check the path and the password"
            f"{escaping_advice(url)}, and try it with ffprobe"
        )
    return capture


def _open_stream(url: str, timeout_s: float) -> cv2.VideoCapture:
    limit_ms = int(1000 * timeout_s)
    with quiet_opencv():
        if not cv2.videoio_registry.hasBackend(cv2.CAP_FFMPEG):
            return cv2.VideoCapture(url)
        times = (cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, cv2.CAP_PROP_READ_TIMEOUT_MSEC)
        limits = [setting for time in times for setting in (time, limit_ms)]
        return cv2.VideoCapture(url, cv2.CAP_FFMPEG, limits)
