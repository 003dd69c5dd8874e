"""Models as the command line names them: demo, torchvision:NAME, FILE.py:FACTORY."""

from __future__ import annotations

import contextlib
import difflib
import importlib.util
import sys
import urllib.error
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edge_tta.errors import ConfigError, ModelError, one_line
from edge_tta.prepare import InputSpec

_FORMS = "demo, torchvision:NAME or FILE.py:FACTORY"
_INPUT_FIELDS = ("size", "scale", "mean", "std", "channels")
# torchvision builds these with an auxiliary classifier and a normalisation of their own.
_AUXILIARY = {"googlenet": "aux1.", "inception_v3": "AuxLogits."}


@dataclass(frozen=True)
class Model:
    """A trained classifier and what is known about it.

    Attributes:
        name: as the user gave it.
        module: (N, *input.shape) -> logits (N, classes), in evaluation mode.
        input: what it takes.
        labels: names of its classes, None when unknown.
    """

    name: str
    module: nn.Module
    input: InputSpec
    labels: tuple[str, ...] | None = None


def load_model(spec: str, weights: str | Path | None = None) -> Model:
    """The model that `spec` names.

    A factory in FILE.py takes no arguments and returns an `nn.Module`. If the file has a mapping
    `INPUT`, its entry for the factory (or the mapping itself) may set `size`, `scale`, `mean`,
    `std`, `channels`; if it has `LABELS`, a sequence, or a mapping by factory, it names classes.

    Args:
        spec: `demo`, `torchvision:NAME` or `FILE.py:FACTORY`.
        weights: a state dict, .safetensors or saved by torch.save (loaded with weights_only=True).

    Raises:
        ModelError: no such model, or weights that are missing, damaged or of another network.
    """
    if spec == "demo":
        model = _demo(Path(weights) if weights else None)
    elif spec.startswith("torchvision:"):
        model = _torchvision(spec.removeprefix("torchvision:"), weights)
    elif ".py:" in spec:
        path, factory = spec.rsplit(":", 1)
        model = _from_file(Path(path), factory, weights)
    else:
        what = "a Python file without a factory" if spec.endswith(".py") else "no model"
        raise ModelError(f"{spec!r} is {what}; expected {_FORMS}")
    model.module.eval()
    return model


def _demo(weights: Path | None) -> Model:
    from edge_tta.demo.network import WEIGHTS, road_signs
    from edge_tta.demo.spec import INPUT, LABELS

    return Model("demo", road_signs(weights or WEIGHTS), INPUT, LABELS)


def _torchvision(name: str, weights: str | Path | None) -> Model:
    try:
        import torchvision
    except ImportError as error:
        raise ModelError(
            f"torchvision:{name} needs torchvision; install it: pip install torchvision"
        ) from error
    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise ModelError(f"torchvision has no classifier {name!r}{hint}")
    entry = torchvision.models.get_model_weights(name).DEFAULT
    labels = tuple(entry.meta["categories"])
    transforms = entry.transforms()
    spec = InputSpec(
        size=int(transforms.crop_size[0]),
        scale=255.0,
        mean=tuple(transforms.mean),
        std=tuple(transforms.std),
    )
    if weights is None:
        try:
            module = torchvision.models.get_model(name, weights=entry)
        except (OSError, urllib.error.URLError, RuntimeError) as error:
            raise ModelError(
                f"the weights of torchvision:{name} cannot be downloaded ({one_line(error, 200)}); "
                "connect to the network, or give a file: --weights FILE"
            ) from error
        return Model(f"torchvision:{name}", module, spec, labels)
    state = read_weights(weights)
    classes = _classes_of(state)
    published = classes is None or classes == len(labels)
    options: dict[str, Any] = {} if published else {"num_classes": classes}
    if name in _AUXILIARY:
        # The published weights expect another normalisation, which the network applies itself.
        options |= {
            "init_weights": False,
            "transform_input": published,
            "aux_logits": any(key.startswith(_AUXILIARY[name]) for key in state),
        }
    module = torchvision.models.get_model(name, weights=None, **options)
    module = _filled(module, state, weights)
    return Model(f"torchvision:{name}", module, spec, labels if published else None)


def _from_file(path: Path, factory: str, weights: str | Path | None) -> Model:
    if not path.is_file():
        raise ModelError(f"there is no file {path}; check the path, or give one of {_FORMS}")
    with _importable(path.resolve().parent):
        module = _imported(path)
        make = getattr(module, factory, None)
        if not callable(make):
            known = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
            near = difflib.get_close_matches(factory, known, n=3)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            raise ModelError(f"{path} has no function {factory!r}{hint}")
        try:
            network = make()
        except (Exception, SystemExit) as error:
            raise ModelError(
                f"{path}:{factory} fails with {type(error).__name__}: {one_line(error, 200)}; "
                "expected a function without arguments that returns an nn.Module"
            ) from error
    if not isinstance(network, nn.Module):
        raise ModelError(
            f"{path}:{factory} returns a {type(network).__name__}; expected an nn.Module"
        )
    if weights is not None:
        network = _filled(network, read_weights(weights), weights)
    return Model(
        f"{path}:{factory}",
        network,
        _input_of(getattr(module, "INPUT", None), path, factory),
        _labels_of(getattr(module, "LABELS", None), path, factory),
    )


@contextlib.contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """The folder can be imported from, as when Python runs a file in it."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):  # the file itself may have taken it off
            sys.path.remove(str(folder))


def _imported(path: Path) -> Any:
    """The file as a module."""
    name = f"edge_tta_model_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise ModelError(
            f"{path} cannot be imported: {type(error).__name__}: {one_line(error, 200)}; "
            "expected a Python file that runs without arguments"
        ) from error
    return module


def _input_of(given: Any, path: Path, factory: str) -> InputSpec:
    """`INPUT` of a model file as an InputSpec; what it leaves out is ImageNet's."""
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
        raise ModelError(f"INPUT in {path}: {one_line(error, 200)}") from error


def _labels_of(given: Any, path: Path, factory: str) -> tuple[str, ...] | None:
    """`LABELS` of a model file: the class names, or None where it names other factories' only."""
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


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """A state dict from a .safetensors file or one of torch.save, never running code of the file.

    Wrappers {"state_dict": ...} or {"model": ...} and the prefix "module." are taken off.

    Raises:
        ModelError: missing, damaged, or not a state dict.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelError(f"there is no weights file {path}; check the path")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state: Any = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ModelError(
            f"{path} is not a weights file that can be loaded safely ({type(error).__name__}); "
            "expected .safetensors, or a state dict: torch.save(model.state_dict(), FILE)"
        ) from error
    for wrapper in ("state_dict", "model"):
        if isinstance(state, Mapping) and isinstance(state.get(wrapper), Mapping):
            state = state[wrapper]
    if not isinstance(state, Mapping) or not any(isinstance(v, Tensor) for v in state.values()):
        raise ModelError(
            f"{path} holds no state dict; expected torch.save(model.state_dict(), FILE)"
        )
    return {
        str(key).removeprefix("module."): value
        for key, value in state.items()
        if isinstance(value, Tensor)
    }


def _filled(module: nn.Module, state: dict[str, Tensor], path: str | Path) -> nn.Module:
    """The module with the weights. Only BatchNorm's batch counters may be missing."""
    try:
        found = module.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise ModelError(
            f"{path} does not fit the model: {one_line(error, 200).split(': ', 1)[-1]}"
        ) from error
    missing = [key for key in found.missing_keys if not key.endswith("num_batches_tracked")]
    for what, keys in (("lacks", missing), ("has the unknown", found.unexpected_keys)):
        if keys:
            more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
            raise ModelError(
                f"{path} {what} {', '.join(keys[:3])}{more}; expected the weights of this model"
            )
    return module


def _classes_of(state: Mapping[str, Tensor]) -> int | None:
    """Outputs of the last linear layer of a state dict, which is a torchvision classifier's."""
    linear = [value for value in state.values() if value.ndim == 2]
    return len(linear[-1]) if linear else None
