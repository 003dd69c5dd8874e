"""ONNX files as modules of PyTorch, with a BatchNorm where one was folded away."""

from edge_tta.network.onnx_file.network import OnnxNetwork
from edge_tta.network.onnx_file.reading import OnnxFile, read_file
from edge_tta.network.onnx_file.restoring import restore

__all__ = ["OnnxFile", "OnnxNetwork", "read_file", "restore"]
