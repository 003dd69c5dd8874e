"""Addresses of streams: checked, completed, and without their secrets, as they may be shown."""

from __future__ import annotations

import re
from urllib.parse import quote, urlsplit, urlunsplit

from edge_tta.errors import SourceError

_USER = re.compile(r"(^[a-z][a-z0-9+.-]*:/+|^(?![a-z][a-z0-9+.-]*:/))([^:]*):.*@", re.I | re.S)
_TOKEN = re.compile(r"(?<=://)[^/?#@]+@")
_NO_PORT = re.compile(r"(://[^\[/?#:@][^/?#:@]*):(?!\d*(?:[/?#]|$)).*", re.S)
_NAMED = re.compile(
    r"((?:(?:pas|pw|ps[kw]|secret|token|auth|cred|key|session|signature|streamid)[^&;=\s]*"
    r"|(?<![^\W_])(?:sig|sid|pin|code|hash|hmac|tk))=)"
    r"[^&;]*(?:[&;](?![^&;=]*=)[^&;]*)*",
    re.I,
)
"""A secret's name, =, and its value, with what follows an & that begins no other name."""
_WORD = re.compile(r"(?:\"[^\"]*\"|'[^']*'|\S)+")
_ESCAPES = "write # as %23, / as %2F, ? as %3F, @ as %40 and [ as %5B"
_KEPT = "%/:=&?~+!$,;'@()*[]|"
"""Characters of paths and queries that stay as they are."""


def without_secrets(text: str) -> str:
    """Return an address or GStreamer pipeline as it may be shown and logged.

    Hidden are passwords (also those that break the address, by #, /, ? or @), user names that stand
    alone, which often are tokens, and the values of names such as pwd, token, key, auth. In doubt
    more is hidden.
    """
    if " ! " in text:
        return _WORD.sub(lambda word: _hidden(word[0]), text)
    return _hidden(text)


def _hidden(address: str) -> str:
    shown, times = _USER.subn(r"\1\2:***@", address)
    if not times:
        shown = _NO_PORT.sub(r"\1:***", _TOKEN.sub("***@", shown))
    return _NAMED.sub(r"\1***", shown)


def checked_address(url: str) -> str:
    """Return the address with its scheme in small letters and its path and query escaped.

    Raises SourceError when a password breaks it, or its port is none.
    """
    shown = without_secrets(url)
    try:
        parts = urlsplit(url)
        named = parts.netloc and parts.port != 0
    except ValueError:
        if "@" in url.partition("://")[2]:
            raise SourceError(
                f"{shown} cannot be understood: the user name or password holds a character that "
                f"ends it; {_ESCAPES}"
            ) from None
        raise SourceError(f"{shown} has no valid host and port; check it") from None
    if not named:
        raise SourceError(f"{shown} names no host and port; expected SCHEME://HOST:PORT/PATH")
    path, query = quote(parts.path, safe=_KEPT), quote(parts.query, safe=_KEPT)
    return urlunsplit(parts._replace(path=path, query=query))


def escaping_advice(url: str) -> str:
    """Return advice for a failed address that may hold a password with # or /; else ""."""
    parts = urlsplit(url)
    if parts.fragment or "@" in parts.path + parts.query:
        return f" (in a password {_ESCAPES})"
    return ""
