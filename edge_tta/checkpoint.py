"""State files: one safetensors file with the state's tensors and a header that says whose it is.

The file is a delta: it holds what adaptation changed, never the network's fixed weights, and it
names the network by SHA-256, so that it cannot be put on another one by mistake.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from edge_tta.config.fields import TABLES
from edge_tta.errors import DamagedStateError, StateError, one_line, quoted
from edge_tta.files import write_whole
from edge_tta.small_files import check_ordinary

FORMAT = "edge_tta-state"
VERSION = 5
ADVICE = "keep it for inspection and start with another --state file"

_MOST_STEPS = 2**53
_MOST_IMAGE_VALUES = 2**28
_MOST_VALUE = 1e18
"""Largest value of a tensor: the square of a larger one is infinite in float32."""

_NEVER_NEGATIVE = ("variance", "second_moment", "fisher")
"""Endings of keys."""


Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Header:
    """Owner of a state.

    Attributes:
        source_sha256: fingerprint of the source network.
        config: tables of `MethodConfig`.
        layout: names and shapes of the trained parameters and of the BatchNorm layers, in order.
        image_shape: (channels, H, W) that the network was last run on.
        steps: adaptation steps so far.
    """

    source_sha256: str
    config: Mapping[str, Any]
    layout: Mapping[str, Any]
    image_shape: tuple[int, ...]
    steps: int


def save_state(path: str | Path, arrays: Arrays, header: Header) -> None:
    """Writes a state file, whole or not at all.

    Raises:
        OutputError: the file cannot be written.
        StateError: no `load_state` would take it.
    """
    if (problem := _impossible(arrays, header)) is not None:
        raise StateError(f"{path} is not written: the state {problem}; reset the adapter")
    metadata = {
        "format": FORMAT,
        "version": str(VERSION),
        "source_sha256": header.source_sha256,
        "config": json.dumps(header.config, sort_keys=True),
        "layout": json.dumps(header.layout),
        "image_shape": json.dumps(header.image_shape),
        "steps": str(header.steps),
        "tensors_sha256": digest_of(arrays),
    }
    write_whole(path, save(arrays, metadata))


def load_state(path: str | Path) -> tuple[Arrays, Header]:
    """Reads a state file. The file is never changed.

    Raises:
        StateError: missing, of a foreign format or version.
        DamagedStateError: damaged, or holding values that no adaptation makes: NaN, infinity,
            negative counts.
    """
    try:
        check_ordinary(path)
        with safe_open(str(path), framework="numpy") as file:
            metadata: dict[str, str] = file.metadata() or {}
            arrays: Arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError as error:
        raise StateError(f"no state file at {path}; check the path") from error
    except (SafetensorError, OSError, ValueError, TypeError, AttributeError) as error:
        raise DamagedStateError(
            f"{path} is damaged or not a state file ({one_line(error, 120)}); {ADVICE}"
        ) from error
    if metadata.get("format") != FORMAT:
        raise StateError(f"{path} is a safetensors file but not a state of edge_tta; {ADVICE}")
    if metadata.get("version") != str(VERSION):
        raise StateError(
            f"{path} has state format version {metadata.get('version')}, this edge_tta reads "
            f"version {VERSION}; use the edge_tta that wrote it, or start with another --state file"
        )
    try:
        header = Header(
            source_sha256=metadata["source_sha256"],
            config=dict(json.loads(metadata["config"])),
            layout=dict(json.loads(metadata["layout"])),
            image_shape=_shape(json.loads(metadata["image_shape"])),
            steps=_count(metadata["steps"]),
        )
        digest = metadata["tensors_sha256"]
    except (KeyError, ValueError, TypeError, RecursionError) as error:
        raise DamagedStateError(
            f"the header of {path} is damaged ({one_line(error, 120)}); {ADVICE}"
        ) from error
    if digest != digest_of(arrays):
        raise DamagedStateError(
            f"{path} is damaged: its values are not those that were written; {ADVICE}"
        )
    if (problem := _impossible(arrays, header)) is not None:
        raise DamagedStateError(f"{path} {problem}; {ADVICE}")
    return arrays, header


def _impossible(arrays: Arrays, header: Header) -> str | None:
    """Return the first value that no adaptation makes; a checksum says only what was written."""
    for name, array in arrays.items():
        low = 0 if array.dtype.kind in "iu" or name.endswith(_NEVER_NEGATIVE) else -_MOST_VALUE
        high = _MOST_STEPS if array.dtype.kind in "iu" else _MOST_VALUE
        wrong = array[~((array >= low) & (array <= high))]
        if wrong.size:
            value = f"{wrong.flat[0]:.3g} in {quoted(name)}"
            return f"holds {value}, expected {low:.3g} to {high:.3g}"
    position, window = arrays.get("opt.position"), _options(header.config)["optimizer.accumulation"]
    if position is not None and isinstance(window, int) and (position >= window).any():
        return f"holds {position} accumulated gradients, expected fewer than the window's {window}"
    return None


def digest_of(arrays: Arrays) -> str:
    """SHA-256 over the names, types, shapes and values of tensors."""
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name}|{array.dtype}|{array.shape}|".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def check_matches(path: str | Path, header: Header, expected: Header) -> None:
    """Refuses a state of another network, method or configuration.

    Raises:
        StateError: with the first difference.
    """
    if header.source_sha256 != expected.source_sha256:
        raise StateError(
            f"{path} belongs to another network (SHA-256 {header.source_sha256[:12]}..., this one "
            f"is {expected.source_sha256[:12]}...); give the model it was made with, or another "
            "--state file"
        )
    there_all, here_all = _options(header.config), _options(expected.config)
    # The method first: another one differs in much else too.
    for name in {"method": None, "host": None} | dict.fromkeys([*there_all, *here_all]):
        there, here = there_all.get(name), here_all.get(name)
        if there != here:
            raise StateError(
                f"{path} was made with {name} = {there!r}, this run has {here!r}; use the same "
                "options, or another --state file"
            )


def _options(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of all tables, by `table.field`; what a file lacks is the default."""
    options: dict[str, Any] = {name: config.get(name) for name in ("method", "host")}
    for table, record in TABLES.items():
        given = config.get(table, {})
        fields = {**asdict(record()), **(given if isinstance(given, dict) else {})}
        options |= {f"{table}.{name}": value for name, value in fields.items()}
    return options


def check_tensors(path: str | Path, arrays: Arrays, expected: Mapping[str, Any]) -> None:
    """Refuses tensors that are missing, extra, or of another shape or type than `expected`'s.

    Raises:
        StateError: with the first difference.
    """
    for name in sorted(set(arrays) | set(expected)):
        if name not in arrays or name not in expected:
            what = "lacks" if name not in arrays else "has an unknown tensor"
            raise StateError(f"{path} {what} {quoted(name)}; it is damaged or of another edge_tta")
        array, like = arrays[name], expected[name]
        if array.shape != like.shape or array.dtype != like.dtype:
            raise StateError(
                f"{path}: {quoted(name)} is {array.dtype} {array.shape}, expected {like.dtype} "
                f"{like.shape}; it is damaged or of another network"
            )


def _count(text: str) -> int:
    """Return a number of steps. Raises ValueError for anything else."""
    if not (text.isascii() and text.isdecimal() and len(text) < 17 and int(text) <= _MOST_STEPS):
        raise ValueError(f"steps is {quoted(text, 40)}")
    return int(text)


def _shape(values: Any) -> tuple[int, ...]:
    """Return (channels, H, W). Raises ValueError for anything else."""
    whole = isinstance(values, list) and all(isinstance(value, int) for value in values)
    if not whole or len(values) != 3 or min(values) < 1 or math.prod(values) > _MOST_IMAGE_VALUES:
        raise ValueError(f"image_shape is {quoted(values, 60)}")
    return tuple(values)
