"""From a trained model to the bundle that serving reads: ONNX files, contract, tokenizer, catalogues."""
