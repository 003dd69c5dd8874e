"""Options that several subcommands share."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_tta.bundle.runtime import PROFILES
from edge_tta.class_names import read_class_names
from edge_tta.cli import source_frames, values
from edge_tta.config import HOSTS, METHODS, make_config, with_host
from edge_tta.decoders import read_decode
from edge_tta.errors import ConfigError, ModelError
from edge_tta.prepare import Channels
from edge_tta.tasks import TASKS

# PyTorch takes a second and a half to import: only the commands that need a network wait for it.
if TYPE_CHECKING:
    from edge_tta.models import Model

INPUT_OPTIONS = ("size", "channels", "scale", "mean", "std")
"""Options of what a network takes, named as `InputSpec` does."""

MODEL_OPTIONS = (
    *("model", "weights", *INPUT_OPTIONS, "labels"),
    *("task", "decode", "source_frames", "first_frames", "source_accuracy"),
)
"""What `add_model` adds, and `model_from` reads."""

DEFAULT_METHOD, DEFAULT_PRESET = "nanoadapt", "edge"


def add_model(
    parser: argparse.ArgumentParser, default: str | None = None, *, bundles: bool = False
) -> None:
    """Add --model, --weights and the network's input. bundles: whether a bundle will do."""
    group = parser.add_argument_group("network")
    group.add_argument(
        "--model",
        required=default is None,
        default=default,
        metavar="MODEL",
        help="demo | torchvision:NAME | FILE.py:FACTORY | FILE.onnx"
        + (" | BUNDLE_DIR" if bundles else "")
        + (f" (default: {default})" if default else ""),
    )
    group.add_argument("--weights", metavar="FILE", help="state dict (.safetensors, .pt, .pth)")
    group.add_argument(
        "--size",
        type=values.size,
        metavar="S|HxW",
        help="of the input in pixels (default: the model file's INPUT, else 224)",
    )
    group.add_argument(
        "--channels",
        choices=[channels.value for channels in Channels],
        help="what the input's channels are (default: INPUT's, else rgb)",
    )
    group.add_argument(
        "--scale",
        type=float,
        help="input is (channels in 0..255 / scale - mean) / std (default: INPUT's, else 255)",
    )
    one = "one value, or one a channel (default: INPUT's, else ImageNet's)"
    for name in ("--mean", "--std"):
        group.add_argument(name, type=values.numbers, metavar="R,G,B", help=one)
    group.add_argument(
        "--labels",
        metavar="FILE",
        help="class names: a line each, or JSON (default: the model's, if it has any)",
    )
    group.add_argument(
        "--task",
        choices=list(TASKS),
        help="what the outputs mean (default: as the model's file says, else what they look like)",
    )
    group.add_argument(
        "--decode",
        metavar="FILE.py",
        help="a file with decode(outputs), which reads a detector's boxes (default: the model's)",
    )
    source_frames.add_options(group)


def add_method(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Add --method, --host, --preset, --views, --adapt-from, --calibrate-below; return their group.

    None of them has a value unless the user gives one: a bundle has its own.
    """
    group = parser.add_argument_group("adaptation")
    group.add_argument(
        "--method",
        metavar="METHOD",
        help=f"{' | '.join(METHODS)} | nanoadapt:HOST (default: {DEFAULT_METHOD}; a bundle's own)",
    )
    group.add_argument(
        "--host",
        metavar="HOST",
        help=f"what nanoadapt wraps: {' | '.join(HOSTS)} (default: tent, or norm of "
        "networks that are no classifiers)",
    )
    group.add_argument("--preset", help=f"edge | paper | FILE.toml (default: {DEFAULT_PRESET})")
    group.add_argument(
        "--views",
        type=values.natural,
        metavar="K",
        help="extra views of a frame, 0 to 5 (default: the preset's)",
    )
    add_adapt_from(group)
    return group


def add_adapt_from(group: argparse._ActionsContainer) -> None:
    """Add --adapt-from and --calibrate-below."""
    group.add_argument(
        "--adapt-from",
        metavar="LAYER",
        help="adapt from this BatchNorm on; those below are folded (default: adapt all)",
    )
    group.add_argument(
        "--calibrate-below",
        action="store_true",
        default=None,
        help="with --adapt-from: the layers below do not train, but their statistics calibrate",
    )


def add_checkpointing(group: argparse._ActionsContainer) -> None:
    """Add --checkpoint-activations."""
    group.add_argument(
        "--checkpoint-activations",
        type=segments,
        metavar="auto|K",
        help="activation checkpointing in up to K segments, computed again in the backward pass: "
        "less memory, more time, the same result (auto: as many as leave least saved; default: "
        "none)",
    )
    add_renamed(group, "--recompute", "--checkpoint-activations")


def segments(text: str) -> int | str:
    """Value of --checkpoint-activations: auto, or a number, which the adapter checks."""
    return text if text == "auto" else values.natural(text)


def add_renamed(group: argparse._ActionsContainer, old: str, new: str) -> None:
    """An option under its old name, which ends in an error that says the new one."""

    class Renamed(argparse.Action):
        def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
            parser.error(f"{old} is now called {new}")

    group.add_argument(
        old, nargs="?", action=Renamed, dest=argparse.SUPPRESS, help=argparse.SUPPRESS
    )


def add_machine(parser: argparse.ArgumentParser) -> None:
    """Add --device and --threads."""
    group = parser.add_argument_group("machine")
    group.add_argument("--device", default="cpu", help="cpu | cuda (default: cpu)")
    group.add_argument(
        "--threads",
        type=values.threads,
        metavar="T",
        help="threads for the network (default: one a core)",
    )


def add_backend(parser: argparse.ArgumentParser) -> None:
    """Add --backend and --profile."""
    group = parser.add_argument_group("engine")
    group.add_argument(
        "--backend", choices=("torch", "onnx"), help="what runs the network (default: the model's)"
    )
    group.add_argument(
        "--profile",
        choices=PROFILES,
        help="of a bundle: memory keeps the weights in their file and is slower (default: what the "
        "bundle advises, else speed)",
    )


def add_budget(group: argparse._ArgumentGroup, peak_of: str) -> None:
    """Add --budget-mb, read in MiB."""
    group.add_argument(
        "--budget-mb",
        type=values.positive,
        metavar="MIB",
        help=f"peak of {peak_of}: less is done until it fits (default: no limit)",
    )


def check_choices(arguments: argparse.Namespace) -> None:
    """Refuses wrong names, values and files before PyTorch is imported, which takes seconds.

    arguments: of `add_model` and `add_method`, of a model that PyTorch runs.

    Raises:
        ConfigError: a method, host, preset or labels file that cannot be.
        ModelError: there is no such file of weights.
    """
    given = {name: value for name, value in method_from(arguments).items() if value is not None}
    make_config(**given, views=arguments.views)
    if arguments.labels is not None:
        read_class_names(arguments.labels)
    if arguments.weights is not None and not Path(arguments.weights).is_file():
        raise ModelError(f"there is no weights file {arguments.weights}; check the path")


def method_from(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what `add_method` was told but the views, as `Adapter` and `make_config` take it."""
    return {
        "method": method_named(arguments),
        "preset": arguments.preset or DEFAULT_PRESET,
        "adapt_from": arguments.adapt_from,
        "calibrate_below": arguments.calibrate_below,
    }


def method_named(arguments: argparse.Namespace) -> str:
    """Return the method that --method and --host name together."""
    return with_host(arguments.method or DEFAULT_METHOD, arguments.host)


def model_from(arguments: argparse.Namespace) -> Model:
    """Return the model, with what the user said of its input, its classes and its task."""
    from edge_tta.models import load_model

    model = load_model(arguments.model, arguments.weights)
    given = {name: getattr(arguments, name) for name in INPUT_OPTIONS}
    labels = model.labels if arguments.labels is None else read_class_names(arguments.labels)
    decode = model.decode if arguments.decode is None else read_decode(arguments.decode)
    model = dataclasses.replace(
        model, input=model.input.changed(**given), labels=labels, decode=decode
    )
    with contextlib.redirect_stdout(sys.stderr):  # what the network prints is no record
        model = model.with_task(arguments.task)
    return source_frames.with_batch_norm(model, arguments)


def check_labels(labels: Sequence[str] | None, classes: int) -> None:
    """Refuses class names of another network.

    classes: 1: the network has no classes by number, and any names will do.

    Raises:
        ConfigError: their number is not that of the network's outputs.
    """
    if labels is not None and classes > 1 and len(labels) != classes:
        raise ConfigError(
            f"there are {len(labels)} class names and the network has {classes} outputs; "
            "give one name for each, in their order: --labels FILE"
        )


def use_threads(number: int | None) -> None:
    """Sets how many threads the network may use; None: as many as there are cores."""
    if number is not None:
        import torch

        torch.set_num_threads(number)
