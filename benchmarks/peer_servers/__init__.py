"""Other servers over the same ONNX files and tensors, each in the way that its own documentation serves a model."""
