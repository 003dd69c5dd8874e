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
    """Bytes of the tensors that are saved for backward while `run` runs once.

    Tensors that share their storage count once; storages whose address is in `known`, which are
    there anyway, not at all. others: read after the run, tensors that wait likewise, but unseen by
    autograd, as `node_tensors` finds them.
    """
    found: dict[int, Tensor] = {}  # held, so that no address is used twice

    def pack(value: Tensor) -> Tensor:
        if value.numel():
            found[value.untyped_storage().data_ptr()] = value
        return value

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
        run()
    for value in others:
        pack(value)
    there = set(known)
    return sum(
        value.untyped_storage().nbytes() for address, value in found.items() if address not in there
    )


def node_tensors() -> list[Tensor]:
    """Tensors that custom autograd functions keep as attributes of their nodes (`ctx.mask = ...`).

    Autograd's hooks do not see these. Call it between a forward and its backward pass.
    """
    nodes = [it for it in gc.get_objects() if issubclass(type(it), BackwardCFunction)]
    return [value for node in nodes for value in vars(node).values() if isinstance(value, Tensor)]
