"""What the linear layers of a language model's ONNX graph read, over typical texts: what int8 is fitted to."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from polytask.contract.tensors import ATTENTION_MASK, INPUT_IDS
from polytask.export.in_process import session
from polytask.export.quantise_int8 import Activations, FloatArray, linear_layers
from polytask.text.templates import TextTokenizer

TEXTS = 256
BATCH = 16
# A covariance of more channels takes too much memory, over all layers.
COVARIANCE_CHANNELS = 2048


def calibrate(
    model: onnx.ModelProto, tokenizer: TextTokenizer, texts: Sequence[str], threads: int, scratch: Path
) -> dict[str, Activations]:
    """The activations that each of `linear_layers` reads, over evenly chosen `texts`; padding does not count.

    `scratch` is a file to write the graph with more outputs to; it is removed again.
    """
    names = [layers.source for layers in linear_layers(model)]
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    outputs = {value.name for value in model.graph.output}
    watched.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names if name not in outputs)
    onnx.save(watched, scratch)
    try:
        running = session(scratch, threads)
    finally:
        scratch.unlink()
    chosen = [texts[number] for number in np.unique(np.linspace(0, len(texts) - 1, TEXTS).astype(np.int64))]
    largest: dict[str, FloatArray] = {}
    total: dict[str, NDArray[np.float64]] = {}
    squares: dict[str, NDArray[np.float64]] = {}
    tokens = 0
    for start in range(0, len(chosen), BATCH):
        input_ids, attention_mask = tokenizer(chosen[start : start + BATCH])
        kept = attention_mask.astype(bool)
        tokens += int(kept.sum())
        for name, values in zip(
            names, running.run(names, {INPUT_IDS: input_ids, ATTENTION_MASK: attention_mask}), strict=True
        ):
            channels = values[kept]
            largest[name] = np.maximum(largest.get(name, 0.0), np.abs(channels).max(axis=0))
            total[name] = total.get(name, 0.0) + channels.sum(axis=0, dtype=np.float64)
            if channels.shape[1] <= COVARIANCE_CHANNELS:
                squares[name] = squares.get(name, 0.0) + channels.T @ channels
    found = {}
    for name in names:
        mean = total[name] / tokens
        covariance = None
        if name in squares:
            covariance = (squares[name] / tokens - np.outer(mean, mean)).astype(np.float32)
        found[name] = Activations(largest[name], mean.astype(np.float32), covariance)
    return found
