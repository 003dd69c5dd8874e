"""Conversion of the adaptation step to ONNX: trace, simplify, emit."""
