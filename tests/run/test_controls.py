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


def test_a_wish_that_nothing_grants_is_left_and_told() -> None:
    controls = Controls()
    controls.ask("save")
    controls.grant()
    assert controls.done[0].problem is not None


def test_what_became_of_a_wish_is_told_by_its_number() -> None:
    controls = Controls()
    controls.does[Wish.SAVE] = lambda: "the disk is full"
    numbers = [controls.ask("save"), controls.ask("save"), controls.ask("pause")]
    assert numbers == [1, 1, 2]
    assert not controls.done
    controls.grant()
    told = [(done.number, done.wish, done.problem) for done in controls.done]
    assert told == [(1, Wish.SAVE, "the disk is full"), (2, Wish.PAUSE, None)]


def test_of_pause_and_resume_the_last_word_counts() -> None:
    controls = Controls()
    for wish in ("pause", "resume", "pause"):
        controls.ask(wish)
    controls.grant()
    assert controls.paused
    for wish in ("resume", "pause", "resume"):
        controls.ask(wish)
    controls.grant()
    assert not controls.paused
