"""Bundles: a network that adapts itself as ONNX graphs, run without PyTorch.

A bundle is a folder: `manifest.json`, graphs `observe.onnx` and `learn.onnx` for each method in it,
the fixed weights that all graphs share, and the state before the first frame. `edge-tta export
bundle` writes one; `edge_tta.engines.onnx` runs it.
"""
