"""Engines that run a network and its adaptation step: PyTorch, or the graphs of a bundle."""
