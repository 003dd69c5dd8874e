"""Long runs: whether memory, latency and numbers stay as they are."""

from bench.soak.measure import SoakSource, measure_soak
from bench.soak.rows import SoakRow

__all__ = ["SoakRow", "SoakSource", "measure_soak"]
