"""In place of the export of `polytask forget`, which takes most of the time of its tests."""

import shutil
from pathlib import Path

import onnx

from polytask.contract.contract import CatalogueSpec, Contract, FileSum, load_contract
from polytask.data.catalogue import catalogue_of
from polytask.registry.trained import Version
from polytask.scenario.names import USERS
from polytask.storage.atomic import sha256_file
from serving.triton.checksums import write_sums


def forget_job_without_export(previous: Version, user: int, target: Path, log: object, finish: object) -> Contract:
    """As `polytask.jobs.forget_user.forget_job`, with the old bundle, another catalogue and another version."""
    old = load_contract(previous.bundle)
    users = previous.catalogues()[USERS]
    catalogue = catalogue_of(old.scenario, USERS, users.table[users.table["user_id"] != user])
    bundle, file = target / "bundle", old.catalogues[USERS].path
    shutil.copytree(previous.bundle, bundle)
    shutil.copytree(previous.checkpoint, target / "model")
    for path in (bundle / "priorities.parquet", bundle / file, target / "model" / "model.safetensors"):
        path.unlink()
    for model in old.models.values():
        made = onnx.ModelProto(doc_string=f"without the user, from {old.model_version}")
        onnx.save(made, bundle / model.path)
    catalogue.save(bundle / file)
    spec = CatalogueSpec(path=file, sha256=sha256_file(bundle / file), rows=len(catalogue))
    models = {
        name: FileSum(path=model.path, sha256=sha256_file(bundle / model.path)) for name, model in old.models.items()
    }
    contract = old.model_copy(
        update={
            "model_version": old.model_version // 2,
            "catalogues": {**old.catalogues, USERS: spec},
            "models": models,
            "priorities": None,
        }
    )
    contract.save(bundle)
    write_sums(bundle / "repository")
    return contract
