"""Error of adaptation methods on streams of corrupted pictures."""

from bench.error.intervals import Mean, mean_of
from bench.error.measure import measure_error
from bench.error.rows import ErrorRow

__all__ = ["ErrorRow", "Mean", "mean_of", "measure_error"]
