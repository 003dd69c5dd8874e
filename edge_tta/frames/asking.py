"""First questions to an address: does anything answer, and what is it?"""

from __future__ import annotations

import contextlib
import http.client
import socket
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from edge_tta.errors import SourceError, one_line
from edge_tta.frames.addresses import escaping_advice, without_secrets
from edge_tta.frames.mjpeg import MjpegCapture

_LARGEST_PICTURE = 64 * 2**20
_PICTURES = (b"\xff\xd8\xff", b"\x89PNG")
DEFAULT_PORTS = {"http": 80, "https": 443, "rtsp": 554, "rtsps": 322, "rtmp": 1935}


def ask_http(url: str, timeout_s: float) -> bytes | MjpegCapture | None:
    """A picture's bytes, a stream of JPEGs, or None for what FFmpeg is to look at.

    Raises SourceError when nothing answers, or with a refusal or a web page.
    """
    shown = without_secrets(url)
    try:
        with contextlib.ExitStack() as stack:
            answer = stack.enter_context(_request(url, timeout_s))
            kind = answer.headers.get_content_type()
            if kind == "text/html":
                raise SourceError(
                    f"{shown} is a web page, not a stream; give the address of the picture or "
                    f"video in it (often /video, /stream or /snapshot.jpg)"
                )
            # Small servers call everything application/octet-stream.
            begins = answer.peek(4)[:4] if answer.headers.get("Content-Length") else b""
            if kind.startswith("image/") or begins.startswith(_PICTURES):
                return answer.read(_LARGEST_PICTURE)
            boundary = answer.headers.get_param("boundary")
            if kind == "multipart/x-mixed-replace" and isinstance(boundary, str) and boundary:
                stack.pop_all()  # stays open
                return MjpegCapture(answer, boundary, timeout_s)
            return None
    except urllib.error.HTTPError as error:
        error.close()
        advice = "the path" if error.code == 404 else "the address, user name and password"
        said = one_line(ValueError(error.reason), 80)
        raise SourceError(
            f"{shown} answers {error.code} {said}; check {advice}{escaping_advice(url)}"
        ) from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _unreachable(url, error) from None


class _Digest(urllib.request.HTTPDigestAuthHandler):
    """Digest log-in that does not leave the refused connection open."""

    def http_error_401(self, request: Any, answer: Any, *refusal: Any) -> Any:
        """Ask again, logged in."""
        answer.close()
        return super().http_error_401(request, answer, *refusal)


def _request(url: str, timeout_s: float) -> http.client.HTTPResponse:
    """The answer to a GET, logged in by Basic or Digest where the address has a user name."""
    parts = urlsplit(url)
    bare = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    passwords = urllib.request.HTTPPasswordMgrWithPriorAuth()
    if parts.username is not None:
        user, password = unquote(parts.username), unquote(parts.password or "")
        passwords.add_password(None, bare, user, password, is_authenticated=True)
    basic = urllib.request.HTTPBasicAuthHandler(passwords)
    opener = urllib.request.build_opener(basic, _Digest(passwords))
    request = urllib.request.Request(bare, headers={"User-Agent": "edge-tta"})
    answer: http.client.HTTPResponse = opener.open(request, timeout=timeout_s)
    return answer


def check_listening(url: str, timeout_s: float) -> None:
    """Raise SourceError when nothing listens at the address."""
    parts = urlsplit(url)
    try:
        port = parts.port or DEFAULT_PORTS[parts.scheme]
        socket.create_connection((parts.hostname or "", port), timeout_s).close()
    except (OSError, ValueError) as error:
        raise _unreachable(url, error) from None


def _unreachable(url: str, error: Exception) -> SourceError:
    reason = getattr(error, "reason", None) or error
    # Texts of other errors may quote the address, with its secrets.
    if not isinstance(reason, OSError):
        reason = f"no sensible answer ({type(reason).__name__})"
    return SourceError(
        f"cannot reach {without_secrets(url)}: {reason}; check the address and the network"
        f"{escaping_advice(url)}"
    )
