"""Cost of adaptation: time and memory of one stream, and of peers beside it."""
