"""A disk that loses its power: what can be on it at each moment of a write.

The model is the least that POSIX promises: bytes that were not fsynced may be there in part, as
zeros, or not at all; a rename that was not followed by an fsync of its folder may be there or not;
and a rename may be there before the bytes of the renamed file.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from edge_tta import files


@dataclass
class Recorder:
    """Notes what `edge_tta.files` asks of the system while writing.

    events: ("sync", the file's bytes), ("rename", its bytes at that time), ("sync folder", b"").
    """

    events: list[tuple[str, bytes]] = field(default_factory=list)

    def install(self, monkeypatch: pytest.MonkeyPatch, *, heed_sync: bool = True) -> None:
        """Between the module and the system. heed_sync: False: its fsyncs are not passed on."""
        real_sync, real_replace = os.fsync, os.replace

        def fsync(handle: int) -> None:
            if not heed_sync:
                return
            real_sync(handle)
            if stat.S_ISDIR(os.fstat(handle).st_mode):
                self.events.append(("sync folder", b""))
            else:
                self.events.append(("sync", os.pread(handle, os.fstat(handle).st_size, 0)))

        def replace(one: Any, other: Any) -> None:
            data = Path(one).read_bytes()
            real_replace(one, other)
            self.events.append(("rename", data))

        monkeypatch.setattr(files.os, "fsync", fsync)
        monkeypatch.setattr(files.os, "replace", replace)


def images(old: bytes, events: list[tuple[str, bytes]]) -> Iterator[tuple[bytes, bool]]:
    """What may be found under the name after a power cut, at each moment; and whether that must be
    the new file, because the write had finished."""
    safe = b""
    names: list[bytes | None] = [None]  # what the name may point to: None is the old file
    for number in range(len(events) + 1):
        done = number == len(events)
        for name in names:
            if name is None:
                yield old, done
                continue
            # Bytes that were synced are there; the others in part, or as zeros.
            rest = name[len(safe) :] if name.startswith(safe) else name
            kept = name[: len(name) - len(rest)]
            for share in (0.0, 0.3, 0.999, 1.0):
                cut = int(len(rest) * share)
                yield kept + rest[:cut], done
                yield kept + rest[:cut] + bytes(len(rest) - cut), done
        if done:
            return
        kind, data = events[number]
        if kind == "sync":
            safe = data
        elif kind == "rename":
            names = [*names, data]
        else:
            names = names[-1:]
