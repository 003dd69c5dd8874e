"""A road-sign camera that the project renders itself, and a small network trained on it."""
