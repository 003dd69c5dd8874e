"""Arrays of .npz and .npy files that others made.

Nothing of them is run, and no more allocated than what is there can unpack to.
"""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from edge_tta.errors import SourceError, one_line
from edge_tta.small_files import check_ordinary

Array = npt.NDArray[Any]

_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
_MOST_UNPACKED = 1032
"""Bytes that one byte of a deflated file can stand for."""

_DAMAGED = (ValueError, zipfile.BadZipFile, EOFError, TypeError, OverflowError, zlib.error)


class _Arrays(Mapping[str, Array]):
    """Arrays of a file, without what else may be in it."""

    def __init__(self, file: np.lib.npyio.NpzFile, members: Collection[str]) -> None:
        self._file = file
        self._names = [name for name in file.files if f"{name}.npy" in members]

    def __getitem__(self, name: str) -> Array:
        if name not in self._names:
            raise KeyError(name)
        array: Array = self._file[name]
        return array

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


@contextmanager
def open_npz(path: Path, expected: str) -> Iterator[Mapping[str, Array]]:
    """Arrays of an .npz, read when they are asked for.

    expected: what the file should hold, for messages.

    Raises:
        SourceError: it, or an array that is asked for, cannot be read or does not fit into memory.
    """
    with _told(path, expected):
        check_ordinary(path)
        # A file of our own: NumPy leaves the one it opened unclosed when it is damaged.
        with path.open("rb") as raw:
            loaded = np.load(raw, allow_pickle=False)
            if not isinstance(loaded, np.lib.npyio.NpzFile):
                raise ValueError("it is no .npz")
            with loaded as file:
                assert file.zip is not None  # it is open
                _check_claims(file.zip, path.stat().st_size)
                yield _Arrays(file, file.zip.namelist())


def open_npy(path: Path, expected: str) -> Array:
    """Return the array of an .npy, which stays in its file; otherwise as `open_npz`."""
    with _told(path, expected):
        check_ordinary(path)
        array: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    return array


@contextmanager
def _told(path: Path, expected: str) -> Iterator[None]:
    try:
        yield
    except MemoryError as error:
        raise SourceError(
            f"{path} does not fit into this machine's memory ({one_line(error, 120)}); give a "
            "smaller set, or fewer of its corruptions"
        ) from error
    except OSError as error:
        raise SourceError(f"cannot read {path} ({error.strerror or error}); {expected}") from error
    except _DAMAGED as error:
        raise SourceError(f"cannot read {path} ({one_line(error, 120)}); {expected}") from error


def _check_claims(archive: zipfile.ZipFile, archive_bytes: int) -> None:
    """Refuses arrays that claim to be larger than what is stored of them can unpack to.

    NumPy allocates what the header of an array says before it reads any of it.

    Raises:
        ValueError: there is one.
    """
    for member in archive.infolist():
        if not member.filename.endswith(".npy"):
            continue
        stored = min(member.compress_size, archive_bytes)
        with archive.open(member) as file:
            claimed, header_bytes = _claimed_bytes(file), file.tell()
        if claimed > min(member.file_size, _MOST_UNPACKED * stored) - header_bytes:
            raise ValueError(
                f"{member.filename} claims {claimed} bytes, and {stored} are stored of it"
            )


def _claimed_bytes(file: IO[bytes]) -> int:
    """Return the bytes of values that an .npy file says it holds."""
    version = np.lib.format.read_magic(file)
    if version not in _HEADERS:
        raise ValueError(f"unknown version {version} of the .npy format")
    shape, _, dtype = _HEADERS[version](file)
    return 0 if dtype.hasobject else math.prod(shape) * dtype.itemsize
