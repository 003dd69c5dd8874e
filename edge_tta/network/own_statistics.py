"""What a network makes of frames under their own statistics, which is what adaptation comes to.

It is told without labels. For a classifier it is the mutual information of frames and classes,
H(mean p) - mean H(p) in nats; for a detector the mean of the frames' highest scores. Of a segmenter
the same information about positions tells too little: it may fall where the masks get better.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edge_tta import nest
from edge_tta.probability import information, softmax
from edge_tta.tasks import Detection, Task

Norms = Mapping[str, nn.modules.batchnorm._BatchNorm]

_MOST_IN_BATCH = 64
_FEWEST_IN_BATCH = 8
_PIXELS_IN_BATCH = 3_200_000


def worth_under_own_statistics(
    module: nn.Module, norms: Norms, images: Sequence[Tensor], task: Task | None
) -> float | None:
    """Return what a network makes of images, each batch normalised by its own statistics.

    Args:
        norms: BatchNorms of the module whose statistics are the batch's.
        images: (1, channels, H, W) each.
        task: what the outputs mean; None: nobody knows.

    Returns:
        the higher, the more it makes of them; None: the task's outputs do not tell.
    """
    if task is None or not can_tell(task):
        return None
    pixels = images[0].shape[-2:].numel()
    size = min(max(_PIXELS_IN_BATCH // pixels, _FEWEST_IN_BATCH), _MOST_IN_BATCH)
    # A last batch of few images would have poor statistics.
    starts = range(0, max(len(images) - size, 0) + 1, size)
    with torch.no_grad(), _own_statistics(norms):
        outputs = [module(torch.cat(list(images[i : i + size]))) for i in starts]
    if isinstance(task, Detection):
        each = [task.worth(image) for batch in outputs for image in _one_by_one(batch)]
        return float(np.mean(each))
    votes: list[Any] = [task.votes(batch) for batch in outputs]
    return information(softmax(torch.cat(votes).numpy()))


def can_tell(task: Task | None) -> bool:
    """Return True where a task's outputs tell what the network makes of frames."""
    return task is not None and (task.filtered or (isinstance(task, Detection) and task.has_decode))


def _one_by_one(outputs: object) -> Iterator[object]:
    for place in range(len(nest.leaves(outputs)[0])):
        yield nest.mapped(lambda t, i=place: t[i : i + 1], outputs)


@contextmanager
def _own_statistics(norms: Norms) -> Iterator[None]:
    """Let BatchNorms in evaluation mode normalise by what they are given; afterwards as before."""

    def take(norm: nn.Module, given: tuple[Tensor, ...]) -> None:
        axes = [axis for axis in range(given[0].ndim) if axis != 1]
        variance, mean = torch.var_mean(given[0], axes, correction=0)
        norm.running_mean.copy_(mean)  # type: ignore[operator]
        norm.running_var.copy_(variance)  # type: ignore[operator]

    kept = [{k: v.clone() for k, v in norm.named_buffers()} for norm in norms.values()]
    hooks = [norm.register_forward_pre_hook(take) for norm in norms.values()]
    try:
        yield
    finally:
        for norm, buffers, hook in zip(norms.values(), kept, hooks, strict=True):
            hook.remove()
            for name, value in norm.named_buffers():
                value.copy_(buffers[name])
