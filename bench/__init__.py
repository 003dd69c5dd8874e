"""Measurements of adaptation: corrupted data, error, latency, memory, reports."""
