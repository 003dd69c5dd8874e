"""`edge-tta export KIND`: what was learned, for use elsewhere."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from torch import Tensor

from edge_tta.adapter import Adapter
from edge_tta.cli import options
from edge_tta.cli.terminal import terminal
from edge_tta.errors import ConfigError
from edge_tta.files import check_place
from export.adapted import adapter_of, delta_weights, folded_weights, write_weights

KINDS: dict[str, tuple[Callable[[Adapter, tuple[int, ...]], dict[str, Tensor]], str]] = {
    "folded": (folded_weights, "all weights, with what was learned put in: a plain state dict"),
    "delta": (delta_weights, "only the weights that changed: load_state_dict(strict=False)"),
}


def parser() -> argparse.ArgumentParser:
    """The subcommand's options."""
    parser = argparse.ArgumentParser(prog="edge-tta export", description=__doc__)
    kinds = parser.add_subparsers(metavar="KIND", dest="kind", required=True)
    for name, (_, what) in KINDS.items():
        kind = kinds.add_parser(name, help=what, description=what)
        options.add_model(kind)
        kind.add_argument("--state", required=True, type=Path, metavar="FILE", help="saved by run")
        kind.add_argument("--out", required=True, type=Path, metavar="OUT.safetensors")
    return parser


def main(argv: Sequence[str]) -> int:
    """Runs the subcommand; returns the exit code."""
    arguments = parser().parse_args(options.joined_numbers(argv))
    if arguments.out.suffix != ".safetensors":
        raise ConfigError(f"--out must end in .safetensors, got {arguments.out}")
    for given in (arguments.state, arguments.weights):
        if given is not None and options.same_file(arguments.out, Path(given)):
            raise ConfigError(f"--out is {given} itself, which is read; choose another name")
    check_place(arguments.out)
    model = options.model_from(arguments)
    adapter = adapter_of(model, arguments.state)
    weights = KINDS[arguments.kind][0](adapter, (3, model.input.size, model.input.size))
    write_weights(arguments.out, weights, adapter)
    size = arguments.out.stat().st_size
    terminal().print(
        f"{arguments.out}: {len(weights)} tensors, {size / 1e3:.0f} kB, "
        f"from step {adapter.steps} of {adapter.config.label}"
    )
    return 0
