"""Live streams of random captures: good ones alone are given, and every read is counted."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_tta.errors import SourceError
from edge_tta.frames import LiveSource, Pick, reader
from tests.frames.media import textured

CALM = [textured(seed)[..., ::-1].copy() for seed in range(24)]
KINDS = ["good", "black", "green", "again", "empty", "damaged", "nan", "small", "broken"]


class Scripted:
    """Plays captures by kind, then nothing."""

    def __init__(self, kinds: list[str]) -> None:
        self._kinds = kinds
        self._at = -1
        self.sent: list[np.ndarray] = []

    def grab(self) -> bool:
        self._at += 1
        return self._kind() != "empty"

    def retrieve(self) -> tuple[bool, Any]:
        kind = self._kind()
        fresh = CALM[self._at % len(CALM)].copy()
        fresh[0, 0, 0] = self._at  # no two are equal
        if kind == "good":
            self.sent.append(fresh)
            return True, fresh
        broken = fresh.copy()
        broken[-20:] = 128
        last = self.sent[-1] if self.sent else np.zeros_like(fresh)
        return kind != "damaged", {
            "black": np.zeros_like(fresh),
            "green": np.full_like(fresh, (0, 135, 0)),
            "again": last,
            "damaged": None,
            "nan": np.full(fresh.shape, np.nan, np.float32),
            "small": fresh[:20],
            "broken": broken,
        }[kind]

    def get(self, prop_id: int, /) -> float:
        return 0.0

    def release(self) -> None:
        """Nothing is held."""

    def _kind(self) -> str:
        return self._kinds[self._at] if self._at < len(self._kinds) else "empty"


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(st.lists(st.sampled_from(KINDS), max_size=40).map(lambda kinds: ["good", *kinds, "black"]))
def test_only_good_captures_are_given_in_order_and_every_read_is_accounted_for(
    kinds: list[str],
) -> None:
    most_empty = 50  # more than any script has
    camera = Scripted(kinds)
    given_frames = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "_PAUSE_S", 0.0)
        options = {"most_empty": most_empty, "reconnect_s": 0.0}
        with LiveSource("camera", lambda: camera, Pick(), **options) as source:  # type: ignore[arg-type]
            while True:
                try:
                    frame = source.read()
                except SourceError:
                    break
                assert frame is not None
                given_frames.append(frame)
    assert [frame.index for frame in given_frames] == list(range(len(given_frames)))
    sent = [pixels[..., ::-1].tobytes() for pixels in camera.sent]
    places = [sent.index(frame.pixels.tobytes()) for frame in given_frames]
    assert places == sorted(set(places))
    assert source.dropped.total() + len(given_frames) == len(kinds) + most_empty
    bad = Counter(kinds)
    assert len(given_frames) + source.dropped["late"] <= bad["good"]
    assert source.dropped["damaged"] == bad["damaged"]
    assert source.dropped["not finite"] == bad["nan"]
    assert source.dropped["empty"] == bad["empty"] + most_empty
