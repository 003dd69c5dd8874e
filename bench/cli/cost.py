"""What `bench latency` and `bench memory` share: options, cases, writing."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from bench.cost.case import BACKENDS, Case, make_cases, parse_peers
from bench.methods import SYNTAX, parse_methods
from edge_tta.cli import options
from edge_tta.config import SAVED, MethodConfig
from edge_tta.errors import ConfigError
from edge_tta.files import check_place

MODEL_OPTIONS = (
    *("model", "weights", "size", "scale", "mean", "std", "channels", "labels"),
    "untrained",
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Network, methods, peers, machine, frames, result file."""
    options.add_model(parser)
    parser.add_argument(
        "--untrained",
        action="store_true",
        help="random weights with statistics that fit them, for torchvision:NAME; --size, else 224",
    )
    parser.add_argument(
        "--methods",
        default="source,norm,nanoadapt:norm,nanoadapt:tent",
        help=f"separated by commas: {SYNTAX}",
    )
    parser.add_argument("--preset", default="edge", help="of methods that name none")
    parser.add_argument(
        "--peers",
        default="tent-stock",
        metavar="NAME[=FOLDER],...",
        help="tent-stock | tent-checkpoint | DequanWang/tent=FOLDER | "
        "mariodoebler/test-time-adaptation=FOLDER | plutonium-239/memsave_torch=FOLDER | none",
    )
    parser.add_argument(
        "--saved",
        default="float16",
        metavar="PRECISION[,...]",
        help=f"tensors saved for the backward pass: {' | '.join(SAVED)} (default: float16)",
    )
    parser.add_argument(
        "--checkpoint-activations",
        type=_segments,
        default=(0,),
        metavar="K[,K...]",
        help="activation checkpointing in at most so many segments; auto: as many as leave least "
        "saved; 0: none (default)",
    )
    options.add_renamed(parser, "--recompute", "--checkpoint-activations")
    group = parser.add_argument_group("machine")
    group.add_argument("--backend", default="torch", metavar="B[,B]", help=" | ".join(BACKENDS))
    group.add_argument("--device", default="cpu", metavar="D[,D]", help="cpu | cuda")
    group.add_argument("--threads", type=_threads, default=(None,), metavar="T[,T...]")
    parser.add_argument(
        "--source", metavar="SOURCE", help="frames to see, as of edge-tta run (default: drawn ones)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="result file")


def cases_of(
    arguments: argparse.Namespace, console: Console
) -> tuple[list[Case], dict[str, MethodConfig]]:
    """The cases that this machine can run; says which it cannot.

    Raises:
        ConfigError: an unknown method, peer, backend, device or precision; nothing can run.
    """
    if arguments.json is not None:
        check_place(arguments.json)
    methods = parse_methods(arguments.methods, arguments.preset)
    peers = {} if arguments.peers == "none" else parse_peers(arguments.peers)
    backends = _chosen("--backend", arguments.backend, BACKENDS)
    devices = _chosen("--device", arguments.device, ("cpu", "cuda"))
    if "cuda" in devices and not torch.cuda.is_available():
        console.print("no CUDA device for PyTorch: cuda is left out, not measured")
        devices = [device for device in devices if device != "cuda"]
    if not devices:
        raise ConfigError("nothing to measure on: no CUDA device; use --device cpu")
    cases = make_cases(
        methods,
        peers,
        backends=backends,
        devices=devices,
        threads=arguments.threads,
        saved=_chosen("--saved", arguments.saved, SAVED),
        checkpoint_activations=arguments.checkpoint_activations,
    )
    return list(cases), methods


def model_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """The options that `options.model_from` reads."""
    return {name: getattr(arguments, name) for name in MODEL_OPTIONS}


def mib(value: float | None) -> str:
    """Bytes for people."""
    return "-" if value is None else f"{value / 2**20:.1f}"


def _chosen(option: str, text: str, known: tuple[str, ...]) -> list[str]:
    chosen = list(dict.fromkeys(part.strip() for part in text.split(",")))
    for name in chosen:
        if name not in known:
            raise ConfigError(f"{option} must be of {', '.join(known)}, got {name!r}")
    return chosen


def _counts(text: str) -> tuple[int, ...]:
    return tuple(options.count(part) for part in text.split(","))


def _threads(text: str) -> tuple[int, ...]:
    return tuple(options.threads(part) for part in text.split(","))


def _segments(text: str) -> tuple[int | str, ...]:
    return tuple(options.segments(part) for part in text.split(","))
