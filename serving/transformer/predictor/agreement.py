"""Compares the metadata of a live predictor's models with the contract."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from polytask.contract.contract import MULTITASK, RECOMMENDER, TEXT_ENCODER, Contract
from polytask.contract.tensors import TensorSpec
from polytask.errors import ContractError

# The models that the transformer calls.
MODELS = (TEXT_ENCODER, MULTITASK, RECOMMENDER)


@dataclass(frozen=True)
class PredictorModel:
    """A model as the predictor describes it: versions, and name -> (datatype, shape with the batch axis)."""

    name: str
    versions: Sequence[str]
    inputs: Mapping[str, tuple[str, Sequence[int]]]
    outputs: Mapping[str, tuple[str, Sequence[int]]]


def check_agreement(contract: Contract, served: PredictorModel) -> None:
    """Raises ContractError with both values when a model the predictor serves is not the one of the contract."""
    version = str(contract.model_version)
    if version not in served.versions:
        raise ContractError(
            f"predictor model {served.name}: serves version {', '.join(served.versions) or 'none'}, "
            f"the contract requires {version}"
        )
    inputs, outputs = {
        TEXT_ENCODER: (contract.text_inputs, contract.text_outputs),
        MULTITASK: (contract.multitask_inputs, contract.outputs),
        RECOMMENDER: (contract.ensemble_inputs, contract.ensemble_outputs),
    }[served.name]
    _compare(served.name, "input", served.inputs, inputs)
    _compare(served.name, "output", served.outputs, outputs)


def _compare(
    model: str, kind: str, served: Mapping[str, tuple[str, Sequence[int]]], expected: Sequence[TensorSpec]
) -> None:
    wanted = {spec.name: (spec.dtype, [-1, *spec.shape]) for spec in expected}
    if set(served) != set(wanted):
        raise ContractError(
            f"predictor model {model}: {kind}s {', '.join(sorted(served))}; "
            f"the contract requires {', '.join(sorted(wanted))}"
        )
    for name, (datatype, shape) in wanted.items():
        actual = (served[name][0], list(served[name][1]))
        if actual != (datatype, shape):
            raise ContractError(
                f"predictor model {model}: {kind} {name} is {actual[0]} {actual[1]}, "
                f"the contract requires {datatype} {shape}"
            )
