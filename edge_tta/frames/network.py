"""Pictures, videos and live streams behind an address."""

from __future__ import annotations

import base64
import http.client
import queue
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import unquote, urlsplit, urlunsplit

import cv2

from edge_tta.errors import SourceError
from edge_tta.frames.capture import LiveSource
from edge_tta.frames.files import Picture, PictureSource
from edge_tta.frames.quiet import quiet_opencv
from edge_tta.frames.source import FrameSource, Pick
from edge_tta.frames.video import VideoSource

_LARGEST_PICTURE = 64 * 2**20
_DEFAULT_PORTS = {"http": 80, "https": 443, "rtsp": 554, "rtsps": 322, "rtmp": 1935}

_T = TypeVar("_T")


def open_address(url: str, pick: Pick, timeout_s: float = 8.0) -> FrameSource:
    """What an http(s), rtsp, rtmp, udp, tcp or srt address gives.

    A picture is one frame; a video of known length is read like a file, every frame; anything
    else is live. Passwords in the address are used but never shown. Raises SourceError after
    `timeout_s` seconds without an answer in any of the steps.
    """
    parts = urlsplit(url)
    shown = _without_password(url)
    if parts.scheme in ("http", "https"):
        kind, body = within(timeout_s + 1.0, lambda: _ask_http(url, timeout_s), shown)
        if kind.startswith("image/"):
            return PictureSource(shown, [Picture(shown, lambda: body)], pick)
    elif parts.scheme in _DEFAULT_PORTS:
        within(timeout_s + 1.0, lambda: _connect(url, timeout_s), shown)
    capture = within(2.0 * timeout_s, lambda: _open_stream(url, timeout_s), shown)
    if not capture.isOpened():
        raise SourceError(
            f"{shown} gives no video that this OpenCV can open; check the path "
            f"and the password, and try it with ffprobe"
        )
    if parts.scheme in ("http", "https") and capture.get(cv2.CAP_PROP_FRAME_COUNT) >= 1:
        return VideoSource(shown, capture, pick)
    # A still scene is encoded as "no change", which decodes to exact repeats: on a network these
    # are no sign of a fault for a long time.
    return LiveSource(shown, lambda: capture, pick, silence_s=timeout_s, useless_s=60.0)


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


def _ask_http(url: str, timeout_s: float) -> tuple[str, bytes]:
    """Content type, and the body when it is a picture."""
    shown = _without_password(url)
    parts = urlsplit(url)
    bare = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    request = urllib.request.Request(bare, headers={"User-Agent": "edge-tta"})
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        token = base64.b64encode(pair.encode()).decode("ascii")
        request.add_header("Authorization", f"Basic {token}")
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:
            kind = answer.headers.get_content_type()
            if kind == "text/html":
                raise SourceError(
                    f"{shown} is a web page, not a stream; give the address of the picture or "
                    f"video in it (often /video, /stream or /snapshot.jpg)"
                )
            body = answer.read(_LARGEST_PICTURE) if kind.startswith("image/") else b""
            return kind, body
    except urllib.error.HTTPError as error:
        error.close()
        # FFmpeg also knows the digest way to log in.
        if error.code == 401 and parts.username is not None:
            return "", b""
        advice = "the path" if error.code == 404 else "the address, user name and password"
        raise SourceError(f"{shown} answers {error.code} {error.reason}; check {advice}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error or type(error).__name__
        raise _unreachable(shown, reason) from error


def _connect(url: str, timeout_s: float) -> None:
    """Raise SourceError when nothing listens at the address."""
    parts = urlsplit(url)
    try:
        port = parts.port or _DEFAULT_PORTS[parts.scheme]
        socket.create_connection((parts.hostname or "", port), timeout_s).close()
    except (OSError, ValueError) as error:
        raise _unreachable(_without_password(url), error) from error


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


def _unreachable(shown: str, reason: object) -> SourceError:
    return SourceError(f"cannot reach {shown}: {reason}; check the address and the network")


def _without_password(url: str) -> str:
    """The address as it may be shown and logged."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{parts.username}:***@{host}"))
