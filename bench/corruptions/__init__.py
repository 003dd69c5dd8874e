"""The 15 common corruptions of ImageNet-C and CIFAR-10-C, five severities each, and gradual drift.

Written from the definitions of Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to
Common Corruptions and Perturbations", 2019, with both published parameter tables. ImageNet-C itself
was also stored as JPEG of quality 85 afterwards; that is left to whoever writes the files.
docs/reference/corruptions.md tells how near they are to the published scripts.
"""

from bench.corruptions.drift import UP_AND_DOWN, drift_schedule
from bench.corruptions.frost import load_frost_textures
from bench.corruptions.generate import CORRUPTIONS, GROUPS, FrostTextures, corrupt
from bench.corruptions.tables import TABLES

__all__ = [
    "CORRUPTIONS",
    "GROUPS",
    "TABLES",
    "UP_AND_DOWN",
    "FrostTextures",
    "corrupt",
    "drift_schedule",
    "load_frost_textures",
]
