"""Wishes from other threads."""

from __future__ import annotations

import pytest

from edge_tta.run.controls import Controls


def test_wishes_are_granted_once_in_their_order() -> None:
    controls = Controls()
    for wish in ("save", "pause", "save", "reset"):
        controls.ask(wish)
    assert not controls.paused
    assert controls.granted() == ["save", "pause", "reset"]
    assert controls.paused
    assert controls.granted() == []
    controls.ask("resume")
    assert controls.granted() == ["resume"]
    assert not controls.paused


def test_an_unknown_wish_is_refused() -> None:
    with pytest.raises(ValueError, match="expected pause, resume, reset or save"):
        Controls().ask("explode")
