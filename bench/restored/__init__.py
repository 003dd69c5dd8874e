"""Networks that come back from ONNX files with their BatchNorms folded, beside themselves."""
