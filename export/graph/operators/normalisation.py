"""BatchNorm with given statistics, and what flows back through it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from export.graph.emitter import Emitter, Value
from export.graph.operators.table import Outputs, aten, emits


@emits(aten.native_batch_norm.default, aten._native_batch_norm_legit_no_training.default)
def batch_norm(
    e: Emitter,
    out: Outputs,
    z: Value,
    weight: Value | None,
    bias: Value | None,
    mean: Value,
    variance: Value,
    *options: Any,
) -> list[Value | None]:
    """The statistics are inputs of the node, so that the runtime folds nothing into weights."""
    if len(options) == 3 and options[0]:
        raise NotImplementedError("BatchNorm in training mode")
    eps = options[-1]
    scale = weight or e.constant(torch.ones(mean.shape))
    shift = bias or e.constant(torch.zeros(mean.shape))
    y = e.op("BatchNormalization", [z, scale, shift, mean, variance], *out[0], epsilon=float(eps))
    return [y, None, None]


@emits(aten.native_batch_norm_backward.default)
def batch_norm_backward(
    e: Emitter,
    out: Outputs,
    grad: Value,
    z: Value,
    weight: Value | None,
    mean: Value,
    variance: Value,
    saved_mean: Any,
    saved_scale: Any,
    train: bool,
    eps: float,
    wanted: Sequence[bool],
) -> list[Value | None]:
    """Statistics are constants: x^ = (z - mean) r, r = 1 / sqrt(variance + eps).

    By the input: grad gamma r; gamma: sum grad x^; beta: sum grad.
    """
    if train:
        raise NotImplementedError("the gradient of BatchNorm in training mode")
    channels = mean.shape
    column = (1, -1, *(1 for _ in z.shape[2:]))
    column = tuple(channels[0] if size == -1 else size for size in column)
    spread = e.op("Add", [variance, e.constant(eps, torch.float32)], channels, torch.float32)
    root = e.op("Sqrt", [spread], channels, torch.float32)
    r = e.op("Reciprocal", [root], channels, torch.float32)
    axes = e.constant([0, *range(2, len(z.shape))], torch.int64)

    def total(values: Value) -> Value:
        return e.op("ReduceSum", [values, axes], channels, torch.float32, keepdims=0)

    found: list[Value | None] = [None, None, None]
    if wanted[0]:
        factor = r if weight is None else e.op("Mul", [weight, r], channels, torch.float32)
        found[0] = e.op("Mul", [grad, e.reshape(factor, column)], z.shape, torch.float32)
    if wanted[1]:
        centred = e.op("Sub", [z, e.reshape(mean, column)], z.shape, torch.float32)
        correlation = total(e.op("Mul", [grad, centred], z.shape, torch.float32))
        found[1] = e.op("Mul", [correlation, r], channels, torch.float32)
    if wanted[2]:
        found[2] = total(grad)
    return found
