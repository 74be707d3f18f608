"""The language model as it is served: in the precision that is wanted where that passes the gate, else in float32."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from polytask.contract.contract import GraphPrecision
from polytask.contract.tensors import ATTENTION_MASK, INPUT_IDS, TEXT_VECTOR, text_inputs, text_outputs
from polytask.data.dataset import Dataset
from polytask.errors import ExportError
from polytask.export.calibration import calibrate
from polytask.export.fp16 import in_half
from polytask.export.in_process import session
from polytask.export.onnx import export_graph
from polytask.export.precision_gate import PrecisionGate, failures
from polytask.export.quantise_int8 import quantised
from polytask.export.skip_layer_norm import shapes_of, with_skip_layer_norms
from polytask.model.multitask import MultiTaskModel
from polytask.scenario.schema import Scenario
from polytask.text.language_model import LanguageModel, TextEncoder
from polytask.text.templates import TextTokenizer, batches_by_length

ENCODE_BATCH = 32
Reduced = Literal["int8", "fp16"]


@dataclass(frozen=True)
class KnownEncoder:
    """The text encoder of an earlier version with the same language model, and the precision that it is in."""

    graph: Path
    precision: GraphPrecision


class TextEncoderExport:
    """Writes the text encoder of one model. With a data set, whose validation requests the gate evaluates, it may be of
    less precision than float32. `gpu`: whether it will mostly run on a GPU.
    """

    def __init__(
        self,
        scenario: Scenario,
        language_model: LanguageModel,
        model: MultiTaskModel,
        dataset: Dataset | None = None,
        gpu: bool = False,
    ) -> None:
        self._language_model, self._model, self._dataset, self._gpu = language_model, model, dataset, gpu
        self._threads = scenario.training.threads
        setting = scenario.export.precision
        self._wanted = ("fp16" if gpu else "int8") if setting == "auto" else setting

    def write(self, target: Path, known: KnownEncoder | None = None) -> GraphPrecision:
        """Write the ONNX file `target` and return its precision, with the reason.

        A `known` one is taken over, unless it is of less precision and fails the gate with this model.
        """
        target.parent.mkdir(parents=True, exist_ok=True)
        if known is not None:
            shutil.copyfile(known.graph, target)
            before = known.precision
            if before.precision == "fp32" or self._dataset is None:
                return before
            verdict = self._verdict(target, before.precision, self._dataset)
            if verdict.precision != "fp32":
                return verdict
        plain = write_float32(self._language_model, target, self._gpu)
        if known is not None:
            return verdict
        if self._wanted == "fp32":
            return GraphPrecision(precision="fp32", reason="set in the scenario")
        if self._dataset is None:
            return GraphPrecision(precision="fp32", reason=f"{self._wanted} was not tried: no validation requests")
        return self._reduced(plain, target, self._wanted, self._dataset)

    def _reduced(self, plain: onnx.ModelProto, target: Path, wanted: Reduced, dataset: Dataset) -> GraphPrecision:
        candidate = target.with_name(f"{wanted}.onnx")
        try:
            if wanted == "int8":
                texts = _training_texts(dataset)
                activations = calibrate(plain, self._language_model.tokenizer, texts, self._threads, candidate)
                onnx.save(with_skip_layer_norms(quantised(plain, activations), shapes_of(plain)), candidate)
            else:
                onnx.save(in_half(plain), candidate)
            verdict = self._verdict(candidate, wanted, dataset)
            if verdict.precision != "fp32":
                candidate.replace(target)
        except ExportError as error:
            return GraphPrecision(precision="fp32", reason=str(error))
        finally:
            candidate.unlink(missing_ok=True)
        return verdict

    def _verdict(self, graph: Path, precision: Reduced, dataset: Dataset) -> GraphPrecision:
        figures = PrecisionGate(dataset, self._model).figures(
            onnx_encoder(graph, self._language_model.tokenizer, self._threads)
        )
        against = failures(figures)
        if against:
            return GraphPrecision(precision="fp32", reason=f"{precision} fails the gate: {'; '.join(against)}")
        return GraphPrecision(precision=precision, reason="passes the gate", tasks=figures)


class ServedTextEncoder(nn.Module):
    """A text encoder as it is served: a token id outside of the vocabulary counts as the nearest one inside.

    In a batch of many clients one such id would fail all requests of the batch (ADR 0002).
    """

    def __init__(self, encoder: TextEncoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.last_token = int(encoder.config.vocab_size) - 1

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """`input_ids`, `attention_mask` (B, T) int64 -> text vector (B, D) float32."""
        # Max and Min rather than Clip, which TensorRT does not have for integers.
        first, last = input_ids.new_zeros(()), input_ids.new_full((), self.last_token)
        return cast(Tensor, self.encoder(torch.minimum(torch.maximum(input_ids, first), last), attention_mask))


def write_float32(language_model: LanguageModel, target: Path, gpu: bool = False) -> onnx.ModelProto:
    """Write the ONNX file `target` in float32, and return the graph before it was made faster on a CPU."""
    served = ServedTextEncoder(language_model.encoder)
    plain = onnx.load(export_graph(served, text_inputs(), text_outputs(language_model.dim), target))
    onnx.save(plain if gpu else with_skip_layer_norms(plain), target)
    return plain


def onnx_encoder(graph: Path, tokenizer: TextTokenizer, threads: int) -> Callable[[list[str]], NDArray[np.float32]]:
    """A function from texts (n,) to the vectors (n, D) that an ONNX text encoder gives them."""
    running = session(graph, threads)

    def encode(texts: list[str]) -> NDArray[np.float32]:
        vectors: dict[int, NDArray[np.float32]] = {}
        for batch in batches_by_length(texts, ENCODE_BATCH):
            input_ids, attention_mask = tokenizer([texts[number] for number in batch])
            [found] = running.run([TEXT_VECTOR], {INPUT_IDS: input_ids, ATTENTION_MASK: attention_mask})
            vectors.update(zip(batch, found, strict=True))
        return np.stack([vectors[number] for number in range(len(texts))])

    return encode


def _training_texts(dataset: Dataset) -> Sequence[str]:
    """The texts of training requests, with and without a query, in the order of the data set."""
    numbers = np.union1d(dataset.texts[dataset.train], dataset.query_texts)
    return [dataset.distinct_texts[number] for number in numbers]
