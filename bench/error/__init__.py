"""Error of adaptation methods on streams of corrupted pictures."""

from bench.error.intervals import Mean, mean_of
from bench.error.measure import Setting, measure_error
from bench.error.rows import ErrorRow
from bench.error.streams import Run, Runner, in_processes

__all__ = [
    "ErrorRow",
    "Mean",
    "Run",
    "Runner",
    "Setting",
    "in_processes",
    "mean_of",
    "measure_error",
]
