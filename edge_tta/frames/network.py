"""Pictures, videos and live streams behind an address."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import urlsplit

import cv2

from edge_tta.errors import SourceError
from edge_tta.frames.asking import DEFAULT_PORTS, ask_http, check_listening, without_password
from edge_tta.frames.capture import RECONNECT_S, LiveSource
from edge_tta.frames.files import Picture, PictureSource
from edge_tta.frames.quiet import quiet_opencv
from edge_tta.frames.source import FrameSource, Pick
from edge_tta.frames.video import Capture, VideoSource

_T = TypeVar("_T")


def open_address(
    url: str, pick: Pick, timeout_s: float = 8.0, reconnect_s: float = RECONNECT_S
) -> FrameSource:
    """What an http(s), rtsp, rtmp, udp, tcp or srt address gives.

    A picture is one frame; a video of known length is read like a file, every frame; anything
    else is live. Passwords in the address are used but never shown. Raises SourceError after
    `timeout_s` seconds without an answer in any of the steps.
    """
    shown = without_password(url)
    found = _ask(url, timeout_s)
    if isinstance(found, bytes):
        return PictureSource(shown, [Picture(shown, lambda: found)], pick)
    if urlsplit(url).scheme in ("http", "https") and found.get(cv2.CAP_PROP_FRAME_COUNT) >= 1:
        return VideoSource(shown, found, pick)
    first = [found]

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
    scheme, shown = urlsplit(url).scheme, without_password(url)
    if scheme in ("http", "https"):
        answer = within(timeout_s + 1.0, lambda: ask_http(url, timeout_s), shown)
        if answer is not None:
            return answer
    elif scheme in DEFAULT_PORTS:
        within(timeout_s + 1.0, lambda: check_listening(url, timeout_s), shown)
    capture = within(2.0 * timeout_s, lambda: _open_stream(url, timeout_s), shown)
    if not capture.isOpened():
        raise SourceError(
            f"{shown} gives no video that this OpenCV can open; check the path "
            f"and the password, and try it with ffprobe"
        )
    return capture


def within(limit_s: float, work: Callable[[], _T], name: str) -> _T:
    """The result of `work`, or SourceError after `limit_s` seconds: name lookups cannot be stopped,
    and a server can send a byte now and then for ever."""
    results: queue.SimpleQueue[tuple[_T | None, Exception | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            results.put((work(), None))
        except (SourceError, cv2.error) as error:
            results.put((None, error))

    threading.Thread(target=run, name=f"open {name}", daemon=True).start()
    try:
        result, error = results.get(timeout=limit_s)
    except queue.Empty:
        raise SourceError(
            f"{name} did not answer within {limit_s:g} s; check the address and the network"
        ) from None
    if error is not None:
        raise error
    return result  # type: ignore[return-value]  # None only when _T is


def _open_stream(url: str, timeout_s: float) -> cv2.VideoCapture:
    limit_ms = int(1000 * timeout_s)
    with quiet_opencv():
        if not cv2.videoio_registry.hasBackend(cv2.CAP_FFMPEG):
            return cv2.VideoCapture(url)
        limits = [
            cv2.CAP_PROP_OPEN_TIMEOUT_MSEC,
            limit_ms,
            cv2.CAP_PROP_READ_TIMEOUT_MSEC,
            limit_ms,
        ]
        return cv2.VideoCapture(url, cv2.CAP_FFMPEG, limits)
