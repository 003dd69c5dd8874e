"""Which frames are worth adapting by: those that are news, above all the first ones of a scene.

Near-copies say nothing new of the conditions, and too much of what they show. News is the novelty
of frames (`edge_tta.temporal.novelty`), added up since the last frame that was adapted by. A scene
begins with a frame that is more unlike the one before than like it. Statistics follow a change of
the world by its first frames; thirty of one scene would make them follow what it shows. So later
frames must bring several times the news.
"""

from __future__ import annotations

import numpy as np

from edge_tta.temporal.novelty import Blocks, Novelty

CUT = 0.5
"""Novelty from which a frame begins a scene."""

FIRST_OF_SCENE = 8
"""Frames of a scene that count as its first ones, of those adapted by."""

LATER = 5.0
"""How many times the news that a later one needs."""


class News:
    """Tells of frames, one after another, whether to adapt by them.

    Args:
        least: news that the first frames of a scene need, each frame up to 1; 0: all are enough.
    """

    def __init__(self, least: float) -> None:
        self._least, self._novelty = least, Novelty()
        self._news, self._of_scene = 0.0, 0

    def is_enough(self, blocks: Blocks) -> bool:
        """Return whether images bring enough, of their block means (N, channels, rows, columns).

        Those that are not finite do, and nothing is remembered: the adapter refuses such images.
        """
        if not np.isfinite(blocks).all():
            return True
        for means in blocks:
            novelty = self._novelty.update(means)
            self._news += novelty
            if novelty >= CUT:
                self._of_scene = 0
        later = self._of_scene >= FIRST_OF_SCENE
        if self._news < self._least * (LATER if later else 1.0):
            return False
        self._news = 0.0
        self._of_scene += len(blocks)
        return True
