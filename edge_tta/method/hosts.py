"""Hosts: the methods that NanoAdapt wraps, each by its loss L_o (Eq. 9)."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from edge_tta.method.accumulation import entropy

# Loss of each image, (N, C) logits -> (N,). Hosts that only normalise have none.
LOSSES: dict[str, Callable[[Tensor], Tensor]] = {
    # Tent (Wang et al., 2021): the entropy of the prediction.
    "tent": entropy,
}
