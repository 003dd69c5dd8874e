"""Errors that a user can cause. Each message says what was wrong, what was expected, what to do."""

from __future__ import annotations


def one_line(error: BaseException, limit: int | None = None) -> str:
    """An error's message without line breaks, of `limit` characters at most; else its type."""
    return " ".join(str(error).split())[:limit] or type(error).__name__


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
    """A state whose bytes are not those that were written."""


class OutputError(EdgeTTAError):
    """A file that cannot be written."""
