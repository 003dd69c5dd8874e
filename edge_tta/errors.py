"""Errors that a user can cause, and their text.

Each message says what was wrong, what was expected, what to do.
"""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable

_ELLIPSIS = "..."
_UNSAFE = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Unicode's categories of what a terminal obeys or cannot write: control and format characters
(bidirectional ones among them), halves of characters, line and paragraph separators."""
_JOINERS = "\u200c\u200d"


def printable(text: str) -> str:
    r"""Return text from outside as a terminal may show it: on one line, obeying nothing in it.

    >>> printable("a\x1b[31mb\nc")
    'a\\x1b[31mb\\nc'
    """
    return "".join(
        char.encode("unicode_escape").decode()
        if unicodedata.category(char) in _UNSAFE and char not in _JOINERS
        else char
        for char in text
    )


def shortened(text: str, limit: int) -> str:
    """Return text of `limit` characters at most, cut between words, with an ellipsis.

    >>> shortened("the weights do not fit", 15)
    'the weights...'
    """
    if len(text) <= limit:
        return text
    room = max(limit - len(_ELLIPSIS), 0)
    whole_words = text[: room + 1].rpartition(" ")[0]
    # One long word, as a path, has no better place to be cut at.
    return (whole_words.rstrip(" ,;:") if len(whole_words) > room // 2 else text[:room]) + _ELLIPSIS


def one_line(error: BaseException, limit: int | None = None) -> str:
    """Return an error's message on one line, printable; its type's name where it has none.

    limit: most characters of it. Of our own errors the advice at the end stays whole.
    """
    said = str(error)
    if isinstance(error, OSError) and error.strerror and error.filename is None:
        said = error.strerror  # without its number
    text = printable(" ".join(said.split())) or type(error).__name__
    if limit is None:
        return text
    what, end, advice = text.rpartition("; ") if isinstance(error, EdgeTTAError) else ("", "", text)
    if not end:
        return shortened(text, limit)
    return shortened(what, max(limit - len(end + advice), limit // 2)) + end + advice


def quoted(value: object, limit: int = 80) -> str:
    """Return the `repr` of a value from outside, shortened."""
    return shortened(repr(value), limit)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return "; did you mean a or b?" where a known word is like this one or holds it, else "".

    >>> did_you_mean("jpeg", ["fog", "jpeg_compression"])
    '; did you mean jpeg_compression?'
    """
    names = list(known)
    near = difflib.get_close_matches(word, names, n=3)
    if len(word) > 2:
        near += [name for name in names if word.casefold() in name.casefold() and name not in near]
    return f"; did you mean {' or '.join(near[:3])}?" if near else ""


class EdgeTTAError(Exception):
    """Base of every failure that the user can act on; the command line prints it as one line."""


class SourceError(EdgeTTAError):
    """A camera, video, folder or address that cannot be opened or read."""


class ModelError(EdgeTTAError):
    """A model that cannot be loaded, or that holds nothing that can be adapted."""


class BundleError(ModelError):
    """A bundle that is missing, damaged, changed since its export, or of another version."""


class ConfigError(EdgeTTAError):
    """A preset, method or option that does not exist or is out of range."""


class StateError(EdgeTTAError):
    """A saved state that is damaged, foreign, or belongs to another model or configuration."""


class DamagedStateError(StateError):
    """A state whose bytes are not those that were written, or that no adaptation makes."""


class OutputError(EdgeTTAError):
    """A file that cannot be written."""
