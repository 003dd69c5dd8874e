"""Captures any `nn.Module` as a `Program`: BatchNorm is found in the graph, not by class names.

The network is exported in evaluation mode (torch.export), so that whatever Python built it is gone
and each BatchNorm is one `aten.batch_norm` node, wherever it stands. Those nodes become calls of
the program's `Execution`; everything else stays as it is and is frozen.
"""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import io
import logging
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, fx, nn

from edge_tta.errors import ModelError
from edge_tta.network.folding import fold_below
from edge_tta.network.predecessors import Predecessors
from edge_tta.network.program import AsTrained, Program, Site
from edge_tta.network.resolution import total_strides
from edge_tta.network.rewriting import make_functional, open_graph
from edge_tta.network.sites import FoundSite, Values, find_sites, refuse_regions


def capture(
    source: nn.Module,
    image_shape: tuple[int, ...],
    fingerprint: str | None = None,
    below: str = "",
) -> Program:
    """A network as a program for images of `image_shape` (channels, H, W), any number at a time.

    The program shares the weights of `source`, which must be frozen: in evaluation mode,
    without gradients, float32 (or float64). `fingerprint` is that of
    `source`, computed here if not given. BatchNorms before the layer named `below` are folded
    (`edge_tta.network.folding`); "": none.

    Raises:
        ModelError: the network has no BatchNorm, or none named `below`, one that keeps no
            statistics, one inside a control-flow branch, cannot be exported, does not return logits
            (N, classes), or answers to an image by the others of its batch.
    """
    tensors = [*source.parameters(), *source.buffers()]
    device = tensors[0].device if tensors else torch.device("cpu")
    dtype = next((t.dtype for t in tensors if t.is_floating_point()), torch.float32)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn((2, *image_shape), generator=generator).to(device, dtype)
    with torch.no_grad():
        try:
            expected = source(images.clone())
        except Exception as error:
            raise ModelError(
                f"the model cannot take images of shape {(2, *image_shape)}: {first_line(error)}; "
                "expected a forward pass of that tensor alone; set --size to the network's input "
                "size"
            ) from error
    if not isinstance(expected, Tensor) or expected.ndim != 2:
        raise ModelError(
            f"the model returns {_describe(expected)}; expected logits (N, classes) as one tensor: "
            "wrap it in a module that returns only those"
        )
    exported = _export(source, images)
    refuse_regions(exported)
    graph, values = _frozen_graph(exported)
    make_functional(graph)
    owned = _owned(source, values)
    sites = find_sites(graph, owned)
    if below:
        sites = fold_below(graph, values, sites, below)
    predecessors = Predecessors(graph, owned, {id(site.node): site.index for site in sites})
    program = _assemble(
        exported.graph_module,
        graph,
        values,
        sites,
        predecessors,
        expected.shape[1],
        fingerprint or fingerprint_of(source),
        below,
    )
    _check_parity(program, images, expected)
    return program


def fingerprint_of(model: nn.Module) -> str:
    """SHA-256 over the names, types, shapes and bytes of a model's parameters and buffers."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        if not isinstance(value, Tensor):  # what a module's get_extra_state adds
            continue
        array = value.detach().cpu().contiguous()
        digest.update(f"{name}|{array.dtype}|{tuple(array.shape)}|".encode())
        digest.update(array.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _export(model: nn.Module, images: Tensor) -> torch.export.ExportedProgram:
    """The graph with a free batch axis."""
    shapes: Any = {0: torch.export.Dim("batch", min=1)}
    first = next(iter(inspect.signature(model.forward).parameters.values()), None)
    if first is not None and first.kind is inspect.Parameter.VAR_POSITIONAL:
        shapes = (shapes,)
    try:
        # Where gradients are off anyway, no_grad in the forward pass leaves no trace.
        with torch.no_grad(), _quiet():
            return torch.export.export(model, (images,), dynamic_shapes=(shapes,))
    except Exception as error:
        raise ModelError(
            "the model's forward pass cannot be captured as a graph with a free batch axis: "
            f"{first_line(error)}; remove branches that depend on the data and shapes that fix "
            "the batch size"
        ) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """torch.export prints whole graphs before it fails; what it raises says enough."""
    level = logging.root.manager.disable
    logging.disable(max(level, logging.WARNING))
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def _frozen_graph(
    exported: torch.export.ExportedProgram,
) -> tuple[fx.Graph, Values]:
    """The graph, and for each lifted placeholder its fully qualified name and value."""
    signature = exported.graph_signature
    names: dict[str, str] = {
        **signature.inputs_to_parameters,
        **signature.inputs_to_buffers,
        **signature.inputs_to_lifted_tensor_constants,
    }
    stored: dict[str, Any] = {**exported.constants, **exported.state_dict}
    values = {node: (name, stored[name].detach()) for node, name in names.items()}
    if signature.buffers_to_mutate or signature.user_inputs_to_mutate:
        raise ModelError(
            "the model changes its own buffers or its input in evaluation mode; "
            "expected a forward pass without side effects"
        )
    return exported.graph, values


def _owned(source: nn.Module, values: Values) -> Values:
    """Those of the values that are the module's parameters and buffers, not plain attributes."""
    names = {name for name, _ in source.named_parameters(remove_duplicate=False)}
    names |= {name for name, _ in source.named_buffers(remove_duplicate=False)}
    return {node: value for node, value in values.items() if value[0] in names}


def _assemble(
    module: nn.Module,
    graph: fx.Graph,
    values: Values,
    sites: list[FoundSite],
    predecessors: Predecessors,
    classes: int,
    fingerprint: str,
    below: str,
) -> Program:
    opened = []
    trainable: dict[str, Tensor] = {}
    by_name = dict(values.values())
    strides = total_strides(graph, list(values))
    for item in sites:
        linear, paths = predecessors.of(item.node)
        opened.append(Site(item.index, item.layer, linear, paths, strides[item.node]))
        names: Iterable[str | None] = (item.layer.weight, item.layer.bias)
        if linear is not None:
            names = (*names, linear.weight, linear.bias)
        trainable.update({name: by_name[name] for name in names if name is not None})
    layers = {site.layer.name: site.layer for site in opened}

    def build(watch: bool) -> fx.GraphModule:
        return open_graph(module, graph, values, sites, predecessors, set(trainable), watch)

    return Program(
        sites=tuple(opened),
        layers=tuple(layers.values()),
        parameters=trainable,
        plain=build(False),
        watching=build(True),
        classes=classes,
        fingerprint=fingerprint,
        below=below,
    )


def agrees(program: Program, plain: Program, image_shape: tuple[int, ...]) -> bool:
    """Return whether a rewritten program computes what the plain one does, for 1 and 2 images."""
    generator = torch.Generator().manual_seed(0)
    dtype = plain.layers[0].mean.dtype
    images = torch.randn((2, *image_shape), generator=generator).to(plain.device, dtype)
    with torch.no_grad():
        expected = plain.run(images, AsTrained(plain))
    return all(
        _agree(program, images[:n], expected[:n], watch) for n in (1, 2) for watch in (False, True)
    )


def _check_parity(program: Program, images: Tensor, expected: Tensor) -> None:
    if not bool(torch.isfinite(expected).all()):
        raise ModelError(
            "the model answers random images with NaN or infinity; check that its weights are "
            "whole and that images are normalised as they should be"
        )
    for watch in (False, True):
        if not _agree(program, images, expected, watch):
            raise ModelError(
                "the captured graph does not compute what the model computes; the model "
                "probably changes views of tensors in place or draws random numbers: rewrite "
                "those operations"
            )
    if not _agree(program, images[:1], expected[:1], False):
        raise ModelError(
            "the model answers to one image alone otherwise than to the same image in a batch; "
            "expected logits that depend on their own image only: look for squeeze() without an "
            "axis, and for operations over the batch axis"
        )


def _agree(program: Program, images: Tensor, expected: Tensor, watch: bool) -> bool:
    with torch.no_grad():
        try:
            logits = program.run(images, AsTrained(program), watch=watch)
        except (RuntimeError, IndexError):  # shapes that fit two images only
            return False
    scale = float(expected.abs().max())
    return logits.shape == expected.shape and torch.allclose(
        logits, expected, rtol=1e-3, atol=1e-3 * scale
    )


def first_line(error: BaseException) -> str:
    """What an error of PyTorch says first; the rest is graphs and traces."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:200]


def _describe(value: object) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    return f"a {type(value).__name__}"
