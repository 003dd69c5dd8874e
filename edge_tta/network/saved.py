"""Counts what autograd saves for the backward pass."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.autograd.function import BackwardCFunction


def saved_bytes(
    run: Callable[[], object], known: Iterable[int] = (), others: Iterable[Tensor] = ()
) -> int:
    """Bytes of the tensors saved for backward while `run` runs once: the most at one time, over
    several backward passes or checkpointed segments.

    Tensors that share their storage count once; storages whose address is in `known`, which are
    there anyway, not at all. others: read after the run, tensors held likewise, but unseen by
    autograd, as `node_tensors` finds them.
    """
    count = _Count(set(known))
    with torch.autograd.graph.saved_tensors_hooks(count.pack, lambda saved: saved.value):
        run()
    unseen = {
        value.untyped_storage().data_ptr(): value.untyped_storage().nbytes() for value in others
    }
    return count.most + sum(
        size for at, size in unseen.items() if at not in count.known and at not in count.at_most
    )


class _Saved:
    """A saved tensor, as long as autograd holds it."""

    def __init__(self, value: Tensor, gone: Callable[[int], None]) -> None:
        self.value, self._gone = value, gone
        self._at = value.untyped_storage().data_ptr()

    def __del__(self) -> None:
        self._gone(self._at)


class _Count:
    """Storages held: their bytes and how many tensors hold them, by address."""

    def __init__(self, known: set[int]) -> None:
        self.known, self.most = known, 0
        self.at_most: set[int] = set()
        self._now = 0
        self._holders: dict[int, list[int]] = {}

    def pack(self, value: Tensor) -> _Saved:
        at, size = value.untyped_storage().data_ptr(), value.untyped_storage().nbytes()
        if value.numel() and at not in self.known:
            held = self._holders.setdefault(at, [0, size])
            self._now += 0 if held[0] else size
            held[0] += 1
            if self._now > self.most:
                self.most, self.at_most = self._now, set(self._holders)
            return _Saved(value, self._gone)
        return _Saved(value, lambda at: None)

    def _gone(self, at: int) -> None:
        held = self._holders[at]
        held[0] -= 1
        if not held[0]:
            self._now -= held[1]
            del self._holders[at]


def node_tensors() -> list[Tensor]:
    """Tensors that custom autograd functions keep as attributes of their nodes (`ctx.mask = ...`).

    Autograd's hooks do not see these. Call it between a forward and its backward pass.
    """
    nodes = [it for it in gc.get_objects() if issubclass(type(it), BackwardCFunction)]
    return [value for node in nodes for value in vars(node).values() if isinstance(value, Tensor)]
