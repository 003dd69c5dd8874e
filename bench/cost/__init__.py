"""What adaptation costs: time and memory of one stream, and of peers beside it."""
