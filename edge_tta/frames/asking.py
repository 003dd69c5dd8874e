"""First questions to an address: does anything answer, and what is it?"""

from __future__ import annotations

import base64
import http.client
import socket
import urllib.error
import urllib.request
from urllib.parse import unquote, urlsplit, urlunsplit

from edge_tta.errors import SourceError
from edge_tta.frames.mjpeg import MjpegCapture

_LARGEST_PICTURE = 64 * 2**20
DEFAULT_PORTS = {"http": 80, "https": 443, "rtsp": 554, "rtsps": 322, "rtmp": 1935}


def ask_http(url: str, timeout_s: float) -> bytes | MjpegCapture | None:
    """A picture's bytes, a stream of JPEGs, or None for what FFmpeg is to look at.

    Raises SourceError when nothing answers, or with a refusal or a web page.
    """
    shown = without_password(url)
    parts = urlsplit(url)
    bare = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    request = urllib.request.Request(bare, headers={"User-Agent": "edge-tta"})
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        token = base64.b64encode(pair.encode()).decode("ascii")
        request.add_header("Authorization", f"Basic {token}")
    try:
        answer = urllib.request.urlopen(request, timeout=timeout_s)
        try:
            kind = answer.headers.get_content_type()
            if kind == "text/html":
                raise SourceError(
                    f"{shown} is a web page, not a stream; give the address of the picture or "
                    f"video in it (often /video, /stream or /snapshot.jpg)"
                )
            if kind.startswith("image/"):
                body: bytes = answer.read(_LARGEST_PICTURE)
                return body
            boundary = answer.headers.get_param("boundary")
            if kind == "multipart/x-mixed-replace" and isinstance(boundary, str):
                stream, answer = answer, None
                return MjpegCapture(stream, boundary, timeout_s)
            return None
        finally:
            if answer is not None:
                answer.close()
    except urllib.error.HTTPError as error:
        error.close()
        # FFmpeg also knows the digest way to log in.
        if error.code == 401 and parts.username is not None:
            return None
        advice = "the path" if error.code == 404 else "the address, user name and password"
        raise SourceError(f"{shown} answers {error.code} {error.reason}; check {advice}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error or type(error).__name__
        raise _unreachable(shown, reason) from error


def check_listening(url: str, timeout_s: float) -> None:
    """Raise SourceError when nothing listens at the address."""
    parts = urlsplit(url)
    try:
        port = parts.port or DEFAULT_PORTS[parts.scheme]
        socket.create_connection((parts.hostname or "", port), timeout_s).close()
    except (OSError, ValueError) as error:
        raise _unreachable(without_password(url), error) from error


def _unreachable(shown: str, reason: object) -> SourceError:
    return SourceError(f"cannot reach {shown}: {reason}; check the address and the network")


def without_password(url: str) -> str:
    """The address as it may be shown and logged."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{parts.username}:***@{host}"))
