"""What happens to the state when a run is killed, again and again."""

from bench.faults.kills import KillRow, measure_kills

__all__ = ["KillRow", "measure_kills"]
