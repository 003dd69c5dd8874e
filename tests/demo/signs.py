"""Pictures of the demo's road signs, with labels."""

from __future__ import annotations

from pathlib import Path

import cv2

from edge_tta.demo.spec import LABELS
from edge_tta.demo.stream import clean_set


def labelled_signs(place: Path) -> Path:
    """Return a new folder of twelve clean road signs with a labels.csv of class names."""
    path = place / "signs"
    path.mkdir()
    frames, labels = clean_set(12, seed=30_001)
    rows = ["file,label"]
    for number, (frame, label) in enumerate(zip(frames, labels, strict=True)):
        cv2.imwrite(str(path / f"{number}.png"), cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
        rows.append(f"{number}.png,{LABELS[label]}")
    (path / "labels.csv").write_text("\n".join(rows) + "\n")
    return path
