"""Reports on rows of `bench latency` and `bench memory`, and on errors beside them."""
