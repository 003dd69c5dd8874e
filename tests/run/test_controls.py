"""Wishes from other threads."""

from __future__ import annotations

import pytest

from edge_tta.run.controls import Controls, Wish


def test_wishes_are_granted_once_in_their_order() -> None:
    controls, done = Controls(), list[tuple[str, bool]]()
    controls.does[Wish.SAVE] = lambda: done.append(("save", controls.paused))
    controls.does[Wish.RESET] = lambda: done.append(("reset", controls.paused))
    for wish in ("save", "pause", "save", "reset"):
        controls.ask(wish)
    assert not controls.paused
    controls.grant()
    assert done == [("save", False), ("reset", True)]
    assert controls.paused
    controls.ask("resume")
    controls.grant()
    assert len(done) == 2
    assert not controls.paused


def test_an_unknown_wish_is_refused() -> None:
    with pytest.raises(ValueError, match="explode"):
        Controls().ask("explode")


def test_a_wish_that_nothing_grants_is_left() -> None:
    controls = Controls()
    controls.ask("save")
    controls.grant()
