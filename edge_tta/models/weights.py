"""Weights files: the state dicts that lie in them, read without running code of the file."""

from __future__ import annotations

import builtins
import pickle
import re
import sys
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from edge_tta.errors import ModelError, one_line

StateDict = dict[str, Tensor]

_DEEPEST = 3
"""How many keys deep a state dict may lie in a file."""
# Modules of Python itself whose objects hold settings and figures.
_PLAIN = {
    *("argparse", "collections", "datetime", "decimal", "enum", "functools", "pathlib", "types"),
    *("typing", "uuid"),
}
_LIKE_DICT = re.compile(r"dict|node|munch|namespace", re.IGNORECASE)
# What PyTorch's messages hold, and what it means.
_KINDS = {
    "TorchScript": "it is TorchScript; save torch.jit.load(FILE).state_dict()",
    "legacy .tar": "it is a tar archive; unpack it",
    "central directory": "it is cut short or damaged",
    "enforce fail": "it is an archive of another kind, or damaged",
    "Unsupported operand": "it is a pickle of another kind",
}
# How files begin that are taken for weights, and what they are.
_OTHER_FILES = {
    b"version https://git-lfs": "a pointer of Git LFS, not the file itself; run git lfs pull",
    b"<!doctype": "a web page, not a weights file; download the file itself",
    b"<html": "a web page, not a weights file; download the file itself",
}
_EXPECTED = "expected .safetensors, or a state dict: torch.save(model.state_dict(), FILE)"


def read_weights(path: str | Path) -> dict[str, StateDict]:
    """Return the state dicts in a file by the key that they lie under, "" for the file itself.

    Files of torch.save, and .safetensors. Objects beside the weights are left out: what stands in
    the file for a class outside Python's own modules is not imported, an empty thing takes its
    place. Keys in keys are joined by dots, as `model.state_dict`.

    Raises:
        ModelError: missing, damaged, no state dict, or not to be loaded safely.
    """
    if "://" in str(path):
        raise ModelError("--weights takes a file, not an address; download it first")
    path = Path(path).expanduser()
    if not path.is_file():
        raise ModelError(f"there is no weights file {path}; check the path")
    loaded = _loaded(path)
    states = dict(_states(loaded))
    if not states:
        raise ModelError(f"{path} holds no state dict but {_kind(loaded)}; {_EXPECTED}")
    return states


def _loaded(path: Path) -> Any:
    """Return what a file holds."""
    try:
        with path.open("rb") as file:
            start = file.read(64)
        for beginning, said in _OTHER_FILES.items():
            if start.lower().startswith(beginning):
                raise ModelError(f"{path} is {said}")
        # Eight bytes of length come before the header's brace.
        if path.suffix == ".safetensors" or start[8:9] == b"{":
            return load_file(path)
        return _unpickled(path)
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(
            f"{path} is not a weights file that can be loaded safely: {_said(error)}; {_EXPECTED}"
        ) from error


def _unpickled(path: Path) -> Any:
    """Return what torch.load gives with weights_only, with stand-ins for unknown classes."""
    try:
        unknown = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except ValueError:  # the form before PyTorch 1.6, whose error names what it holds
        unknown = []
    unsafe = [name for name in unknown if _is_unsafe(name)]
    if unsafe:
        raise pickle.UnpicklingError(f"it would run {', '.join(sorted(unsafe)[:3])}")
    stand_ins: list[Any] = []
    for name in unknown:
        own = name.rpartition(".")[2]
        like_dict = _LIKE_DICT.search(own)
        stand_ins.append((_DictStandIn if like_dict else type(own, (_StandIn,), {}), name))
    with torch.serialization.safe_globals(stand_ins):
        return torch.load(path, map_location="cpu", weights_only=True)


def _is_unsafe(name: str) -> bool:
    """Return True for what Python itself brings, but for types and plain holders of values."""
    module, _, rest = name.partition(".")
    if module == "builtins":
        return not isinstance(getattr(builtins, rest, None), type)
    return module in sys.stdlib_module_names and module not in _PLAIN


class _StandIn(list):  # type: ignore[type-arg]
    """An object of an unknown class: takes whatever a file gives it, keeps and does nothing."""

    def __new__(cls, *given: object) -> _StandIn:
        return super().__new__(cls)

    def __init__(self, *given: object) -> None:
        super().__init__()

    def __setstate__(self, state: object) -> None:
        pass


class _DictStandIn:
    """A mapping of an unknown class."""

    def __new__(cls, *given: object) -> OrderedDict[Any, Any]:  # type: ignore[misc]
        return OrderedDict()


def _states(value: Any, key: str = "", depth: int = 0) -> Iterator[tuple[str, StateDict]]:
    if isinstance(value, (list, tuple)):
        value = dict(enumerate(value))
    if not isinstance(value, Mapping):
        return
    state = {k: v for k, v in value.items() if isinstance(k, str) and isinstance(v, Tensor)}
    if state:
        yield key, state
    if depth < _DEEPEST:
        for name, inner in value.items():
            yield from _states(inner, f"{key}.{name}" if key else str(name), depth + 1)


def _kind(loaded: Any) -> str:
    """Return what a file holds instead of weights, as a whole model's class."""
    if isinstance(loaded, Mapping) and loaded:
        parts = [f"{key} ({type(value).__name__})" for key, value in list(loaded.items())[:4]]
        return f"a mapping with {', '.join(parts)}"
    return f"a {type(loaded).__name__}"


def _said(error: BaseException) -> str:
    """Return what an error says, without PyTorch's advice to trust the file."""
    if isinstance(error, EOFError):
        return "it is empty or cut short"
    text = str(error)
    named = re.search(r"GLOBAL (\S+)", text)
    if named is not None:
        return f"it would run {named[1]}"
    for part, said in _KINDS.items():
        if part in text:
            return said
    return one_line(error, 120)
