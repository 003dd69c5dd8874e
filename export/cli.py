"""`edge-tta export KIND`: what was learned, or the whole adapting network, for use elsewhere."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edge_tta.cli import options, suiting, values
from edge_tta.cli.help import CommandParser
from edge_tta.cli.terminal import stages, terminal
from edge_tta.errors import ConfigError
from edge_tta.files import check_place, same_file

if TYPE_CHECKING:
    from torch import nn

    from edge_tta.adapter import Adapter
    from edge_tta.bundle.manifest import Advice
    from edge_tta.models import Model
    from edge_tta.network.source import SourceNetwork
    from edge_tta.prepare import Images
    from export.int8 import Closeness

WEIGHT_KINDS = {
    "folded": "the network with what was learned put in: a plain state dict, or an ONNX file",
    "delta": "only the weights that changed: load_state_dict(strict=False)",
}
BUNDLE = "a folder of ONNX graphs that goes on learning without PyTorch: edge-tta run --model DIR"
BUDGET = (
    "Views, depth and profile are chosen so that a run of the bundle fits. What is needed is "
    "measured here: give it where the bundle will run, with the --threads of the run"
)
FROZEN = "what stands between the BatchNorms, each part an ONNX file of its own"


def parser() -> argparse.ArgumentParser:
    """The subcommand's options."""
    parser = CommandParser(prog="edge-tta export", description=__doc__)
    kinds = parser.add_subparsers(metavar="KIND", dest="kind", required=True)
    bundle = kinds.add_parser("bundle", help=BUNDLE, description=BUNDLE)
    options.add_model(bundle)
    options.add_method(bundle)
    bundle.add_argument(
        "--with",
        dest="compared",
        default="source",
        metavar="METHODS",
        help="more methods to hold, as source,norm, for --compare (default: source)",
    )
    bundle.add_argument(
        "--frames",
        metavar="SOURCE",
        help="folder, video or picture to compare with PyTorch on (default: made pictures)",
    )
    bundle.add_argument(
        "--int8",
        action="store_true",
        help="predict and observe in int8: less memory, and faster where convolutions are not "
        "depthwise; ranges are those of --frames, else --source-frames",
    )
    bundle.add_argument("--out", required=True, type=Path, metavar="DIR")
    bundle.add_argument(
        "--threads",
        type=values.threads,
        metavar="T",
        help="threads for PyTorch and to measure with (default: one a core)",
    )
    budget = bundle.add_argument_group("budget", BUDGET)
    options.add_budget(budget, "a run of the bundle")
    parts = kinds.add_parser("frozen", help=FROZEN, description=FROZEN)
    options.add_model(parts)
    parts.add_argument("--out", required=True, type=Path, metavar="DIR")
    for name, what in WEIGHT_KINDS.items():
        kind = kinds.add_parser(name, help=what, description=what)
        options.add_model(kind)
        kind.add_argument("--state", required=True, type=Path, metavar="FILE", help="saved by run")
        ending = " or OUT.onnx" if name == "folded" else ""
        kind.add_argument("--out", required=True, type=Path, metavar=f"OUT.safetensors{ending}")
    return parser


def main(argv: Sequence[str]) -> int:
    """Runs the subcommand; returns the exit code."""
    arguments = parser().parse_args(values.joined_numbers(argv))
    kinds = {"bundle": _bundle, "frozen": _frozen}
    return kinds.get(arguments.kind, _weights)(arguments)


def _bundle(arguments: argparse.Namespace) -> int:
    from edge_tta.models.source_frames import few_images
    from export.bundle import check_target, export_bundle

    check_target(arguments.out)
    options.check_choices(arguments)
    options.use_threads(arguments.threads)
    if arguments.int8 and arguments.frames is None and arguments.source_frames is None:
        raise ConfigError(
            "--int8 needs frames of usual conditions, which tell how large activations are; give "
            "some: --frames FOLDER"
        )
    model = options.model_from(arguments)
    suiting.check_host(arguments, model.task)
    preset = arguments.preset or options.DEFAULT_PRESET
    frames = few_images(arguments.frames, model.input)
    int8 = None
    if arguments.int8:
        int8 = frames or few_images(arguments.source_frames, model.input)
    main_one, advice = _main_method(arguments, model, int8)
    adapters = {main_one.config.label: main_one}
    for name in arguments.compared.split(","):
        if name.strip() not in ("", "none"):
            other = main_one.with_method(name.strip())
            adapters.setdefault(other.config.label, other)
    console = terminal()
    with stages(terminal(stderr=True), "exporting") as tell:
        done = export_bundle(
            model,
            list(adapters.values()),
            str(preset),
            arguments.out,
            frames,
            advice,
            tell,
            int8=int8,
        )
    for label, parity in done.parity.items():
        console.print(
            f"{label}: as PyTorch, {parity.steps} steps long; differences (relative): a step's "
            f"logits {parity.logits:.1e}, its state {parity.state:.1e}, the last logits "
            f"{parity.drift:.1e}" + _why(parity.tolerance)
        )
    for label, close in done.int8.items():
        console.print(_said_of_int8(label, close))
    nodes = ", ".join(f"{name} {count}" for name, count in done.nodes.items())
    console.print(f"{done.folder}: {done.bytes / 1e6:.1f} MB; operators: {nodes}")
    return 0


def _said_of_int8(label: str, close: Closeness) -> str:
    """Return how close int8 is to float32, in a line."""
    from export.int8 import MOSTLY

    text = f"{label} in int8, {close.frames} frames: outputs differ by {close.outputs:.1%}"
    if close.same is None:
        return text
    text += f", the class is float32's on {close.same:.1%}"
    if close.same >= MOSTLY:
        return text
    return f"{text}; measure the error on labelled pictures: edge-tta bench error --help"


def _main_method(
    arguments: argparse.Namespace, model: Model, int8: Sequence[Images] | None
) -> tuple[Adapter, Advice]:
    """The bundle's first method, and how it is to be run: as asked for, or as a budget has it."""
    from edge_tta.adapter import Adapter
    from edge_tta.budget.choices import MIB, check_learns
    from edge_tta.bundle.manifest import Advice
    from edge_tta.engines.torch import engine_of
    from export.budget import Exporting, depths_for, fit

    method = options.method_from(arguments)

    def build(
        network: nn.Module | SourceNetwork, views: int | None, depth: float | None = None
    ) -> Adapter:
        return Adapter(
            network, input_spec=model.input, task=model.task, views=views, depth=depth, **method
        )

    asked = build(model.module, arguments.views)
    if arguments.budget_mb is None:
        return asked, Advice()
    check_learns(asked.config)
    network = engine_of(asked).network
    console = terminal(stderr=True)
    with console.status("Measuring") as status:
        choice, why = fit(
            Exporting(
                model,
                lambda views, depth: build(network, views, depth),
                str(method["preset"]),
                arguments.out.resolve().parent,
                arguments.threads,
                status.update,
                int8,
            ),
            views=asked.config.views.count,
            depths=depths_for(asked, model.input.shape),
            budget_bytes=arguments.budget_mb * MIB,
        )
    console.print(why)
    return build(network, choice.views, choice.depth), Advice(choice.saving)


def _frozen(arguments: argparse.Namespace) -> int:
    from edge_tta.adapter import Adapter
    from export.bundle import check_target, whole_folder
    from export.frozen import write_parts
    from export.graph.trace import plain_step

    check_target(arguments.out)
    model = options.model_from(arguments)
    shape = model.input.shape
    program = plain_step(Adapter(model.module, "source", task=model.task), shape).program
    with whole_folder(arguments.out) as folder:
        count = write_parts(program, shape, folder)
    terminal().print(f"{arguments.out}: {count} parts, {len(program.sites)} BatchNorms between")
    return 0


def _why(tolerance: float) -> str:
    """Return what is said where more than the usual difference was let pass; else ""."""
    from export.parity import STEP_TOLERANCE

    if tolerance <= STEP_TOLERANCE:
        return ""
    return (
        f"; up to {tolerance:.1e} was let pass, because rounding moves PyTorch's own step about as "
        "far"
    )


def _weights(arguments: argparse.Namespace) -> int:
    from export.adapted import adapter_of, delta_weights, folded_weights, write_weights

    endings = (".safetensors", ".onnx") if arguments.kind == "folded" else (".safetensors",)
    if arguments.out.suffix not in endings:
        raise ConfigError(f"--out must end in {' or '.join(endings)}, got {arguments.out}")
    for given in (arguments.state, arguments.weights, arguments.model):
        if given is not None and same_file(arguments.out, Path(given)):
            raise ConfigError(f"--out is {given} itself, which is read; choose another name")
    check_place(arguments.out)
    model = options.model_from(arguments)
    adapter = adapter_of(model, arguments.state)
    if arguments.out.suffix == ".onnx":
        from export.folded import write_folded

        if Path(model.name).suffix.lower() == ".onnx":
            from export.onnx_file import write_adapted

            difference = write_adapted(adapter, Path(model.name).expanduser(), arguments.out)
        else:
            difference = write_folded(adapter, model.input, arguments.out, model.labels)
        terminal().print(
            f"{arguments.out}: {arguments.out.stat().st_size / 1e3:.0f} kB, from step "
            f"{adapter.steps} of {adapter.config.label}; logits differ by {difference:.1e} "
            "(relative)"
        )
        return 0
    made = {"folded": folded_weights, "delta": delta_weights}[arguments.kind]
    weights = made(adapter, model.input.shape)
    write_weights(arguments.out, weights, adapter)
    size = arguments.out.stat().st_size
    terminal().print(
        f"{arguments.out}: {len(weights)} tensors, {size / 1e3:.0f} kB, "
        f"from step {adapter.steps} of {adapter.config.label}"
    )
    return 0
