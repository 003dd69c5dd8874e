"""The model that a name stands for: demo, torchvision:NAME, FILE.py:FACTORY, FILE.onnx."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parameter import is_lazy

from edge_tta.errors import ModelError, did_you_mean, printable
from edge_tta.models import torchvision_zoo
from edge_tta.models.factories import call_factory, imported, input_of, labels_of, names_in, task_of
from edge_tta.models.fitting import fill
from edge_tta.network.capture import outputs_of
from edge_tta.network.checking import evaluating
from edge_tta.prepare import InputSpec
from edge_tta.probability import Threshold
from edge_tta.tasks import ClassLogits, Decode, Task, find_task, task_named

_log = logging.getLogger(__name__)
_FORMS = "demo, torchvision:NAME, FILE.py:FACTORY or FILE.onnx"
_WEIGHTS = {".pt", ".pth", ".ckpt", ".bin", ".tar", ".safetensors"}


@dataclass(frozen=True)
class Model:
    """A trained network and what is known about it.

    Attributes:
        name: as the user gave it.
        module: of images (N, channels, H, W), in evaluation mode.
        input: what it takes.
        labels: names of its classes, None when unknown.
        decode: reads boxes from its outputs; None: nothing does.
        class_logits: of boxes that are to teach; None: none do.
        task_name: of what its outputs mean, where that is known.
        task: the task itself, once `with_task` has found it.
        sure_above: `edge_tta.temporal.accuracy.threshold` of its source frames; None: unknown.
    """

    name: str
    module: nn.Module
    input: InputSpec
    labels: tuple[str, ...] | None = None
    decode: Decode | None = None
    class_logits: ClassLogits | None = None
    task_name: str | None = None
    task: Task | None = None
    sure_above: Threshold | None = None

    def with_task(self, name: str | None) -> Model:
        """Return the model with its task found, by name or (None) by what it is and returns.

        Frames are then fitted into the input as the task needs it.

        Raises:
            ConfigError: no such task. ModelError: the network takes no such images.
        """
        if name is None and self.task_name is None and self.decode is None:
            shape = self.input.shape
            task = find_task(outputs_of(self.module, shape), shape)
        else:
            named = name or self.task_name or "detect"
            task = task_named(named, self.decode, self.class_logits)
        return replace(self, task=task, input=replace(self.input, fit=task.fit))


def load_model(spec: str, weights: str | Path | None = None) -> Model:
    """Return the model that `spec` names.

    A factory in FILE.py takes no arguments and returns an `nn.Module`, or is one. If the file has a
    mapping `INPUT`, its entry for the factory (or the mapping itself) may set `size`, `scale`,
    `mean`, `std`; if it has `LABELS`, a sequence, or a mapping by factory, it names the classes.
    `TASK`, a name of `edge_tta.tasks.TASKS` or such by factory, and functions `decode` and
    `class_logits`, of the file or of the network, say what the outputs mean
    (`edge_tta.tasks.detection`).

    Args:
        spec: `demo`, `torchvision:NAME`, `FILE.py:FACTORY` or `FILE.onnx`.
        weights: a file that `read_weights` reads.

    Raises:
        ModelError: no such model, or weights that are missing, damaged or of another network.
    """
    if spec == "demo":
        model = _demo(weights)
    elif spec.startswith("torchvision:"):
        model = Model(spec, *torchvision_zoo.load(spec.removeprefix("torchvision:"), weights))
    elif Path(spec).suffix.lower() == ".onnx":
        model = _from_onnx(spec, weights)
    elif ".py:" in spec:
        path, factory = spec.rsplit(":", 1)
        model = _from_file(Path(path).expanduser(), factory, weights)
    else:
        raise ModelError(_no_model(spec))
    evaluating(model.module)
    return model


def _no_model(spec: str) -> str:
    """Return why a name stands for no model, and what would."""
    path = Path(spec)
    if path.suffix == ".py":
        known = names_in(path)
        such = f", such as {', '.join(f'{spec}:{name}' for name in known[:3])}" if known else ""
        return f"{spec!r} is a Python file without a factory; expected {_FORMS}{such}"
    if path.suffix in _WEIGHTS:
        return (
            f"{spec!r} is a weights file; expected {_FORMS}, and beside it --weights {spec}: the "
            "network's code does not lie in its weights"
        )
    if spec and path.is_dir():
        return f"{spec!r} is a folder, maybe a bundle; here expected {_FORMS}"
    if "/" in spec and not path.exists():
        return f"there is no {spec}, neither a bundle's folder nor a file; expected {_FORMS}"
    known = ["demo", *(f"torchvision:{name}" for name in torchvision_zoo.names())]
    hint = did_you_mean(spec, known)
    return f"{spec!r} is no model; expected {_FORMS}, or a bundle's folder{hint}"


def _demo(weights: str | Path | None) -> Model:
    from edge_tta.demo.network import RoadSignNet, road_signs
    from edge_tta.demo.spec import INPUT, LABELS

    module = road_signs() if weights is None else fill(RoadSignNet(), weights)
    return Model("demo", module, INPUT, LABELS, task_name="classify")


def _from_file(path: Path, factory: str, weights: str | Path | None) -> Model:
    if not path.is_file():
        raise ModelError(f"there is no file {path}; check the path, or give one of {_FORMS}")
    with imported(path) as module:
        network = call_factory(module, path, factory)
    if weights is not None:
        network = fill(network, weights)
    elif _looks_untrained(network):
        _log.warning(
            "%s:%s looks untrained: its BatchNorm statistics are those of a new layer; give the "
            "weights that were trained with --weights FILE",
            printable(str(path)),
            printable(factory),
        )
    decode, class_logits = (
        getattr(module, name, None) or getattr(network, name, None)
        for name in ("decode", "class_logits")
    )
    return Model(
        f"{path}:{factory}",
        network,
        input_of(getattr(module, "INPUT", None), path, factory),
        labels_of(getattr(module, "LABELS", None), path, factory),
        decode,
        class_logits,
        task_of(getattr(module, "TASK", None), path, factory),
    )


def _looks_untrained(network: nn.Module) -> bool:
    """Return True where no BatchNorm has seen a batch or been given statistics."""
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    for norm in norms:
        parts = norm.running_mean, norm.running_var, norm.weight, norm.bias
        for part, new in zip(parts, (0, 1, 1, 0), strict=True):
            if part is None or is_lazy(part) or part.is_meta or (part != new).any():
                return False
    return bool(norms)


def _from_onnx(spec: str, weights: str | Path | None) -> Model:
    if weights is not None:
        raise ModelError(f"{spec} holds its weights; leave --weights out")
    try:
        from edge_tta.network.onnx_file import read_file
    except ModuleNotFoundError as error:
        raise ModelError(f"{spec} needs onnx ({error}): pip install 'edge-tta[torch]'") from error
    file = read_file(Path(spec).expanduser())
    return Model(spec, file.module, file.input, file.labels)
