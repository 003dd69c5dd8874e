"""BatchNorm with given statistics, and what flows back through it."""

from __future__ import annotations

from typing import Any

import torch

from export.graph.emitter import Emitter, Value
from export.graph.nodes import centred_batch_norm_backward
from export.graph.operators.table import Outputs, aten, emits


@emits(aten.native_batch_norm.default, aten._native_batch_norm_legit_no_training.default)
def batch_norm(e: Emitter, out: Outputs, z: Value, *arguments: Any) -> list[Value | None]:
    """BatchNorm; the statistics are inputs, so that the runtime folds nothing into weights.

    arguments: weight, bias, mean, variance, then whether it trains if given, momentum, eps.
    """
    weight, bias, mean, variance, *options = arguments
    if len(options) == 3 and options[0]:
        raise NotImplementedError("BatchNorm in training mode")
    eps = options[-1]
    scale = weight or e.constant(torch.ones(mean.shape))
    shift = bias or e.constant(torch.zeros(mean.shape))
    # Without meaning here; but equal nodes would be made one, and its output kept.
    momentum = 0.8 if e.repeats else 0.9
    inputs = [z, scale, shift, mean, variance]
    y = e.op("BatchNormalization", inputs, *out[0], epsilon=float(eps), momentum=momentum)
    return [y, None, None]


@emits(aten.native_batch_norm_backward.default)
def batch_norm_backward(
    e: Emitter, out: Outputs, grad: Value, z: Value, *arguments: Any, is_centred: bool = False
) -> list[Value | None]:
    """Gradients by the input, gamma and beta, as far as wanted; statistics are constants.

    With x^ = (z - mean) r, r = 1 / sqrt(variance + eps): grad gamma r; sum grad x^; sum grad.

    arguments: weight, mean, variance, two that were saved, train, eps, wanted.
    is_centred: |mean| is not much larger than the deviation, so that sum grad z - mean sum grad
        does not cancel.
    """
    weight, mean, variance, _, _, train, eps, wanted = arguments
    if train:
        raise NotImplementedError("the gradient of BatchNorm in training mode")
    (channels,) = mean.shape
    vector = (channels,), torch.float32
    column = (1, channels, *(1 for _ in z.shape[2:]))
    spread = e.op("Add", [variance, e.constant(eps, torch.float32)], *vector)
    r = e.op("Reciprocal", [e.op("Sqrt", [spread], *vector)], *vector)
    axes = e.constant([0, *range(2, len(z.shape))], torch.int64)

    def total(values: Value) -> Value:
        return e.op("ReduceSum", [values, axes], *vector, keepdims=0)

    gradients: list[Value | None] = [None, None, None]
    if wanted[0]:
        factor = r if weight is None else e.op("Mul", [weight, r], *vector)
        gradients[0] = e.op("Mul", [grad, e.reshape(factor, column)], z.shape, torch.float32)
    if wanted[1] and is_centred:
        correlation = total(e.op("Mul", [grad, z], z.shape, torch.float32))
        gap = e.op("Mul", [mean, total(grad)], *vector)
        gradients[1] = e.op("Mul", [e.op("Sub", [correlation, gap], *vector), r], *vector)
    elif wanted[1]:
        centred = e.op("Sub", [z, e.reshape(mean, column)], z.shape, torch.float32)
        correlation = total(e.op("Mul", [grad, centred], z.shape, torch.float32))
        gradients[1] = e.op("Mul", [correlation, r], *vector)
    if wanted[2]:
        gradients[2] = total(grad)
    return gradients


@emits(centred_batch_norm_backward)
def centred_backward(e: Emitter, out: Outputs, *arguments: Any) -> list[Value | None]:
    """The same where the mean is small."""
    gradients: list[Value | None] = batch_norm_backward(e, out, *arguments, is_centred=True)
    return gradients
