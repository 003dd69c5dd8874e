"""Nodes of an ONNX graph as plain data, and the table of operators that can be read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from edge_tta.errors import ModelError, did_you_mean, printable, shortened

Host = npt.NDArray[Any]
"""What is known without images: shapes (of whole numbers, symbolic ones too), axes, constants."""

Value = Tensor | Host
Given = Value | None

_LONGEST_NAME = 60


@dataclass(frozen=True)
class Node:
    """One operator of a graph.

    Attributes:
        operator: as the file has it, such as `Conv`; with its domain where that is not ONNX's.
        inputs, outputs: names of values; "" where an optional one is left out.
        attributes: numbers, text, lists of them, or arrays.
        opset: version of ONNX's operators that the file was written for.
    """

    operator: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any] = field(default_factory=dict)
    opset: int = 13

    def get(self, name: str, default: Any = None) -> Any:
        """Return an attribute, or what stands for it where it is left out."""
        return self.attributes.get(name, default)

    def error(self, why: str) -> ModelError:
        """Return an error that names operator and node.

        why: what is wrong with it, with what was expected.
        """
        return ModelError(f"{self} {why}")

    def __str__(self) -> str:
        named = self.name or next(filter(None, self.outputs), "")
        return f"{self.operator} node {shortened(printable(repr(named)), _LONGEST_NAME)}"


# A node and its constant inputs (None: not constant) -> function of all inputs, which may be an
# nn.Module where it holds parameters.
Operator = Callable[[Node, Sequence[Host | None]], Callable[..., Any]]

OPERATORS: dict[str, Operator] = {}


def reads(*kinds: str) -> Callable[[Operator], Operator]:
    """Register the function that makes a node's function, for operators of these names."""

    def register(operator: Operator) -> Operator:
        for kind in kinds:
            OPERATORS[kind] = operator
        return operator

    return register


def operator_of(node: Node) -> Operator:
    """Return what reads a node.

    Raises:
        ModelError: there is no such operator here.
    """
    known = OPERATORS.get(node.operator)
    if known is None:
        hint = did_you_mean(node.operator, OPERATORS) if "." in node.operator else ""
        raise node.error(
            "cannot be read; expected operators of a feed-forward network in ONNX's own domain: "
            f"export it without that one{hint}"
        )
    return known


def tensor(value: Given, like: Tensor) -> Tensor:
    """Return a value as a tensor on the device of another."""
    if isinstance(value, Tensor):
        return value
    array = np.asarray(value)
    if array.dtype == object:
        if array.ndim == 0:
            return torch.scalar_tensor(array.item(), dtype=torch.int64, device=like.device)
        return torch.tensor([int(v) for v in array.ravel()], device=like.device).reshape(
            array.shape
        )
    return torch.as_tensor(np.array(array), device=like.device)


def whole(value: Given, node: Node) -> list[Any]:
    """Return whole numbers, maybe symbolic, of an input that must be known without images."""
    if not isinstance(value, np.ndarray):
        raise node.error("takes its shape or axes from the images' values; expected constants")
    return list(value.ravel()) if value.dtype == object else [int(v) for v in value.ravel()]


def axes_of(node: Node, given: Sequence[Given], place: int = 1) -> list[int] | None:
    """Return a node's axes, which are an attribute in older opsets; None: all, or none said."""
    if len(given) > place and given[place] is not None:
        return [int(v) for v in whole(given[place], node)]
    axes = node.get("axes")
    return None if axes is None else [int(v) for v in axes]
