"""Which engine runs what an `Adapter` is given: a bundle, an ONNX file, a module, an engine."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from edge_tta.bundle.folder import Bundle
from edge_tta.config import make_config
from edge_tta.engines.base import BACKWARD, Backward, Engine
from edge_tta.engines.onnx import OnnxEngine
from edge_tta.errors import ConfigError, ModelError
from edge_tta.prepare import InputSpec
from edge_tta.tasks import Task

if TYPE_CHECKING:
    from torch import nn

    from edge_tta.network.source import SourceNetwork


class OfModules(NamedTuple):
    """Arguments of `edge_tta.Adapter` that a bundle and an engine have settled already."""

    device: str
    input_spec: InputSpec | None
    backward: Backward
    source_images: Any
    task: Task | None
    options: Mapping[str, Any]


_MOVED = {
    "saved": "backward=Backward(saved=...)",
    "activation_checkpointing": "backward=Backward(checkpointing=...)",
}
_SETTLED = OfModules("cpu", None, BACKWARD, None, None, {})


def engine_for(
    model: nn.Module | SourceNetwork | Engine | Bundle | str | Path,
    method: str,
    preset: str | Path,
    of_modules: OfModules,
) -> Engine:
    """Return the engine of a model; arguments and errors as of `edge_tta.Adapter`."""
    for name in _MOVED.keys() & of_modules.options.keys():
        raise ConfigError(f"{name} is no option of an adapter; give {_MOVED[name]}")
    is_file = isinstance(model, (str, Path)) and Path(model).suffix.lower() == ".onnx"
    if isinstance(model, (str, Path, Bundle)) and not is_file:
        if preset != "edge" or not _is_settled(of_modules):
            raise ConfigError(
                "a bundle runs on the CPU with the preset, input and options that it was "
                "exported with; give the method alone, or export it with the others"
            )
        return OnnxEngine(model, method)
    if isinstance(model, Engine):
        if method != "nanoadapt" or not _is_settled(of_modules):
            raise ConfigError("an engine has its method and options already; give it alone")
        return model
    input_spec, modules = of_modules.input_spec, torch_module("modules")
    if is_file:
        file = modules.read_onnx(model, of_modules.source_images, of_modules.task)
        model, input_spec = file.module, input_spec or file.input
    elif of_modules.source_images is not None:
        model = modules.with_statistics(model, of_modules.source_images, of_modules.task)
    engine: Engine = modules.torch_engine(
        model,
        make_config(method, preset=preset, **of_modules.options),
        of_modules.device,
        input_spec,
        of_modules.backward,
        of_modules.task,
        host_by_task=":" not in method,
    )
    return engine


def _is_settled(given: OfModules) -> bool:
    return given.source_images is None and given == _SETTLED


def torch_module(name: str = "torch") -> Any:
    """Return a module of `edge_tta.engines` that imports PyTorch, which takes seconds.

    Raises ModelError where there is no PyTorch.
    """
    try:
        return import_module(f"edge_tta.engines.{name}")
    except ModuleNotFoundError as error:
        raise ModelError(
            f"modules need PyTorch ({error}): pip install 'edge-tta[torch]', or give a bundle"
        ) from error
