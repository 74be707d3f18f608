"""Half precision for a GPU: weights and products in fp16, with the float32 inputs and outputs of the contract."""

import logging
import warnings

import onnx


def in_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a float32 graph in fp16. Means and variances of layer norms stay float32 inside their kernels."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    logging.getLogger("onnxruntime.transformers.float16").setLevel(logging.ERROR)
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    with warnings.catch_warnings():
        # The warning has the number of weights clipped to the range of fp16; the gate measures whether that matters.
        warnings.simplefilter("ignore")
        half: onnx.ModelProto = convert_float_to_float16(copy, keep_io_types=True)
    return half
