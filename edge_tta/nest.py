"""Outputs of networks: one tensor, or lists, tuples and mappings of tensors, inside each other.

Tensors of any kind; whatever is no list, tuple or mapping counts as one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

Form = Any
"""Form of outputs in JSON's types: None for a tensor, [forms] for a list or tuple, {name: form}."""

_DEEPEST = 8


def leaves(outputs: Any) -> list[Any]:
    """Return the tensors, in their order."""
    if isinstance(outputs, Mapping):
        return [leaf for part in outputs.values() for leaf in leaves(part)]
    if isinstance(outputs, (list, tuple)):
        return [leaf for part in outputs for leaf in leaves(part)]
    return [outputs]


def form_of(outputs: Any) -> Form:
    """Return the form of outputs."""
    if isinstance(outputs, Mapping):
        return {str(name): form_of(part) for name, part in outputs.items()}
    if isinstance(outputs, (list, tuple)):
        return [form_of(part) for part in outputs]
    return None


def built(form: Form, tensors: Sequence[Any]) -> Any:
    """Return tensors in a form: dictionaries, and lists for lists and tuples alike."""
    return _built(form, iter(tensors))


def tensors_in(form: Form) -> int:
    """Return how many tensors outputs of a form have."""
    if isinstance(form, Mapping):
        return sum(map(tensors_in, form.values()))
    return sum(map(tensors_in, form)) if isinstance(form, list) else 1


def mapped(function: Callable[..., Any], *outputs: Any) -> Any:
    """Return outputs of the same form, of a function of their tensors at each place."""
    tensors = [function(*parts) for parts in zip(*map(leaves, outputs), strict=True)]
    return built(form_of(outputs[0]), tensors)


def checked_form(form: Any, deepest: int = _DEEPEST) -> Form:
    """Return a form that came from a file. Raises TypeError where it is none."""
    if form is None:
        return None
    if deepest and isinstance(form, Mapping):
        return {str(name): checked_form(part, deepest - 1) for name, part in form.items()}
    if deepest and isinstance(form, list):
        return [checked_form(part, deepest - 1) for part in form]
    raise TypeError(f"a form of outputs holds a {type(form).__name__}")


def _built(form: Form, tensors: Iterator[Any]) -> Any:
    if isinstance(form, Mapping):
        return {name: _built(part, tensors) for name, part in form.items()}
    if isinstance(form, list):
        return [_built(part, tensors) for part in form]
    return next(tensors)
