"""Input and classes of the demo network, without importing torch."""

from __future__ import annotations

from edge_tta.demo.faces import CLASSES
from edge_tta.prepare import InputSpec

# Mean and standard deviation of the clean renders.
INPUT = InputSpec(size=64, scale=255.0, mean=(0.53, 0.53, 0.52), std=(0.23, 0.23, 0.27))

# Output i of the network says how likely `LABELS[i]` is.
LABELS: tuple[str, ...] = CLASSES
