"""From the adaptation step to ONNX: trace, simplify, emit."""
