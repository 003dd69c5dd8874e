"""Measures what adaptation gives and costs, and makes the data to measure on."""
