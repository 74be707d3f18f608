"""Compare every output of the exported graphs with torch on the same requests; a difference stops the export."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import torch
from numpy.typing import NDArray

from polytask.contract import MULTITASK, TEXT_ENCODER, Contract
from polytask.errors import ContractError
from polytask.export.serving_graph import ServingGraph
from polytask.language_model import LanguageModel
from polytask.model.multitask import MultiTaskModel
from polytask.request import RequestEncoder, RequestFeatures
from polytask.tensors import ATTENTION_MASK, INPUT_IDS, TEXT_VECTOR
from polytask.text import TextTokenizer

SCORE_TOLERANCE = 1e-5
Arrays = dict[str, NDArray[Any]]


def execution_providers() -> list[str]:
    """The execution providers to use, best first: CUDA where onnxruntime-gpu and a GPU are there, then the CPU."""
    available = ort.get_available_providers()
    return [name for name in ("CUDAExecutionProvider", "CPUExecutionProvider") if name in available]


def session(path: Path, threads: int) -> ort.InferenceSession:
    """An ONNX Runtime session that does not spin: on shared cores, spinning threads cost twice the time."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(str(path), options, providers=execution_providers())


def check_parity(
    bundle: Path,
    contract: Contract,
    model: MultiTaskModel,
    language_model: LanguageModel,
    encoder: RequestEncoder,
    requests: list[RequestFeatures],
) -> dict[str, float]:
    """The largest difference per output over `requests`, from token ids to answers; `outputs_of` says between what.

    Row numbers must be equal; scores may differ by `SCORE_TOLERANCE`, relative above 1. Raises ContractError naming
    the output, the request and both values.
    """
    expected, actual = outputs_of(bundle, contract, model, language_model, encoder, requests)
    worst: dict[str, float] = {}
    for name, want in expected.items():
        got = actual[name]
        if want.shape != got.shape or want.dtype != got.dtype:
            raise ContractError(f"{name}: ONNX has {got.dtype} {got.shape}, torch has {want.dtype} {want.shape}")
        difference = np.abs(got - want) / np.maximum(1.0, np.abs(want))
        worst[name] = float(difference.max())
        if worst[name] > (0 if want.dtype == np.int64 else SCORE_TOLERANCE):
            at = np.unravel_index(int(difference.argmax()), difference.shape)
            raise ContractError(f"{name}: ONNX answers {got[at]}, torch answers {want[at]} (request {at[0]})")
    return worst


def outputs_of(
    bundle: Path,
    contract: Contract,
    model: MultiTaskModel,
    language_model: LanguageModel,
    encoder: RequestEncoder,
    requests: list[RequestFeatures],
) -> tuple[Arrays, Arrays]:
    """The outputs of all tasks from torch and from the bundle's ONNX files, for the same requests.

    A text encoder of less precision than float32 has passed a gate of its own: then both get the text vectors from it.
    """
    input_ids, attention_mask = language_model.tokenizer([encoder.text(request) for request in requests])
    rows = encoder.rows(requests)
    with torch.inference_mode():
        if contract.precision_of(TEXT_ENCODER) == "fp32":
            vectors = language_model.encoder(torch.from_numpy(input_ids), torch.from_numpy(attention_mask))
        else:
            graph = session(bundle / contract.models[TEXT_ENCODER].path, contract.scenario.training.threads)
            feed = {INPUT_IDS: input_ids, ATTENTION_MASK: attention_mask}
            vectors = torch.from_numpy(graph.run([TEXT_VECTOR], feed)[0])
        tensors = {name: torch.from_numpy(values) for name, values in rows.items()}
        answers = ServingGraph(model, encoder.items, contract.new_items)(**{TEXT_VECTOR: vectors}, **tensors)
    expected = {spec.name: tensor.numpy() for spec, tensor in zip(contract.outputs, answers, strict=True)}
    return expected, bundle_outputs(bundle, contract, language_model.tokenizer, encoder, requests)


def bundle_outputs(
    bundle: Path,
    contract: Contract,
    tokenizer: TextTokenizer,
    encoder: RequestEncoder,
    requests: list[RequestFeatures],
) -> Arrays:
    """The outputs of all tasks from the bundle's ONNX files."""
    threads = contract.scenario.training.threads
    input_ids, attention_mask = tokenizer([encoder.text(request) for request in requests])
    text_session = session(bundle / contract.models[TEXT_ENCODER].path, threads)
    multitask = session(bundle / contract.models[MULTITASK].path, threads)
    [text_vector] = text_session.run([TEXT_VECTOR], {INPUT_IDS: input_ids, ATTENTION_MASK: attention_mask})
    names = [spec.name for spec in contract.outputs]
    answers = multitask.run(names, {TEXT_VECTOR: text_vector, **encoder.rows(requests)})
    return dict(zip(names, answers, strict=True))
