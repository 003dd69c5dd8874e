"""The common part of the kinds of `edge-tta bench`: options, early checks, the result file."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from rich.progress import Progress

from bench.adapters import check_method, make_bundle
from bench.methods import (
    EVERY,
    FILTER,
    GUARD,
    SYNTAX,
    every_of,
    is_filtered,
    is_guarded,
    parse_methods,
)
from bench.results import Results, Row, make_results, write_results
from bench.sets import LabelledSet, check_classes
from edge_tta.cli import options, values
from edge_tta.cli.terminal import terminal
from edge_tta.config import MethodConfig
from edge_tta.config.fields import to_fields
from edge_tta.engines.base import Backward
from edge_tta.engines.modules import source_network
from edge_tta.errors import ConfigError
from edge_tta.files import check_place
from edge_tta.models import Model
from edge_tta.models.source_frames import few_images
from edge_tta.network.program import Program
from edge_tta.network.source import SourceNetwork
from edge_tta.tasks import Task

T = TypeVar("T")

_OPTIONS: dict[str, dict[str, Any]] = {
    "--data": {"required": True, "metavar": "SET"},
    "--methods": {"help": f"separated by commas: {SYNTAX}"},
    "--preset": {"default": "edge", "help": "of methods that name none"},
    "--limit": {"type": values.count, "help": "the first so many pictures (default: all)"},
    "--seed": {"type": values.natural, "default": 0},
    "--seeds": {"type": values.count, "default": 1, "help": "how many, from --seed on"},
    "--backend": {
        "choices": ("torch", "onnx"),
        "default": "torch",
        "help": "onnx: bundles, made for the time of the measurement: the same to rounding, and "
        "several times as fast at one frame (default: torch)",
    },
    "--int8": {
        "metavar": "FRAMES",
        "help": "bundles predict and observe in int8; these frames tell how large activations are",
    },
    "--json": {"type": Path, "metavar": "FILE", "help": "result file"},
}


def add(parser: argparse.ArgumentParser, *names: str, **changes: Any) -> None:
    """Adds options that several kinds have. changes: of what argparse is told of each."""
    for name in names:
        parser.add_argument(name, **{**_OPTIONS[name], **changes})


def listed(one: Callable[[str], T]) -> Callable[[str], tuple[T, ...]]:
    """A type for argparse: values separated by commas, each once. one: the type of a value."""

    def parse(text: str) -> tuple[T, ...]:
        parts = (part.strip() for part in text.split(","))
        # An empty name is none; an empty number is for its type to refuse.
        return tuple(dict.fromkeys(one(part) for part in parts if part or one is not str))

    return parse


def check_known(option: str, values: Sequence[str], known: Sequence[str]) -> None:
    """Refuses a value that an option does not have.

    Raises:
        ConfigError: there is one.
    """
    for value in values:
        if value not in known:
            raise ConfigError(f"{option} must be of {', '.join(known)}, got {value!r}")


def check_int8(frames: str | None, backends: str | Sequence[str]) -> None:
    """Refuses --int8 without bundles.

    Raises:
        ConfigError: frames were given, and onnx is none of the backends.
    """
    if frames is not None and "onnx" not in backends:
        raise ConfigError("--int8 is of bundles; add --backend onnx")


@dataclass(frozen=True)
class Network:
    """The model that a command line names, its source network, and the graph of that."""

    model: Model
    source: SourceNetwork
    program: Program

    @property
    def name(self) -> str:
        """Its name in reports."""
        return Path(self.model.name).name


class Command:
    """A run of `edge-tta bench KIND`.

    Attributes:
        arguments: as parsed, `json` and `methods` among them.
        console: for progress and notes, on stderr.
        methods: configurations by label; none where none were asked for.

    Raises:
        ConfigError: a method that is not understood.
        OutputError: the result file cannot be written.
    """

    def __init__(self, parser: argparse.ArgumentParser, argv: Sequence[str]) -> None:
        self.arguments = parser.parse_args(values.joined_numbers(argv))
        self.console = terminal(stderr=True)
        self._words = [*parser.prog.split()[1:], *argv]
        if self.arguments.json is not None:
            check_place(self.arguments.json)
        asked = self.arguments.methods
        self.methods = {} if asked is None else parse_methods(asked, self.arguments.preset)

    def network(self, saved: str = "stock") -> Network:
        """The network that the arguments name, on their device.

        Raises:
            EdgeTTAError: there is none, or it cannot be captured.
        """
        options.use_threads(self.arguments.threads)
        model = options.model_from(self.arguments)
        source = source_network(model.module, self.arguments.device, model.task)
        program = source.program(model.input.shape, saved)
        options.check_labels(model.labels, program.classes)
        return Network(model, source, program)

    def choose_methods(self, network: Network, usual: str, saved: str) -> None:
        """Refuses methods that cannot run on the network, before anything is measured.

        Args:
            usual: names of methods; where none were asked for, those that can run are taken.
            saved: as of `network`.

        Raises:
            ConfigError: a method that was asked for cannot.
        """
        asked = bool(self.methods)
        methods = self.methods or parse_methods(usual, self.arguments.preset)
        self.methods = {}
        for label, config in methods.items():
            try:
                spec = network.model.input
                check_method(network.source, spec, label, config, Backward(saved))
            except ConfigError:
                if asked:
                    raise
                continue
            self.methods[label] = config

    def pictures(
        self, network: Network, load: Callable[..., LabelledSet], **more: Any
    ) -> LabelledSet:
        """The labelled set that the arguments name. more: what `load` is told besides.

        Raises:
            SourceError: there is none, or it does not belong to the network.
        """
        model, path = network.model, self.arguments.data
        data = load(
            path, model.input.size, limit=self.arguments.limit, classes=model.labels, **more
        )
        check_classes(path, data, network.program.classes)
        return data

    def check_backend(self, task: Task) -> None:
        """Refuses what --backend onnx does not measure.

        Raises:
            ConfigError: masks, boxes or features, batches of several frames, another device than
                the CPU, or --saved.
        """
        arguments = self.arguments
        if arguments.backend == "torch":
            check_int8(getattr(arguments, "int8", None), arguments.backend)
            return
        if not task.filtered:
            raise ConfigError(f"task {task.name} is measured in PyTorch; leave --backend out")
        if arguments.batch_size not in (1, (1,)) or arguments.device != "cpu":
            raise ConfigError(
                "--backend onnx measures one frame at a time on the CPU; leave --batch-size and "
                "--device out, or take --backend torch"
            )
        if getattr(arguments, "saved", "stock") != "stock":
            raise ConfigError("--saved is of --backend torch: a bundle's graphs say what they save")

    @contextmanager
    def bundles(self, model: Model, source: SourceNetwork) -> Iterator[dict[MethodConfig, str]]:
        """Folders of the methods' bundles, where --backend asks for them; gone after the block.

        Raises:
            ConfigError: a method that bundles do not hold.
        """
        folders: dict[MethodConfig, str] = {}
        if self.arguments.backend == "torch":
            yield folders
            return
        frames = few_images(getattr(self.arguments, "int8", None), model.input)
        with TemporaryDirectory(prefix="edge-tta-bench-") as root:
            for config in dict.fromkeys(self.methods.values()):
                if config.method != "source":  # PyTorch's is as good, and takes many frames at once
                    folders[config] = str(Path(root, str(len(folders))))
                    with self.console.status("Exporting"):
                        make_bundle(model, config, Path(folders[config]), source, frames)
            yield folders

    @property
    def seeds(self) -> range:
        """The seeds: as many as --seeds says, from --seed on."""
        return range(self.arguments.seed, self.arguments.seed + self.arguments.seeds)

    def progress(self, **more: Any) -> Progress:
        """A display of progress, on a terminal only."""
        return Progress(console=self.console, disable=not self.console.is_terminal, **more)

    def results(self, rows: Sequence[Row]) -> Results:
        """The results of this run."""
        fields = {
            label: to_fields(config)
            | ({GUARD: True} if is_guarded(label) else {})
            | ({FILTER: True} if is_filtered(label) else {})
            | ({EVERY: every_of(label)} if every_of(label) > 1 else {})
            for label, config in self.methods.items()
        }
        name = "this run" if self.arguments.json is None else self.arguments.json.name
        return make_results(name, self._words, rows, fields)

    def write(self, rows: Sequence[Row]) -> None:
        """Writes the result file, if one was asked for; whole each time: hours may not be lost."""
        if self.arguments.json is not None:
            write_results(self.arguments.json, self.results(rows))
