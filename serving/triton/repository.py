"""Write the configuration of the Triton model repository from the contract.

    text_encoder   input_ids, attention_mask                           -> text_vector
    multitask      text_vector, history, seen, user, disliked, allowed -> one tensor group per task, encoded_text
    recommender    ensemble of the two, in this order

`encoded_text` is a copy of the text vector that `multitask` read, since an ensemble cannot return what goes between its
steps.

The files are complete: Triton runs with `--disable-auto-complete-config`, and both the C++ `onnxruntime` backend and
the python-based one of `serving/triton/backend/` read them unchanged. One repository serves everywhere: a model has a
`config.pbtxt` and, for GPUs, `configs/gpu.pbtxt` and `configs/tensorrt.pbtxt` (`model_config.py`).
"""

from pathlib import Path

from polytask.contract.contract import MULTITASK, RECOMMENDER, TEXT_ENCODER, Contract
from polytask.errors import ContractError
from polytask.storage.atomic import write_text
from serving.triton.checksums import write_sums
from serving.triton.model_config import MACHINES, MODEL_FILE, THREADS, Machine, ensemble_config, onnx_config
from serving.triton.pbtxt import pbtxt

STEPS_FILE = "steps.txt"


def write_repository(contract: Contract, folder: Path, *, threads: int = THREADS) -> None:
    """Write the configurations of the three models into the repository `folder`, which holds their ONNX files already,
    and the checksums of all files.

    Args:
        contract: That of the bundle; `scenario.export.instances` is the number of instances on each device.
        folder: The repository.
        threads: Intra-op threads of each instance on a CPU.

    Raises:
        ContractError: An ONNX file of the contract's version is missing.
    """
    version = str(contract.model_version)
    for model in (TEXT_ENCODER, MULTITASK):
        path = folder / model / version / MODEL_FILE
        if not path.is_file():
            raise ContractError(f"{path}: is missing; the contract has model version {version}")
    for model in (TEXT_ENCODER, MULTITASK):
        for machine in MACHINES:
            write_text(folder / model / config_file(machine), pbtxt(onnx_config(model, contract, machine, threads)))
    write_text(folder / RECOMMENDER / config_file("default"), pbtxt(ensemble_config(contract)))
    # Triton wants the version folder of an ensemble to exist; object stores and git drop a folder without files.
    steps = f"{TEXT_ENCODER}/{version} -> {MULTITASK}/{version}\n"
    write_text(folder / RECOMMENDER / version / STEPS_FILE, steps)
    write_sums(folder)


def config_file(machine: Machine) -> str:
    """Where Triton looks for a model's configuration; one that is missing there is replaced by the default."""
    return "config.pbtxt" if machine == "default" else f"configs/{machine}.pbtxt"
