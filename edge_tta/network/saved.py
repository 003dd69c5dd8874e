"""Counts what autograd keeps for the backward pass."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.autograd.function import BackwardCFunction


def saved_bytes(
    run: Callable[[], object], known: Iterable[int] = (), others: Iterable[Tensor] = ()
) -> int:
    """Bytes of the tensors that are saved for backward while `run` runs once; of several backward
    passes one after another, the most that waits for one of them.

    Tensors that share their storage count once; storages whose address is in `known`, which are
    there anyway, not at all. others: read after the run, tensors that wait likewise, but unseen by
    autograd, as `node_tensors` finds them.
    """
    there = set(known)
    found: dict[int, Tensor] = {}  # held, so that no address is used twice
    before: list[int] = []
    is_read = False

    def size() -> int:
        return sum(v.untyped_storage().nbytes() for at, v in found.items() if at not in there)

    def pack(value: Tensor) -> Tensor:
        nonlocal is_read
        if is_read:
            before.append(size())
            found.clear()
            is_read = False
        if value.numel():
            found[value.untyped_storage().data_ptr()] = value
        return value

    def unpack(value: Tensor) -> Tensor:
        nonlocal is_read
        is_read = True
        return value

    with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
        run()
    is_read = False
    for value in others:
        pack(value)
    return max([size(), *before])


def node_tensors() -> list[Tensor]:
    """Tensors that custom autograd functions keep as attributes of their nodes (`ctx.mask = ...`).

    Autograd's hooks do not see these. Call it between a forward and its backward pass.
    """
    nodes = [it for it in gc.get_objects() if issubclass(type(it), BackwardCFunction)]
    return [value for node in nodes for value in vars(node).values() if isinstance(value, Tensor)]
