"""The user's network as a graph: capture, BatchNorm sites, and what stands in front of each."""
