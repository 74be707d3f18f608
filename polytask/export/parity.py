"""Compare every output of the exported graphs with torch on the same requests; a difference stops the export."""

from pathlib import Path

import numpy as np
import torch

from polytask.contract.contract import TEXT_ENCODER, Contract
from polytask.contract.tensors import ATTENTION_MASK, INPUT_IDS, TEXT_VECTOR
from polytask.data.request import RequestEncoder, RequestFeatures
from polytask.errors import ContractError
from polytask.export.in_process import Arrays, BundleModels, session
from polytask.export.serving_graph import ServingGraph
from polytask.model.multitask import MultiTaskModel
from polytask.text.language_model import LanguageModel
from polytask.text.templates import TextTokenizer

SCORE_TOLERANCE = 1e-5


def check_parity(
    bundle: Path,
    contract: Contract,
    model: MultiTaskModel,
    language_model: LanguageModel,
    encoder: RequestEncoder,
    requests: list[RequestFeatures],
) -> dict[str, float]:
    """The largest difference per output over `requests`, from token ids to predictions; `outputs_of` names the graphs.

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
            raise ContractError(f"{name}: ONNX returns {got[at]}, torch returns {want[at]} (request {at[0]})")
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
    input_ids, attention_mask = tokenizer([encoder.text(request) for request in requests])
    names = [spec.name for spec in contract.outputs]
    return BundleModels(bundle, contract).answer(input_ids, attention_mask, encoder.rows(requests), names)
