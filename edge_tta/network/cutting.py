"""Places to cut a captured graph into segments, and those that leave least saved.

A segment that is recomputed saves its input until then, and meanwhile what its backward pass
needs. Of segments 1 .. K with inputs x and saved tensors s, of which the last is not recomputed,
there are saved for backward at most, in bytes,

    max over k of (x_1 + .. + x_k + s_k).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx

from edge_tta.network.program import BatchNormHook, Execution, Program, is_batch_norm

_EXACT = 256
"""A plan saves at most one in so many more bytes than the best."""


class Cut(NamedTuple):
    """A place before the node at `position` of `computing`, where one tensor alone is still to be
    read; numbers: what else is, such as the number of images."""

    position: int
    tensor: fx.Node
    numbers: tuple[fx.Node, ...] = ()


@dataclass(frozen=True)
class Sizes:
    """Sizes of one run of a graph, in bytes.

    saved: for the backward pass, by node that saves first. tensors: of nodes that give a
    floating-point tensor. numbers: nodes that give a number.
    """

    saved: Mapping[fx.Node, int]
    tensors: Mapping[fx.Node, int]
    numbers: frozenset[fx.Node]


def is_source(node: fx.Node) -> bool:
    """Return whether a node reads what is there anyway: weights, parameters, the execution."""
    named = node.op == "placeholder" and node.target == "execution"
    return named or node.op == "get_attr" or (node.op, node.target) == ("call_method", "parameter")


def computing(graph: fx.Graph) -> list[fx.Node]:
    """Return the nodes that compute, in order."""
    return [n for n in graph.nodes if n.op not in ("placeholder", "output") and not is_source(n)]


def measured(program: Program, images: Tensor, hook: BatchNormHook) -> Sizes:
    """Return the sizes of a run with gradients, of which nothing is saved."""
    there = {_address(tensor) for tensor in program.tensors()}
    with torch.enable_grad():
        counting = _Counting(program.plain, there)
        counting.run(images, Execution(program, hook, program.fused))
    return Sizes(counting.saved, counting.tensors, frozenset(counting.numbers))


def cuts(program: Program, sizes: Sizes) -> list[Cut]:
    """All places to cut the plain form, the beginning first."""
    graph = program.plain.graph
    nodes = computing(graph)
    at = {node: i for i, node in enumerate(nodes)}
    images = next(node for node in graph.nodes if node.op == "placeholder")
    last = {n: max((at.get(u, len(nodes)) for u in n.users), default=-1) for n in [images, *nodes]}
    places, alive = [Cut(0, images)], [images]
    for position, node in enumerate(nodes[:-1]):
        alive = [n for n in [*alive, node] if last[n] > position]
        tensors = [n for n in alive if n not in sizes.numbers]
        if len(tensors) != 1 or tensors[0] not in sizes.tensors:
            continue
        if tensors[0] is not places[-1].tensor and not _is_overwritten(program, tensors[0]):
            numbers = tuple(n for n in alive if n in sizes.numbers)
            places.append(Cut(position + 1, tensors[0], numbers))
    return places


def best(graph: fx.Graph, sizes: Sizes, places: Sequence[Cut], most: int | None) -> list[Cut]:
    """The places, the beginning among them, that leave least saved, in at most `most` segments."""
    nodes = computing(graph)
    ends = [*(cut.position for cut in places[1:]), len(nodes)]
    begins = [cut.position for cut in places]
    saved = [
        sum(sizes.saved.get(node, 0) for node in nodes[begin:end])
        for begin, end in zip(begins, ends, strict=True)
    ]
    return [places[i] for i in plan([sizes.tensors[cut.tensor] for cut in places], saved, most)]


def plan(inputs: Sequence[int], saved: Sequence[int], most: int | None = None) -> list[int]:
    """The stretches that begin a segment, from 0, so that least is saved (above).

    Args:
        inputs, saved: bytes of the stretches between places to cut, in order.
        most: segments at most; None: any number.
    """
    low, high = 0, sum(inputs) + sum(saved)
    begins = [0]
    while high - low > max(1, high // _EXACT):
        middle = (low + high) // 2
        within = _within(middle, inputs, saved, most)
        if within is None:
            low = middle
        else:
            high, begins = middle, within
    return begins


def _within(
    limit: int, inputs: Sequence[int], saved: Sequence[int], most: int | None
) -> list[int] | None:
    """A plan that saves no more than `limit`, of those the one with least inputs."""
    n = len(saved)
    before = [0, *itertools.accumulate(saved)]
    # Bytes of inputs saved where a segment begins, and where the segments begin.
    ways: list[tuple[int, list[int]] | None] = [(0, [])] + [None] * n
    for _ in range(n if most is None else min(most, n)):
        following = list(ways)
        for i in range(n):
            way = ways[i] if most is not None else following[i]
            if way is None:
                continue
            for j in range(i + 1, n + 1):
                needed = before[j] - before[i]
                held = way[0] + (inputs[i] if needed and j < n else 0)
                old = following[j]
                if held + needed <= limit and (old is None or held < old[0]):
                    following[j] = held, [*way[1], i]
        if most is None or following == ways:
            ways = following
            break
        ways = following
    end = ways[n]
    return None if end is None else end[1]


def _is_overwritten(program: Program, node: fx.Node) -> bool:
    """Return whether a BatchNorm writes over the output of a node (`Fused.in_place`)."""
    sites: list[Any] = [u.args[1] for u in node.users if is_batch_norm(u) and u.args[2] is node]
    return any(index in program.fused and program.fused[index].in_place for index in sites)


class _Counting(fx.Interpreter):
    """Interpreter that notes what each node would save."""

    def __init__(self, module: fx.GraphModule, there: set[int]) -> None:
        super().__init__(module)
        self.saved: dict[fx.Node, int] = {}
        self.tensors: dict[fx.Node, int] = {}
        self.numbers: set[fx.Node] = set()
        self._there = there
        self._counted: set[fx.Node] = set()  # whose output has been saved

    def run_node(self, n: fx.Node) -> Any:
        owners = {
            _address(self.env[node]): node
            for node in n.all_input_nodes
            if isinstance(self.env[node], Tensor)
        }
        saved: dict[int, int] = {}

        def pack(value: Tensor) -> None:
            saved[_address(value)] = value.untyped_storage().nbytes()

        with torch.autograd.graph.saved_tensors_hooks(pack, _never):
            result = super().run_node(n)
        for address, size in saved.items():
            owner = owners.get(address)
            if address in self._there or owner in self._counted:
                continue
            if owner is not None:
                self._counted.add(owner)
            self.saved[n] = self.saved.get(n, 0) + size
        if isinstance(result, Tensor):
            if _address(result) in saved or owners.get(_address(result)) in self._counted:
                self._counted.add(n)
            if result.is_floating_point():
                self.tensors[n] = result.untyped_storage().nbytes()
        elif isinstance(result, (int, float)):
            self.numbers.add(n)
        return result


def _address(value: Tensor) -> int:
    return value.untyped_storage().data_ptr()


def _never(value: Any) -> Tensor:
    raise AssertionError("no backward pass comes")
