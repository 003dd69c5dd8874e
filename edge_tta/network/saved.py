"""Counts what autograd keeps for the backward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor


def saved_bytes(run: Callable[[], object], known: Iterable[int] = ()) -> int:
    """Bytes of the tensors that are saved for backward while `run` runs once.

    Tensors that share their storage count once; storages whose address is in `known`, which are
    there anyway, not at all.
    """
    found: dict[int, Tensor] = {}  # held, so that no address is used twice

    def pack(value: Tensor) -> Tensor:
        if value.numel():
            found[value.untyped_storage().data_ptr()] = value
        return value

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
        run()
    there = set(known)
    return sum(
        value.untyped_storage().nbytes() for address, value in found.items() if address not in there
    )
