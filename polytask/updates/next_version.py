"""Export the next version of a model, and prove that outputs of existing tasks stay bit-identical."""

from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np

from polytask.contract.contract import TEXT_ENCODER, Contract, GraphPrecision, load_contract
from polytask.data.catalogue import Catalogue
from polytask.data.dataset import Dataset
from polytask.data.priorities import Priorities, load_priorities
from polytask.data.request import RequestEncoder, RequestFeatures
from polytask.errors import ContractError
from polytask.export.bundle import Exported, export_bundle
from polytask.export.parity import bundle_outputs
from polytask.export.text_encoder import KnownEncoder
from polytask.registry.trained import Version
from polytask.scenario.names import USERS
from polytask.text.templates import TextTokenizer


def export_next(
    previous: Version,
    checkpoint: Path,
    catalogues: dict[str, Catalogue],
    requests: list[RequestFeatures],
    metrics: dict[str, dict[str, float]],
    target: Path,
    finish: Callable[[Contract, Path], None] | None = None,
    priorities: Priorities | None = None,
    dataset: Dataset | None = None,
) -> Exported:
    """`export_bundle` for a model that updates `previous`, whose text encoder is reused.

    So are its users' `priorities`, where there are no newer ones. With a `dataset` a text encoder of less precision
    than float32 must pass the gate again, else float32 replaces it.
    Raises ContractError when the checkpoint was trained on another language model.
    """
    contract = previous.contract()
    precision = contract.precisions.get(TEXT_ENCODER, GraphPrecision(precision="fp32", reason="taken over"))
    text_encoder = KnownEncoder(previous.bundle / contract.models[TEXT_ENCODER].path, precision)
    learned = contract.priorities
    if priorities is None and learned is not None:
        priorities = load_priorities(previous.bundle / learned.path, catalogues[USERS])
    return export_bundle(
        checkpoint,
        contract.scenario,
        catalogues,
        requests,
        metrics,
        target,
        finish,
        text_encoder=text_encoder,
        dataset=dataset,
        priorities=priorities,
    )


def check_same_responses(old: Path, new: Path, requests: list[RequestFeatures], but: Collection[str] = ()) -> list[str]:
    """Run two bundles on the same requests: every output of `old`, except `but`, must be in `new`, bit-identical.

    Returns the names of these outputs. Raises ContractError naming the first output, request and both values.
    """
    before, after = (_answers(bundle, requests) for bundle in (old, new))
    names = [name for name in before if name not in but]
    for name in names:
        want = before[name]
        if name not in after:
            raise ContractError(f"{name}: is not an output of {new}, but of {old}")
        got = after[name]
        if got.shape != want.shape or got.dtype != want.dtype:
            raise ContractError(f"{name}: {new} has {got.dtype} {got.shape}, {old} has {want.dtype} {want.shape}")
        different = np.argwhere(got != want)
        if len(different):
            at = tuple(different[0])
            raise ContractError(f"{name}: {new} returns {got[at]}, {old} returns {want[at]} (request {at[0]})")
    return names


def _answers(bundle: Path, requests: list[RequestFeatures]) -> dict[str, np.ndarray]:
    contract = load_contract(bundle)
    catalogues = Version(bundle, bundle).catalogues()
    tokenizer = TextTokenizer(bundle / contract.tokenizer.path, contract.max_tokens)
    return bundle_outputs(bundle, contract, tokenizer, RequestEncoder(contract.scenario, catalogues), requests)
