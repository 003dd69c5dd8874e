"""Hosts: methods that train, each by its loss L_o (NanoAdapt Eq. 9), alone or within NanoAdapt.

A host judges the logits of a batch: which images count, and their losses. What it remembers from
batch to batch is part of the state. `norm`, the host that only normalises, trains nothing and is
not here.
"""

from edge_tta.method.hosts import delta, eata, sar, tent
from edge_tta.method.hosts.judging import Host, Judged, Memory, entropies

BY_NAME: dict[str, Host] = {
    "tent": tent.HOST,
    "eata": eata.HOST,
    "sar": sar.HOST,
    "delta": delta.HOST,
}

__all__ = ["BY_NAME", "Host", "Judged", "Memory", "entropies"]
