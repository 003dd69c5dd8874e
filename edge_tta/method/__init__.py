"""The adaptation mathematics: pure functions on tensors, and the one step made of them."""
