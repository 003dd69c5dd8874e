"""The network that a command line names, with its executor: PyTorch, or a bundle."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_tta import heap
from edge_tta.bundle.adapter import BundleAdapter
from edge_tta.bundle.folder import Bundle, is_bundle
from edge_tta.bundle.manifest import Advice
from edge_tta.class_names import read_class_names
from edge_tta.cli import options
from edge_tta.errors import ConfigError, ModelError
from edge_tta.executor import Executor
from edge_tta.prepare import InputSpec
from edge_tta.run.choices import check_learns

if TYPE_CHECKING:
    from torch import nn

    from edge_tta.adapter import Adapter
    from edge_tta.models import Model
    from edge_tta.network.frozen import FrozenNetwork

DEMO_BUNDLE = Path(__file__).parents[1] / "demo" / "bundle"
_DEFAULT_SAVED = "float16"
_INSTEAD = {
    "saved": "leave it out, or give --profile",
    "views_at_a_time": "leave it out, or give --profile",
    "recompute": "leave it out, or give --profile",
}
# Options that an export of a bundle takes.
_FIXED = (
    *("weights", "size", "scale", "mean", "std"),
    *("preset", "views", "adapt_from", "calibrate_below"),
)


@dataclass(frozen=True)
class Loaded:
    """An executor and what is known about its network.

    prepare: loads what the first frame needs; gives the number of classes.
    beside: another method on the same network.
    adapt_every: on every so many frames it learns. why: what a budget, or the bundle's
        advice, had a say in, or nothing.
    """

    executor: Executor
    input: InputSpec
    labels: tuple[str, ...] | None
    prepare: Callable[[], int]
    beside: Callable[[str], Executor]
    adapt_every: int
    why: str = ""


def load(arguments: argparse.Namespace) -> Loaded:
    """Return what --model, --backend and the method's options name.

    Raises:
        EdgeTTAError: as the executor does, or they do not fit together.
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
    for name in ("saved", "views_at_a_time", "recompute", "budget_mb", "budget_ms"):
        if getattr(arguments, name) is not None:
            raise ConfigError(
                f"--{name.replace('_', '-')} is for models that PyTorch runs, and {folder} is a "
                "bundle; "
                + _INSTEAD.get(name, "leave it out, or give it to edge-tta export bundle")
            )
    if arguments.device != "cpu":
        raise ConfigError(f"bundles run on the CPU, got --device {arguments.device}")
    bundle = Bundle(folder, threads=arguments.threads, profile=arguments.profile)
    adapter = BundleAdapter(bundle, _label(arguments, bundle))
    manifest = bundle.manifest
    labels = manifest.labels if arguments.labels is None else read_class_names(arguments.labels)
    return Loaded(
        adapter,
        manifest.input,
        labels,
        lambda: adapter.prepare(manifest.image_shape),
        adapter.beside,
        arguments.adapt_every or manifest.advice.adapt_every,
        _advised(arguments, adapter),
    )


def _advised(arguments: argparse.Namespace, adapter: BundleAdapter) -> str:
    """Return what is done because the bundle advises it, and how to do otherwise; or nothing."""
    advice, usual = adapter.network.manifest.advice, Advice()
    parts = []
    if arguments.profile is None and advice.profile != usual.profile:
        parts.append(f"--profile {advice.profile}")
    if arguments.adapt_every is None and advice.adapt_every != usual.adapt_every:
        parts.append(f"--adapt-every {advice.adapt_every}")
    if not parts:
        return ""
    return f"as the bundle advises: {' '.join(parts)}; give your own to do otherwise"


def _label(arguments: argparse.Namespace, bundle: Bundle) -> str | None:
    """Return the method asked for, as the bundle calls it; None: its first."""
    method, host = arguments.method, arguments.host
    if method is None and host is None:
        return None
    method = method or "nanoadapt"
    if method != "nanoadapt":
        return str(method)
    return f"nanoadapt:{host or options.DEFAULT_HOST}"


def _torch(arguments: argparse.Namespace) -> Loaded:
    if importlib.util.find_spec("torch") is None:
        raise ModelError(
            f"{arguments.model} needs PyTorch, which is not installed: pip install "
            "'edge-tta[torch]', or give a bundle"
        )
    if arguments.profile not in (None, "speed"):
        raise ConfigError("--profile is for bundles; leave it out")
    heap.keep()
    options.use_threads(arguments.threads)
    model = options.model_from(arguments)
    adapter, adapt_every, why = _adapter_of(arguments, model)
    preset = arguments.preset or options.DEFAULT_PRESET
    shape = (3, model.input.size, model.input.size)
    return Loaded(
        adapter,
        model.input,
        model.labels,
        lambda: _prepared(adapter, shape),
        lambda method: adapter.beside(method, preset),
        adapt_every,
        why,
    )


def _prepared(adapter: Adapter, shape: tuple[int, ...]) -> int:
    """Capture the network and free what that left; return the number of classes."""
    with contextlib.redirect_stdout(sys.stderr):  # what the network prints is no record
        classes = adapter.prepare(shape).program.classes
    heap.trim()
    return classes


def _adapter_of(arguments: argparse.Namespace, model: Model) -> tuple[Adapter, int, str]:
    """Return the adapter, how often it learns, and what a budget had a say in (or nothing)."""
    from edge_tta.adapter import Adapter
    from edge_tta.method import apart
    from edge_tta.run.budget import drawn_image, fit

    def build(network: nn.Module | FrozenNetwork, saved: str, **more: Any) -> Adapter:
        return Adapter(
            network,
            arguments.method or options.DEFAULT_METHOD,
            arguments.host or options.DEFAULT_HOST,
            arguments.preset or options.DEFAULT_PRESET,
            arguments.device,
            input_spec=model.input,
            saved=saved,
            adapt_from=arguments.adapt_from,
            calibrate_below=arguments.calibrate_below,
            recompute=arguments.recompute or 0,
            **more,
        )

    at_a_time: int = arguments.views_at_a_time or 0
    asked = build(
        model.module,
        arguments.saved or _DEFAULT_SAVED,
        views=arguments.views,
        views_at_a_time=at_a_time,
    )
    every: int = arguments.adapt_every or 1
    if arguments.budget_mb is None and arguments.budget_ms is None:
        return asked, every, ""
    check_learns(asked.config)
    shape = (len(model.input.mean), model.input.size, model.input.size)
    choice, why = fit(
        lambda saved, depth: build(asked.network, saved, views=0, depth=depth),
        drawn_image(shape),
        views=asked.config.views,
        depth=asked.config.depth,
        adapt_every=every,
        at_a_time=(0, 1) if not at_a_time and apart.allows(asked.config) else (at_a_time,),
        **options.budget_from(arguments),
    )
    adapter = build(
        asked.network,
        choice.saving,
        views=choice.views,
        depth=choice.depth,
        views_at_a_time=choice.views_at_a_time,
    )
    return adapter, choice.adapt_every, why
