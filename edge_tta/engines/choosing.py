"""Which engine runs what an `Adapter` is given: a bundle, an ONNX file, a module, an engine."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from edge_tta.bundle.folder import Bundle
from edge_tta.config import SAVED, make_config
from edge_tta.engines.base import Engine
from edge_tta.engines.onnx import OnnxEngine
from edge_tta.errors import ConfigError, ModelError
from edge_tta.prepare import InputSpec
from edge_tta.tasks import Task

if TYPE_CHECKING:
    from torch import nn

    from edge_tta.network.source import SourceNetwork

_DEFAULT_HOST = "tent"


class OfModules(NamedTuple):
    """Arguments of `edge_tta.Adapter` that a bundle and an engine have settled already."""

    device: str
    input_spec: InputSpec | None
    saved: str
    activation_checkpointing: int | str
    source_images: Any
    task: Task | None
    options: Mapping[str, Any]


_SETTLED = OfModules("cpu", None, "float32", 0, None, None, {})


def engine_for(
    model: nn.Module | SourceNetwork | Engine | Bundle | str | Path,
    method: str,
    host: str | None,
    preset: str | Path,
    of_modules: OfModules,
) -> Engine:
    """Return the engine of a model; arguments and errors as of `edge_tta.Adapter`."""
    is_file = isinstance(model, (str, Path)) and Path(model).suffix.lower() == ".onnx"
    if isinstance(model, (str, Path, Bundle)) and not is_file:
        if (preset, of_modules) != ("edge", _SETTLED):
            raise ConfigError(
                "a bundle runs on the CPU with the preset, input and options that it was "
                "exported with; give method and host alone, or export it with the others"
            )
        label = make_config(method, host or _DEFAULT_HOST).label
        return OnnxEngine(model, method if host is None else label)
    if isinstance(model, Engine):
        if (method, host, of_modules) != ("nanoadapt", None, _SETTLED):
            raise ConfigError("an engine has its method and options already; give it alone")
        return model
    if of_modules.saved not in SAVED:
        raise ConfigError(f"saved must be one of {', '.join(SAVED)}, got {of_modules.saved!r}")
    input_spec, modules = of_modules.input_spec, torch_module("modules")
    if is_file:
        file = modules.read_onnx(model, of_modules.source_images, of_modules.task)
        model, input_spec = file.module, input_spec or file.input
    elif of_modules.source_images is not None:
        model = modules.with_statistics(model, of_modules.source_images, of_modules.task)
    engine: Engine = modules.torch_engine(
        model,
        make_config(method, host or _DEFAULT_HOST, preset, **of_modules.options),
        of_modules.device,
        input_spec,
        of_modules.saved,
        of_modules.activation_checkpointing,
        of_modules.task,
        host_by_task=host is None and ":" not in method,
    )
    return engine


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
