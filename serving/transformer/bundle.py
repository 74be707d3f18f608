"""What the transformer needs of an exported bundle: the contract, the tokenizer and the catalogues."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from polytask.contract.contract import CONTRACT_FILE, Contract, load_contract
from polytask.contract.tensors import multitask_inputs, multitask_outputs
from polytask.data.catalogue import Catalogue, load_catalogue
from polytask.data.priorities import Priorities, equal_priorities, load_priorities
from polytask.data.request import RequestEncoder
from polytask.errors import ContractError
from polytask.scenario.names import USERS
from polytask.storage.atomic import sha256_file
from polytask.text.templates import TextTokenizer


@dataclass(frozen=True)
class Bundle:
    """A loaded bundle. `checksum` is the contract's, which every response contains.

    `priorities` weigh all tasks alike where the bundle has none.
    """

    contract: Contract
    checksum: str
    catalogues: Mapping[str, Catalogue]
    priorities: Priorities
    tokenizer: TextTokenizer
    encoder: RequestEncoder


def load_bundle(folder: Path, contract_sha256: str | None = None) -> Bundle:
    """Read a bundle and compare it with its contract: checksums of the files, tensor names and shapes, rows.

    The model files may be absent: the predictor serves them, and `agreement.py` compares what it serves.
    `contract_sha256` is the checksum of the contract that was deployed: a bundle whose files and contract were changed
    together is none the less another one. Raises ContractError with both values where something does not match.
    """
    contract = load_contract(folder, verify_files=False)
    if contract_sha256 is not None and contract.checksum != contract_sha256:
        raise ContractError(
            f"{folder / CONTRACT_FILE}: checksum {contract.checksum}, deployed was {contract_sha256}; "
            "restore the bundle that was deployed, or roll out a new version"
        )
    for file in contract.transformer_files():
        path = folder / file.path
        if not path.is_file():
            raise ContractError(f"{path}: is missing, the contract names it with checksum {file.sha256}")
        actual = sha256_file(path)
        if actual != file.sha256:
            raise ContractError(f"{path}: checksum {actual}, the contract requires {file.sha256}")
    scenario = contract.scenario
    expected = {
        "multitask inputs": (list(contract.multitask_inputs), multitask_inputs(scenario, contract.text_dim)),
        "outputs": (list(contract.outputs), multitask_outputs(scenario, contract.text_dim)),
        "feature service": (contract.feature_service, scenario.feature_service),
        "token length": (contract.max_tokens, scenario.text.max_tokens),
    }
    for what, (written, derived) in expected.items():
        if written != derived:
            raise ContractError(f"{folder}: the contract's {what}: {written}; its scenario makes {derived}")
    catalogues = {}
    for name, spec in contract.catalogues.items():
        catalogues[name] = load_catalogue(scenario, name, folder / spec.path)
        if len(catalogues[name]) != spec.rows:
            raise ContractError(f"{folder / spec.path}: {len(catalogues[name])} rows, contract: {spec.rows}")
    return Bundle(
        contract=contract,
        checksum=contract.checksum,
        catalogues=catalogues,
        priorities=_priorities(folder, contract, catalogues[USERS]),
        tokenizer=TextTokenizer(folder / contract.tokenizer.path, contract.max_tokens),
        encoder=RequestEncoder(scenario, catalogues),
    )


def _priorities(folder: Path, contract: Contract, users: Catalogue) -> Priorities:
    if contract.priorities is None:
        return equal_priorities(users, [task.name for task in contract.scenario.tasks])
    return load_priorities(folder / contract.priorities.path, users)
