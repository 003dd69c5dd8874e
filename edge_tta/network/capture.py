"""Capture of any `nn.Module` as a `Program`: BatchNorm is found in the graph, not by class names.

The network is exported in evaluation mode (torch.export), so that whatever Python built it is gone
and each BatchNorm is one `aten.batch_norm` node, wherever it stands. Those nodes become calls of
the program's `Execution`; everything else stays as it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, fx, nn

from edge_tta import nest
from edge_tta.errors import ModelError
from edge_tta.network.affine import find_affine
from edge_tta.network.checking import input_advice
from edge_tta.network.ending import Ending, take_logits
from edge_tta.network.exporting import export, first_line
from edge_tta.network.folding import fold_below
from edge_tta.network.predecessors import Predecessors
from edge_tta.network.program import AsTrained, Program, Site
from edge_tta.network.resolution import total_strides
from edge_tta.network.rewriting import fold_numbers, make_functional, open_graph
from edge_tta.network.sites import Values, find_sites, refuse_regions
from edge_tta.tasks import Task, find_task


def capture(
    source: nn.Module,
    image_shape: tuple[int, ...],
    fingerprint: str | None = None,
    below: str = "",
    task: Task | None = None,
) -> Program:
    """Return a network as a program for images of `image_shape` (channels, H, W), any N at a time.

    The program returns what the network returns, with lists for tuples; of a classifier logits
    (N, classes), also where it ends in a softmax or has one output (`edge_tta.network.ending`).

    Args:
        source: in evaluation mode, without gradients, float32 (or float64). The program
            shares its weights.
        fingerprint: that of `source`, computed here if not given.
        below: name of the layer before which BatchNorms are folded (`edge_tta.network.folding`);
            "": none are.
        task: what the outputs mean; None: what they look like (`edge_tta.tasks.find_task`).

    Raises:
        ModelError: the network has no BatchNorm and no other affine part, or none named `below`,
            one that keeps no statistics, one inside a control-flow branch, cannot be exported, does
            not return tensors (N, ...) or not those of the task, draws random numbers, or answers
            to an image by the others of its batch.
    """
    images = _random_images(source, image_shape)
    outputs = _outputs(source, images)
    task = task or find_task(outputs, image_shape)
    if problem := task.takes(outputs, image_shape):
        raise ModelError(
            f"the model returns {_described(outputs)}, and its task is {task.name}: {problem}; "
            "wrap it in a module that returns that, or give another --task"
        )
    form, expected = nest.form_of(outputs), nest.leaves(outputs)
    exported = export(source, images)
    refuse_regions(exported)
    module, graph, values = exported.graph_module, exported.graph, _values(exported)
    make_functional(graph)
    fixed = exported.graph_signature.inputs_to_lifted_tensor_constants
    fold_numbers(graph, {node: value for node, value in values.items() if node in fixed})
    owned = _owned(source, values)
    graph_sites = find_sites(graph, owned)
    affine = [] if graph_sites else find_affine(graph, owned)
    if not graph_sites and not affine:
        raise ModelError(
            "the model holds no BatchNorm with running statistics, and no scale behind another "
            "normalisation, so there is nothing to adapt; expected a network with BatchNorm layers "
            "that are not folded or frozen"
        )
    for one, other in zip(expected, nest.leaves(_outputs(source, images)), strict=True):
        _check_outputs(graph, one, other)
    ending = take_logits(graph, expected[0]) if task.filtered else Ending(1)
    if below and affine:
        raise ModelError(
            "layers can be folded below a BatchNorm, and the model has none; leave adapt_from out"
        )
    if below:
        graph_sites = fold_below(graph, values, graph_sites, below)
    predecessors = Predecessors(graph, owned, {id(site.node): site.index for site in graph_sites})
    strides = total_strides(graph, list(values))
    sites = tuple(
        Site(site.index, site.layer, *predecessors.of(site.node), strides[site.node])
        for site in graph_sites
    ) or tuple(Site(site.index, site.layer, stride=strides[site.node]) for site in affine)
    parameters = _trainable(sites, dict(values.values()))
    plain, watching = (
        open_graph(module, values, graph_sites, predecessors, parameters, watch)
        for watch in (False, True)
    )
    program = Program(
        sites=sites,
        layers=tuple({site.layer.name: site.layer for site in sites}.values()),
        parameters=parameters,
        plain=plain,
        watching=watching,
        classes=ending.classes,
        fingerprint=fingerprint or fingerprint_of(source),
        below=below,
        note=ending.note,
        task=task,
        form=form,
        shapes=((ending.classes,),) if task.filtered else tuple(e.shape[1:] for e in expected),
    )
    if not task.filtered:
        program = replace(program, classes=program.votes(outputs).shape[1])
    _check_parity(program, images, expected, ending)
    return program


def fingerprint_of(model: nn.Module) -> str:
    """Return SHA-256 over names, types, shapes and bytes of a model's parameters and buffers."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        if not isinstance(value, Tensor):  # what a module's get_extra_state adds
            continue
        array = value.detach().cpu().contiguous()
        digest.update(f"{name}|{array.dtype}|{tuple(array.shape)}|".encode())
        digest.update(array.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _random_images(source: nn.Module, image_shape: tuple[int, ...]) -> Tensor:
    """Return two images, always the same, of the network's type and on its device."""
    tensors = [*source.parameters(), *source.buffers()]
    device = tensors[0].device if tensors else torch.device("cpu")
    dtype = next((t.dtype for t in tensors if t.is_floating_point()), torch.float32)
    generator = torch.Generator().manual_seed(0)
    return torch.randn((2, *image_shape), generator=generator).to(device, dtype)


def outputs_of(source: nn.Module, image_shape: tuple[int, ...]) -> Any:
    """Return a network's outputs for two random images. Raises ModelError as `capture` does."""
    return _outputs(source, _random_images(source, image_shape))


def _outputs(source: nn.Module, images: Tensor) -> Any:
    """Return the network's outputs: one tensor (N, ...), or several.

    Raises:
        ModelError: it takes no such images, or returns something else.
    """
    with torch.no_grad():
        try:
            outputs = source(images.clone())
        except Exception as error:
            raise ModelError(
                f"the model cannot take images of shape {tuple(images.shape)}: "
                f"{first_line(error)}; {input_advice(source, images)}"
            ) from error
    tensors = nest.leaves(outputs)
    others = [t for t in tensors if not isinstance(t, Tensor) or t.shape[:1] != images.shape[:1]]
    if others or not tensors:
        inside = others and others[0] is not outputs
        which = f", of which one is {_described(others[0])}" if inside else ""
        raise ModelError(
            f"the model returns {_described(outputs)}{which}; expected a tensor (N, ...), or lists "
            "and mappings of such: wrap it in a module that returns only those"
        )
    return outputs


def _check_outputs(graph: fx.Graph, one: Tensor, other: Tensor) -> None:
    """Raise ModelError where answers to the same images are not finite or not the same.

    Any difference counts where the graph draws random numbers, so that a little noise is refused
    always; where it does not, rounding may differ on some devices.
    """
    if not bool(torch.isfinite(one).all()):
        raise ModelError(
            "the model answers random images with NaN or infinity; check that its weights are "
            "whole and that images are normalised as they should be"
        )
    drawing = [
        node.name
        for node in graph.nodes
        if torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())
    ]
    same = torch.allclose(one, other, rtol=1e-5, atol=1e-5 * float(one.abs().max()))
    if not same or (drawing and not torch.equal(one, other)):
        named = f" ({', '.join(drawing[:3])} in its forward pass)" if drawing else ""
        raise ModelError(
            f"the model draws random numbers in evaluation mode{named}, so that one image has many "
            "answers; remove them, or have them follow self.training"
        )


def _values(exported: torch.export.ExportedProgram) -> Values:
    """Return for each lifted placeholder its fully qualified name and value."""
    signature = exported.graph_signature
    names: dict[str, str] = {
        **signature.inputs_to_parameters,
        **signature.inputs_to_buffers,
        **signature.inputs_to_lifted_tensor_constants,
    }
    if signature.buffers_to_mutate or signature.user_inputs_to_mutate:
        raise ModelError(
            "the model changes its own buffers or its input in evaluation mode; "
            "expected a forward pass without side effects"
        )
    stored: dict[str, Any] = {**exported.constants, **exported.state_dict}
    return {node: (name, stored[name].detach()) for node, name in names.items()}


def _owned(source: nn.Module, values: Values) -> Values:
    """Return those of the values that are parameters and buffers, not plain attributes."""
    names = {name for name, _ in source.named_parameters(remove_duplicate=False)}
    names |= {name for name, _ in source.named_buffers(remove_duplicate=False)}
    return {node: value for node, value in values.items() if value[0] in names}


def _trainable(sites: Iterable[Site], by_name: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return what methods may train: BatchNorm's affine part, and the linear maps before it."""
    names: list[str | None] = []
    for site in sites:
        names += [site.layer.weight, site.layer.bias]
        if site.linear is not None:
            names += [site.linear.weight, site.linear.bias]
    return {name: by_name[name] for name in names if name is not None}


def agrees(program: Program, plain: Program, image_shape: tuple[int, ...]) -> bool:
    """Return True where a rewritten program computes what the plain one does, N = 1 and 2."""
    generator = torch.Generator().manual_seed(0)
    dtype = plain.layers[0].mean.dtype
    images = torch.randn((2, *image_shape), generator=generator).to(plain.device, dtype)
    with torch.no_grad():
        expected = nest.leaves(plain.run(images, AsTrained(plain)))
    ending = Ending(plain.classes)
    return all(
        _agree(program, images[:n], [e[:n] for e in expected], ending, watch)
        for n in (1, 2)
        for watch in (False, True)
    )


def _check_parity(
    program: Program, images: Tensor, expected: Sequence[Tensor], ending: Ending
) -> None:
    if not all(_agree(program, images, expected, ending, watch) for watch in (False, True)):
        raise ModelError(
            "the captured graph does not compute what the model computes; the model probably "
            "changes views of tensors in place: rewrite those operations"
        )
    if not _agree(program, images[:1], [e[:1] for e in expected], ending, False):
        raise ModelError(
            "the model answers to one image alone otherwise than to the same image in a batch; "
            "expected logits that depend on their own image only: look for squeeze() without an "
            "axis, and for operations over the batch axis"
        )


def _agree(
    program: Program, images: Tensor, expected: Sequence[Tensor], ending: Ending, watch: bool
) -> bool:
    with torch.no_grad():
        try:
            leaves = nest.leaves(program.run(images, AsTrained(program), watch=watch))
            outputs = [ending.outputs(output) for output in leaves]
        except (RuntimeError, IndexError):  # shapes that fit two images only
            return False
    return all(
        one.shape == other.shape
        and torch.allclose(one, other, rtol=1e-3, atol=1e-3 * float(other.abs().max()))
        for one, other in zip(outputs, expected, strict=True)
    )


def _described(value: object) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    named = f" with {', '.join(map(str, value))}" if isinstance(value, Mapping) else ""
    return f"a {type(value).__name__}{named}"
