"""Model files: a Python file of the user's, its factory, INPUT and LABELS."""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from edge_tta.errors import ConfigError, ModelError, did_you_mean, one_line
from edge_tta.network.checking import required_parameters
from edge_tta.prepare import InputSpec
from edge_tta.tasks import TASKS

_INPUT_FIELDS = ("size", "scale", "mean", "std", "channels")
_PACKAGE = "edge_tta_model_files"
_LIMIT = 200
"""Characters of a user's message that are shown."""


@contextlib.contextmanager
def imported(path: Path) -> Iterator[ModuleType]:
    """Import a file as Python would run it: without arguments, its folder importable.

    Relative imports work too, from the outermost folder that has an `__init__.py`.

    Raises:
        ModelError: it cannot be imported.
    """
    file = path.resolve()
    root = file.parent
    while (root / "__init__.py").is_file():
        root = root.parent
    arguments, paths = sys.argv, list(dict.fromkeys([str(file.parent), str(root)]))
    sys.argv = [str(path)]
    sys.path[:0] = paths
    try:
        with contextlib.redirect_stdout(sys.stderr):  # standard output may be for records
            yield _executed(file, root, path)
    finally:
        sys.argv = arguments
        for folder in paths:
            with contextlib.suppress(ValueError):  # the file itself may have taken it off
                sys.path.remove(folder)


def _executed(file: Path, root: Path, given: Path) -> ModuleType:
    """Return the file as a module of a package that holds its root folder."""
    parent = f"{_PACKAGE}_{abs(hash(root))}"
    package = sys.modules.setdefault(parent, ModuleType(parent))
    package.__path__ = [str(root)]
    try:
        for part in file.parent.relative_to(root).parts:
            parent = f"{parent}.{part}"
            importlib.import_module(parent)
        name = f"{parent}.{file.stem}"
        spec = importlib.util.spec_from_file_location(name, file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise ModelError(
            f"{given} cannot be imported: {_described(error)}; expected a Python file that runs "
            "without arguments"
        ) from error
    return module


def names_in(path: Path) -> list[str]:
    """Return names of functions, then classes, at the top of a Python file, without running it."""
    try:
        body = ast.parse(path.read_bytes()).body
    except (OSError, SyntaxError, ValueError):
        return []
    kinds = (ast.FunctionDef, ast.ClassDef)
    names = [n.name for kind in kinds for n in body if isinstance(n, kind)]
    return [name for name in names if not name.startswith("_")]


def call_factory(module: ModuleType, path: Path, factory: str) -> nn.Module:
    """Return the network that a factory of a model file makes, or the one that has that name.

    Raises:
        ModelError: there is no such factory, it fails, or returns something else.
    """
    make = getattr(module, factory, None)
    if isinstance(make, nn.Module):
        return make
    if not callable(make):
        known = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
        raise ModelError(f"{path} has no function {factory!r}{did_you_mean(factory, known)}")
    try:
        needed = required_parameters(make)
    except ValueError:  # of a built-in
        needed = []
    if needed:
        raise ModelError(
            f"{path}:{factory} needs arguments ({', '.join(needed)}); expected a function without "
            f"any, such as def network(): return {factory}(...)"
        )
    try:
        network = make()
    except (Exception, SystemExit) as error:
        raise ModelError(
            f"{path}:{factory} fails with {_described(error)}; expected a function without "
            "arguments that returns an nn.Module"
        ) from error
    if isinstance(network, nn.Module):
        return network
    kind = type(network).__name__
    if isinstance(network, (list, tuple)):
        kind += f" of {', '.join(type(part).__name__ for part in network[:4])}"
    advice = ""
    if isinstance(network, type) and issubclass(network, nn.Module):
        advice = f"; let it return {network.__name__}(), not {network.__name__}"
    elif isinstance(network, (list, tuple)) and any(isinstance(p, nn.Module) for p in network):
        advice = "; let it return that alone"
    raise ModelError(f"{path}:{factory} returns a {kind}; expected an nn.Module{advice}")


def input_of(given: Any, path: Path, factory: str) -> InputSpec:
    """Return `INPUT` of a model file; what it leaves out is ImageNet's.

    Raises:
        ModelError: it is no mapping, or its values are out of range.
    """
    expected = f"INPUT in {path} must be a mapping with {', '.join(_INPUT_FIELDS)}"
    entry = given
    if isinstance(given, Mapping):
        if factory in given:
            entry = given[factory]
        elif not any(name in given for name in _INPUT_FIELDS):
            if not all(isinstance(value, Mapping) for value in given.values()):
                raise ModelError(f"{expected}, or of such by factory, got {given!r}")
            entry = None
    if entry is None:
        return InputSpec()
    if not isinstance(entry, Mapping):
        raise ModelError(f"{expected}, got {entry!r}")
    try:
        return InputSpec().changed(**{key: entry[key] for key in _INPUT_FIELDS if key in entry})
    except (ConfigError, TypeError, ValueError) as error:
        raise ModelError(f"INPUT in {path}: {one_line(error, _LIMIT)}") from error


def labels_of(given: Any, path: Path, factory: str) -> tuple[str, ...] | None:
    """Return `LABELS` of a model file; None where it names other factories' classes only.

    Raises:
        ModelError: it is no sequence.
    """
    by_factory = isinstance(given, Mapping) and all(isinstance(key, str) for key in given)
    entry = given.get(factory) if by_factory else given
    if entry is None:
        return None
    if not isinstance(entry, (list, tuple)):
        raise ModelError(
            f"LABELS in {path} must be a list of class names, or a mapping from factory to such "
            f"a list, got a {type(entry).__name__}"
        )
    return tuple(str(label) for label in entry)


def task_of(given: Any, path: Path, factory: str) -> str | None:
    """Return `TASK` of a model file: a task's name; None where it says nothing of the factory.

    Raises:
        ModelError: it is no name of a task.
    """
    named = given.get(factory) if isinstance(given, Mapping) else given
    if named is not None and named not in TASKS:
        raise ModelError(
            f"TASK in {path} must be one of {', '.join(TASKS)}, or a mapping from factory to "
            f"one, got {named!r}"
        )
    return named


def _described(error: BaseException) -> str:
    return f"{type(error).__name__}: {one_line(error, _LIMIT)}"
