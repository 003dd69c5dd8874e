"""A model as a bundle: graphs, weights, source state, manifest; checked against PyTorch."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from onnx import ModelProto

from edge_tta.adapter import Adapter
from edge_tta.bundle.manifest import Advice, Manifest, write_manifest
from edge_tta.bundle.records import FileRecord, FoldedRecord, MethodRecord, TensorSpec
from edge_tta.checkpoint import save_state
from edge_tta.engines.torch import engine_of
from edge_tta.errors import ConfigError, ModelError, OutputError
from edge_tta.models import Model
from edge_tta.prepare import Images
from export.graph.convert import convert, refuse_unsupported
from export.graph.in_place import trace_folded
from export.graph.operators import OPERATORS
from export.graph.repeats import repeat_cheap
from export.graph.trace import Traced, plain_step, trace_learn, trace_observe, trace_predict
from export.graph.weights import WeightFile
from export.int8 import Closeness, closeness, int8_graphs
from export.parity import Parity, compare

WEIGHTS = "weights.bin"

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Exported:
    """A bundle that has been written.

    Attributes:
        bytes: size of the folder's files.
        nodes: operators of each graph, by file name.
        parity: how far each method is from PyTorch, by label.
        int8: how close each in int8 is to float32, by label; empty where none is.
    """

    folder: Path
    bytes: int
    nodes: dict[str, int]
    parity: dict[str, Parity]
    int8: dict[str, Closeness] = field(default_factory=dict)


def check_target(folder: Path) -> None:
    """Checks that a bundle can be written there, as far as can be told beforehand.

    Raises:
        OutputError: something is there already, or the folder around it is missing.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputError(f"{folder} exists already; remove it, or give another --out")
    if not folder.resolve().parent.is_dir():
        raise OutputError(
            f"cannot write {folder}: the folder {folder.resolve().parent} does not exist; make it "
            "first"
        )


def export_bundle(
    model: Model,
    adapters: Sequence[Adapter],
    preset: str,
    folder: Path,
    frames: Sequence[Images] | None = None,
    advice: Advice | None = None,
    tell: Tell = lambda stage: None,
    *,
    int8: Sequence[Images] | None = None,
) -> Exported:
    """Writes a bundle of the adapters' methods, whole or not at all.

    Args:
        adapters: of one network, one for each method; the first is the bundle's main one.
        preset: its name, for the manifest.
        frames: images (1, channels, H, W) to compare both executors on; None: made ones.
        advice: how it is to be run; None: as any bundle.
        tell: told each stage when it begins.
        int8: images likewise, of usual conditions, whose values tell the ranges of activations:
            predictions and observations are in int8; None: in float32.

    Raises:
        ModelError: the network cannot be captured or exported, or the graphs do not compute what
            PyTorch computes.
        ConfigError: a method needs what a bundle does not hold.
        OutputError: the folder cannot be written.
    """
    check_target(folder)
    with whole_folder(folder) as part:
        nodes = write_bundle(model, adapters, preset, part, advice, tell, int8=int8)
        parity, close = {}, {}
        for adapter in adapters:
            label = adapter.config.label
            tell(f"comparing {label} with PyTorch")
            parity[label] = compare(part, adapter, model.input, frames)
            if adapter.config.trains:
                label = f"{label}, compact"
                tell(f"comparing {label} with PyTorch")
                parity[label] = compare(part, adapter, model.input, frames, "memory")
            if int8:
                tell(f"comparing {adapter.config.label} in int8")
                close[adapter.config.label] = closeness(part, adapter.config.label, int8)
        total = sum(file.stat().st_size for file in part.iterdir())
    return Exported(folder, total, nodes, parity, close)


def write_bundle(
    model: Model,
    adapters: Sequence[Adapter],
    preset: str,
    folder: Path,
    advice: Advice | None = None,
    tell: Tell = lambda stage: None,
    *,
    int8: Sequence[Images] | None = None,
) -> dict[str, int]:
    """Writes the files of a bundle into an empty folder, compared with nothing.

    Args: as of `export_bundle`.

    Returns the operators of each graph, by file name. Raises ModelError and ConfigError likewise.
    """
    shape = model.input.shape
    traced = []
    for adapter in adapters:
        adapter.prepare(shape)  # which fits the method to the task
        tell(f"tracing {adapter.config.label}")
        traced.append(_traced(adapter, shape))
    for adapter, graphs in zip(adapters, traced, strict=True):
        for kind, graph in graphs.items():
            refuse_unsupported(graph, adapter.config.host if kind == "learn" else "norm")
    weights = WeightFile(WEIGHTS)
    nodes: dict[str, int] = {}
    methods: dict[str, MethodRecord] = {}
    for adapter, graphs in zip(adapters, traced, strict=True):
        stem = "" if not methods else f"{adapter.config.label.replace(':', '-')}."
        names, codes = {}, {}
        if int8:
            tell(f"bringing {adapter.config.label} into int8")
            engine = engine_of(adapter)
            state = engine.to_arrays(engine.initial_state())
            codes = int8_graphs(adapter.config.label, graphs, state, int8, weights)
        for kind, graph in graphs.items():
            names[kind] = f"{stem}{kind}.onnx"
            tell(f"writing {names[kind]}")
            proto = codes.get(kind) or convert(graph, weights, Path(names[kind]).stem)
            nodes[names[kind]] = _write(proto, folder / names[kind])
        if "learn" in graphs:
            repeat_cheap(graphs["learn"].module)
            names["compact"] = f"{stem}learn.compact.onnx"
            target = folder / names["compact"]
            tell(f"writing {target.name}")
            proto = convert(graphs["learn"], weights, target.stem, "compact")
            nodes[target.name] = _write(proto, target)
        methods[adapter.config.label] = _record(
            adapter, shape, folder, stem, names, preset, int8=bool(codes)
        )
    weights.write(folder)
    _write_manifest(model, adapters[0], shape, folder, methods, advice)
    return nodes


@contextlib.contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A folder to fill, which takes its name only when the block ends well.

    Raises:
        OutputError: it cannot be written.
    """
    part = None
    try:
        part = Path(tempfile.mkdtemp(dir=folder.resolve().parent, prefix=f".{folder.name}."))
        yield part
        if folder.exists():
            folder.rmdir()
        part.chmod(0o755)
        part.rename(folder)
    except OSError as error:
        raise OutputError(f"cannot write {folder}: {error.strerror or error}") from error
    finally:
        if part is not None:
            shutil.rmtree(part, ignore_errors=True)


def _write(proto: ModelProto, path: Path) -> int:
    """Writes a graph; returns the number of its operators."""
    path.write_bytes(proto.SerializeToString())
    return len(proto.graph.node)


def _traced(adapter: Adapter, shape: tuple[int, ...]) -> dict[str, Traced]:
    """The method's graphs by kind."""
    if adapter.config.loss.fisher_weight > 0:
        raise ConfigError("bundles hold no Fisher diagonal: set fisher_weight = 0")
    step = plain_step(adapter, shape, traced=True)
    graphs = {"observe": trace_observe(step, shape, OPERATORS)}
    if adapter.config.method != "source":
        graphs["predict"] = trace_predict(step, shape, OPERATORS)
    if adapter.config.trains:
        graphs["learn"] = trace_learn(step, shape, OPERATORS)
    return graphs | trace_folded(step, shape, OPERATORS)


def _record(
    adapter: Adapter,
    shape: tuple[int, ...],
    folder: Path,
    stem: str,
    names: dict[str, str],
    preset: str,
    *,
    int8: bool,
) -> MethodRecord:
    """Write a method's source state and return its record in the manifest."""
    engine = engine_of(adapter)
    adapter.prepare(shape)
    arrays = engine.to_arrays(engine.initial_state())
    save_state(folder / f"{stem}state.safetensors", arrays, engine.header(0))
    return MethodRecord(
        observe=names["observe"],
        learn=names.get("learn"),
        predict=names.get("predict", names["observe"]),
        compact=names.get("compact"),
        folded=FoldedRecord(
            names["folded"], names["fold"], names.get("measuring"), names.get("calibrate"), int8
        )
        if "folded" in names
        else None,
        state=f"{stem}state.safetensors",
        layout={n: TensorSpec(value.shape, str(value.dtype)) for n, value in arrays.items()},
        preset=Path(preset).name,
    )


def _write_manifest(
    model: Model,
    adapter: Adapter,
    shape: tuple[int, int, int],
    folder: Path,
    methods: dict[str, MethodRecord],
    advice: Advice | None,
) -> None:
    files = {}
    for file in sorted(folder.iterdir()):
        data = file.read_bytes()
        files[file.name] = FileRecord(len(data), hashlib.sha256(data).hexdigest())
    classes, task = adapter.prepare(shape), adapter.task
    assert task is not None  # it is prepared
    if task.filtered and model.labels is not None and len(model.labels) != classes:
        raise ModelError(
            f"there are {len(model.labels)} class names and the network has {classes} outputs; "
            "give one name for each: --labels FILE"
        )
    write_manifest(
        folder,
        Manifest(
            name=Path(model.name).name,
            source_sha256=engine_of(adapter).network.fingerprint,
            image_shape=shape,
            classes=classes,
            input=model.input,
            labels=model.labels,
            weights=WEIGHTS,
            methods=methods,
            files=files,
            advice=advice or Advice(),
            task=task.name,
            form=engine_of(adapter).step.program.form,
            sure_above=model.sure_above,
        ),
    )
