"""Error of adaptation methods on streams of corrupted pictures."""

from bench.error.measure import ErrorRow, measure_error

__all__ = ["ErrorRow", "measure_error"]
