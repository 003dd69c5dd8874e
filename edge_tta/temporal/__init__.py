"""Time as evidence: neighbouring frames of a camera usually show the same class.

`ClassFilter` is the mathematics, on logits; `Filtered` puts it around an adapter or a guard.
docs/background/temporal.md has what it gives, and where it gives nothing.
"""

from edge_tta.temporal.accuracy import Accuracy, AccuracyEstimate
from edge_tta.temporal.class_filter import Belief, ClassFilter
from edge_tta.temporal.filtered import Filtered
from edge_tta.temporal.novelty import Novelty

__all__ = ["Accuracy", "AccuracyEstimate", "Belief", "ClassFilter", "Filtered", "Novelty"]
