"""Whatever comes from outside: it works, or is refused in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.seeds import FOUND, seeds
from tests.fuzz.targets import TARGETS, a_state

NAMES = sorted(TARGETS)
EXAMPLES = {"state": 100, "picture": 200, "weights": 50}


@pytest.mark.parametrize("name", NAMES)
def test_good_inputs_and_all_that_ever_found_something(name: str) -> None:
    assert seeds(name)
    for data in seeds(name):
        TARGETS[name](data)


def test_what_was_found_belongs_to_a_target() -> None:
    assert {path.name for path in Path(FOUND).iterdir()} <= set(NAMES)


def _mutated(data: bytes, edits: list[tuple[float, int, bytes]]) -> bytes:
    """Cuts `remove` bytes at each place (a share of the length) and puts others there."""
    for place, remove, new in edits:
        at = int(place * len(data))
        data = data[:at] + new + data[at + remove :]
    return data


EDITS = st.lists(
    st.tuples(st.floats(0, 1), st.integers(0, 40), st.binary(max_size=12)), min_size=1, max_size=4
)


@pytest.mark.parametrize("name", NAMES)
def test_damaged_inputs_are_refused_in_one_line(name: str) -> None:
    good = [data for data in seeds(name) if len(data) < 9_000]

    @settings(
        max_examples=EXAMPLES.get(name, 120),
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.one_of(st.binary(max_size=200), st.builds(_mutated, st.sampled_from(good), EDITS)))
    def check(data: bytes) -> None:
        TARGETS[name](data)

    check()


def test_no_changed_byte_of_a_states_tensors_is_taken() -> None:
    _, data, _ = a_state()
    start = 8 + int.from_bytes(data[:8], "little")
    step = max(1, (len(data) - start) // 60)
    for at in range(start, len(data), step):
        changed = data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :]
        TARGETS["state"](changed)
