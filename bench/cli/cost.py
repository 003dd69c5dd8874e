"""The common part of `bench latency` and `bench memory`: options, and cases that can run."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bench.cli.common import Command, add, check_int8, check_known, listed
from bench.cost.bundles import with_bundles
from bench.cost.case import BACKENDS, DEVICES, Case, make_cases
from bench.cost.torch_subjects import load_model_of
from bench.methods import every_of
from bench.peers import known_peers, parse_peers
from edge_tta.cli import options, values
from edge_tta.config import SAVED
from edge_tta.errors import ConfigError
from edge_tta.models.source_frames import few_images
from edge_tta.prepare import InputSpec

MODEL_OPTIONS = (*options.MODEL_OPTIONS, "untrained")


def input_of(spec: InputSpec) -> dict[str, Any]:
    """Return the input as options have it, for another process."""
    return {name: getattr(spec, name) for name in options.INPUT_OPTIONS}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Network, methods, peers, machine, frames, result file."""
    options.add_model(parser)
    parser.add_argument(
        "--untrained",
        action="store_true",
        help="random weights with statistics that fit them, for torchvision:NAME; --size, else 224",
    )
    add(parser, "--methods", default="source,norm,nanoadapt:norm,nanoadapt:tent")
    add(parser, "--preset")
    parser.add_argument(
        "--peers",
        default="tent-stock",
        metavar="NAME[=FOLDER],...",
        help=f"{' | '.join(known_peers())} (default: tent-stock)",
    )
    parser.add_argument(
        "--saved",
        type=listed(str),
        default=("float16",),
        metavar="PRECISION[,...]",
        help=f"of activations saved for backward: {' | '.join(SAVED)} (default: float16)",
    )
    parser.add_argument(
        "--checkpoint-activations",
        type=listed(options.segments),
        default=(0,),
        metavar="K[,K...]",
        help="activation checkpointing in at most so many segments; auto: as many as save least; "
        "0: none (default)",
    )
    options.add_renamed(parser, "--recompute", "--checkpoint-activations")
    group = parser.add_argument_group("machine")
    group.add_argument(
        "--backend",
        type=listed(str),
        default=("torch",),
        metavar="B[,B]",
        help=f"{' | '.join(BACKENDS)} (default: torch); onnx: a bundle, made for the time of the "
        "measurement",
    )
    group.add_argument(
        "--device", type=listed(str), default=("cpu",), metavar="D[,D]", help=" | ".join(DEVICES)
    )
    threads = listed(values.threads)
    group.add_argument("--threads", type=threads, default=(None,), metavar="T[,T...]")
    parser.add_argument(
        "--source", metavar="SOURCE", help="frames to see, as of edge-tta run (default: drawn ones)"
    )
    add(parser, "--int8", help="bundles in int8 too; these frames tell how large activations are")
    add(parser, "--json")


@dataclass(frozen=True)
class Plan:
    """Cases to be measured.

    Attributes:
        cases: in their order.
        model: what a `bench.cost.process.Worker` is told of the network.
        name: of the network, for rows.
    """

    cases: Sequence[Case]
    model: dict[str, Any]
    name: str


@contextlib.contextmanager
def planned(command: Command) -> Iterator[Plan]:
    """The cases that this machine can run, their bundles made; says which it cannot run.

    Raises:
        EdgeTTAError: an unknown peer, backend, device or precision; nothing can run; a network
            that cannot be exported.
    """
    arguments = command.arguments
    check_known("--backend", arguments.backend, BACKENDS)
    check_known("--device", arguments.device, DEVICES)
    check_known("--saved", arguments.saved, SAVED)
    if any(every_of(label) > 1 for label in command.methods):
        raise ConfigError(
            "+every=K is of bench error; the time of a schedule follows from predict and learn"
        )
    devices = list(arguments.device)
    if "cuda" in devices and not torch.cuda.is_available():
        command.console.print("no CUDA device for PyTorch: cuda is left out, not measured")
        devices.remove("cuda")
    if not devices:
        raise ConfigError("nothing to measure on: no CUDA device; use --device cpu")
    cases = list(
        make_cases(
            command.methods,
            parse_peers(arguments.peers),
            backends=arguments.backend,
            devices=devices,
            threads=arguments.threads,
            saved=arguments.saved,
            checkpoint_activations=arguments.checkpoint_activations,
            int8=arguments.int8 is not None,
        )
    )
    check_int8(arguments.int8, arguments.backend)
    model: dict[str, Any] = {name: getattr(arguments, name) for name in MODEL_OPTIONS}
    name = Path(arguments.model).name + (" (untrained)" if arguments.untrained else "")
    if "onnx" not in arguments.backend:
        yield Plan(cases, model, name)
        return
    with contextlib.ExitStack() as stack:
        with command.console.status("Exporting"):
            loaded = load_model_of(arguments)
            frames = few_images(arguments.int8, loaded.input)
            cases = stack.enter_context(with_bundles(cases, loaded, frames))
        yield Plan(cases, {**model, "input": input_of(loaded.input)}, name)
