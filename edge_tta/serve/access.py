"""Who may ask the page: names, origins and tokens of requests."""

from __future__ import annotations

import hmac
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from urllib.parse import parse_qs, urlsplit

from edge_tta.serve.place import Place, host_of, is_local

GUESSES = 20
"""Different wrong tokens that an address may send in WINDOW_S; after that it is not listened to."""
WINDOW_S = 60.0
_ADDRESSES = 256


class RefusedError(Exception):
    """A request that is not answered. `code`: HTTP's; the text is for people."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code


class Access:
    """The rules of a place.

    Requests are given as WSGI's environment.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._guesses = _Guesses()

    def check(self, environ: Mapping[str, str], cookie: str | None) -> None:
        """Lets in who may see the page. cookie: what the request has under `cookie_name`.

        Raises:
            RefusedError: another name than this machine's (DNS rebinding), another page's request,
                or no token or a wrong one.
        """
        host = environ.get("HTTP_HOST", "")
        if self._place.local and not is_local(host_of(host)):
            raise RefusedError(403, "unknown host")
        if _foreign(environ):
            raise RefusedError(403, "not for pages elsewhere")
        if self._place.token is None:
            return
        # As it came: bottle takes headers for UTF-8, and fails where they are not.
        bearer = environ.get("HTTP_AUTHORIZATION", "").removeprefix("Bearer ")
        given = [word for word in (cookie, asked_token(environ), bearer) if word]
        address = environ.get("REMOTE_ADDR", "")
        if given and self._guesses.too_many(address):
            raise RefusedError(429, "too many wrong tokens; wait a minute")
        if not any(self.knows(word) for word in given):
            self._guesses.add(address, given)
            raise RefusedError(401, "this needs the token that edge-tta printed")

    def knows(self, word: str | None) -> bool:
        """Tell whether a word is the place's token."""
        return (
            word is not None
            and self._place.token is not None
            and hmac.compare_digest(
                word.encode("utf-8", "surrogatepass"), self._place.token.encode()
            )
        )


def asked_token(environ: Mapping[str, str]) -> str | None:
    """Return the token in the address that was asked for."""
    try:
        words = parse_qs(environ.get("QUERY_STRING", ""), max_num_fields=16).get("token")
    except ValueError:
        return None
    return words[0].strip() if words else None


def cookie_name(environ: Mapping[str, str]) -> str:
    """Return the cookie's name, of the port that the browser sees: cookies don't keep ports apart,
    and there may be several runs on a host."""
    port = environ.get("HTTP_HOST", "").rpartition(":")[2]
    return f"edge_tta_{port if port.isascii() and port.isdecimal() else 'page'}"


def _foreign(environ: Mapping[str, str]) -> bool:
    """Tell whether a page of another origin asks; following a link to the page does not count."""
    site = environ.get("HTTP_SEC_FETCH_SITE", "none")
    if site not in ("none", "same-origin"):
        link = environ.get("HTTP_SEC_FETCH_MODE") == "navigate"
        alone = environ.get("HTTP_SEC_FETCH_DEST") == "document"
        if not (link and alone and environ.get("PATH_INFO") == "/"):
            return True
    origin = environ.get("HTTP_ORIGIN")
    return origin is not None and _authority(origin) != environ.get("HTTP_HOST", "")


def _authority(origin: str) -> str:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""


class _Guesses:
    """Wrong tokens by address, of the latest addresses. A word that comes again counts once: a
    browser sends an old cookie with every request."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wrong: OrderedDict[str, tuple[float, set[str]]] = OrderedDict()

    def add(self, address: str, words: list[str]) -> None:
        """Add what an address tried."""
        now_s = time.monotonic()
        with self._lock:
            since_s, tried = self._wrong.pop(address, (now_s, set()))
            if now_s - since_s > WINDOW_S:
                since_s, tried = now_s, set()
            self._wrong[address] = since_s, (tried | set(words)) if len(tried) < GUESSES else tried
            while len(self._wrong) > _ADDRESSES:
                self._wrong.popitem(last=False)

    def too_many(self, address: str) -> bool:
        """Tell whether an address has used up its tries of the last minute."""
        with self._lock:
            since_s, tried = self._wrong.get(address, (0.0, set[str]()))
            return len(tried) >= GUESSES and time.monotonic() - since_s <= WINDOW_S
