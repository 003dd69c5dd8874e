"""One thing that `edge-tta doctor` looks at, and how it asks the system."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Finding:
    """One thing looked at, what there is of it, and what to do where it cannot be used."""

    what: str
    found: str
    advice: str = ""

    @property
    def ok(self) -> bool:
        """Return True where it can be used."""
        return not self.advice

    def as_dict(self) -> dict[str, Any]:
        """The finding in JSON's types."""
        return {"what": self.what, "ok": self.ok, "found": self.found, "advice": self.advice}


def read(path: str) -> str | None:
    """Return a file of the system, stripped; None where it is not there or not to be read."""
    try:
        return Path(path).read_text(errors="replace").strip("\0 \t\n")
    except OSError:
        return None


def said(*command: str, timeout_s: float = 5.0) -> str | None:
    """Return what a command prints; None where it is missing, fails, or does not answer."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout_s, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode("utf-8", "replace").strip()
