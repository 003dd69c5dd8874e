"""Outputs of networks, whatever their form."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from edge_tta import nest

OUTPUTS: list[Any] = [
    np.zeros(2),
    [np.zeros(1), np.ones(1)],
    {"out": np.zeros(1), "aux": [np.ones(1), {"deep": np.full(1, 2.0)}]},
    [],
]


@pytest.mark.parametrize("outputs", OUTPUTS, ids=["one", "list", "nested", "none"])
def test_a_form_and_its_tensors_are_the_outputs(outputs: Any) -> None:
    form = json.loads(json.dumps(nest.form_of(outputs)))
    tensors = nest.leaves(outputs)
    assert nest.checked_form(form) == form
    assert nest.tensors_in(form) == len(tensors)
    again = nest.built(form, tensors)
    assert nest.form_of(again) == form
    assert all(a is b for a, b in zip(nest.leaves(again), tensors, strict=True))


def test_tuples_become_lists_and_nothing_else_changes() -> None:
    assert nest.mapped(lambda a, b: a + b, (1, {"x": 2}), (10, {"x": 20})) == [11, {"x": 22}]


@pytest.mark.parametrize("form", [3, "out", {"out": 1}, [[[[[[[[[[None]]]]]]]]]]], ids=str)
def test_what_is_no_form_is_refused(form: Any) -> None:
    with pytest.raises(TypeError, match="a form of outputs holds a"):
        nest.checked_form(form)
