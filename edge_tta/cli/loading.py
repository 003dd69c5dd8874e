"""The adapter that a command line names: of a module of PyTorch, or of a bundle."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_tta import heap
from edge_tta.adapter import Adapter
from edge_tta.budget.choices import MIB, check_learns
from edge_tta.bundle.folder import Bundle, is_bundle
from edge_tta.bundle.manifest import Advice
from edge_tta.class_names import read_class_names
from edge_tta.cli import options, suiting
from edge_tta.decoders import read_decode
from edge_tta.engines.base import Backward
from edge_tta.engines.onnx import OnnxEngine
from edge_tta.errors import ConfigError, ModelError
from edge_tta.probability import Threshold
from edge_tta.tasks import Task, task_named

if TYPE_CHECKING:
    from torch import nn

    from edge_tta.models import Model
    from edge_tta.network.source import SourceNetwork

DEMO_BUNDLE = Path(__file__).parents[1] / "demo" / "bundle"
_DEFAULT_SAVED = "float16"
_INSTEAD = {
    "saved": "leave it out, or give --profile",
    "checkpoint_activations": "leave it out, or give --profile",
}
# Options that an export of a bundle takes.
_FIXED = (
    *("weights", "size", "scale", "mean", "std", "channels"),
    *("preset", "views", "adapt_from", "calibrate_below"),
    *("source_frames", "first_frames", "source_accuracy"),
)


@dataclass(frozen=True)
class Loaded:
    """An adapter and what is known about its network.

    prepare: loads what an adapter's first frame needs; gives the number of classes.
    sure_above: as of `edge_tta.temporal.Filtered`. why: what was chosen by a budget or by the
        bundle's advice, in one line; "": nothing. bundled: it is a bundle.
    """

    adapter: Adapter
    labels: tuple[str, ...] | None
    prepare: Callable[[Adapter], int]
    sure_above: Threshold | None
    why: str = ""
    bundled: bool = False


def load(arguments: argparse.Namespace) -> Loaded:
    """Return what --model, --backend and the method's options name.

    Raises:
        EdgeTTAError: as `Adapter` does, or they do not fit together.
    """
    folder = _bundle(arguments)
    return _torch(arguments) if folder is None else _onnx(arguments, folder)


def _bundle(arguments: argparse.Namespace) -> Path | None:
    """Return the bundle to run; None where PyTorch is to run the model."""
    # A folder called demo is ./demo: the name is the built-in model's.
    named = arguments.model != "demo" and is_bundle(arguments.model)
    if named and arguments.backend == "torch":
        raise ConfigError(
            f"{arguments.model} is a bundle, which onnxruntime runs; leave --backend out, or give "
            "the model that it was made from"
        )
    if named:
        return Path(arguments.model)
    if arguments.model == "demo" and arguments.weights is None:
        lacks_torch = importlib.util.find_spec("torch") is None
        if arguments.backend == "onnx" or (arguments.backend is None and lacks_torch):
            return DEMO_BUNDLE
    if arguments.backend == "onnx":
        raise ConfigError(
            f"--backend onnx runs bundles, and {arguments.model} is none; make one first: "
            f"edge-tta export bundle --model {arguments.model} --out DIR, then --model DIR"
        )
    return None


def _onnx(arguments: argparse.Namespace, folder: Path) -> Loaded:
    for name in _FIXED:
        if getattr(arguments, name) is not None:
            option = name.replace("_", "-")
            raise ConfigError(
                f"--{option} is fixed in a bundle; leave it out, or export the bundle with it"
            )
    for name in ("saved", "checkpoint_activations", "budget_mb"):
        if getattr(arguments, name) is not None:
            raise ConfigError(
                f"--{name.replace('_', '-')} is for models that PyTorch runs, and {folder} is a "
                "bundle; "
                + _INSTEAD.get(name, "leave it out, or give it to edge-tta export bundle")
            )
    if arguments.device != "cpu":
        raise ConfigError(f"bundles run on the CPU, got --device {arguments.device}")
    bundle = Bundle(
        folder, threads=arguments.threads, profile=arguments.profile, task=_task(arguments)
    )
    manifest = bundle.manifest
    adapter = Adapter(OnnxEngine(bundle, _label(arguments, bundle)))
    labels = manifest.labels if arguments.labels is None else read_class_names(arguments.labels)
    return Loaded(
        adapter,
        labels,
        lambda adapter: adapter.prepare(manifest.image_shape),
        manifest.sure_above,
        _advised(arguments, manifest.advice),
        bundled=True,
    )


def _task(arguments: argparse.Namespace) -> Task | None:
    """Return the task of a bundle where the user says more of it than the bundle does."""
    if arguments.decode is not None:
        return task_named("detect", read_decode(arguments.decode))
    return None if arguments.task is None else task_named(arguments.task)


def _advised(arguments: argparse.Namespace, advice: Advice) -> str:
    """Return what is done because the bundle advises it, and how to do otherwise; or nothing."""
    if arguments.profile is not None or advice == Advice():
        return ""
    return f"as the bundle advises: --profile {advice.profile}; give your own to do otherwise"


def _label(arguments: argparse.Namespace, bundle: Bundle) -> str | None:
    """Return the method asked for, as the bundle calls it; None: its first."""
    named = arguments.method is not None or arguments.host is not None
    return options.method_named(arguments) if named else None


def _torch(arguments: argparse.Namespace) -> Loaded:
    if importlib.util.find_spec("torch") is None:
        if not re.search(r"^demo$|:", arguments.model) and not Path(arguments.model).exists():
            raise ModelError(
                f"there is no bundle {arguments.model}: no such folder; check the path, or make "
                "one where PyTorch is: edge-tta export bundle --model MODEL --out DIR"
            )
        raise ModelError(
            f"{arguments.model} needs PyTorch, which is not installed: pip install "
            "'edge-tta[torch]', or give a bundle"
        )
    if arguments.profile not in (None, "speed"):
        raise ConfigError("--profile is for bundles; leave it out")
    options.check_choices(arguments)
    heap.keep()
    options.use_threads(arguments.threads)
    model = options.model_from(arguments)
    suiting.check_host(arguments, model.task)
    adapter, why = _adapter_of(arguments, model)
    return Loaded(
        adapter,
        model.labels,
        lambda adapter: _prepared(adapter, model.input.shape),
        model.sure_above,
        why,
    )


def _prepared(adapter: Adapter, shape: tuple[int, ...]) -> int:
    """Capture the network and free what that left; return the number of classes."""
    with contextlib.redirect_stdout(sys.stderr):  # what the network prints is no record
        classes = adapter.prepare(shape)
    heap.trim()
    return classes


def _adapter_of(arguments: argparse.Namespace, model: Model) -> tuple[Adapter, str]:
    """Return the adapter, and what a budget chose; "": nothing."""
    from edge_tta.budget.measuring import drawn_image, fit
    from edge_tta.engines.torch import engine_of

    def build(network: nn.Module | SourceNetwork, saved: str, **more: Any) -> Adapter:
        return Adapter(
            network,
            device=arguments.device,
            input_spec=model.input,
            backward=Backward(saved, arguments.checkpoint_activations or 0),
            task=model.task,
            **options.method_from(arguments),
            **more,
        )

    asked = build(model.module, arguments.saved or _DEFAULT_SAVED, views=arguments.views)
    if arguments.budget_mb is None:
        return asked, ""
    check_learns(asked.config)
    network = engine_of(asked).network
    choice, why = fit(
        lambda saved, depth: build(network, saved, views=0, depth=depth),
        drawn_image(model.input.shape),
        views=asked.config.views.count,
        depth=asked.config.layers.depth,
        budget_bytes=arguments.budget_mb * MIB,
    )
    return build(network, choice.saving, views=choice.views, depth=choice.depth), why
