"""The bundle: everything that crosses from training to serving, in one folder.

contract.json
tokenizer.json
catalogues/{users,items}.parquet
priorities.parquet                                          (where they were learned)
repository/{text_encoder,multitask}/<version>/model.onnx    (and what `finish` adds)
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import onnx
import onnxruntime

from polytask.contract.contract import (
    MULTITASK,
    REPOSITORY_FOLDER,
    TEXT_ENCODER,
    TOKENIZER_FILE,
    CatalogueSpec,
    Contract,
    FileSum,
)
from polytask.contract.tensors import ALLOWED, multitask_inputs, multitask_outputs, text_inputs, text_outputs
from polytask.contract.triton_image import ONNX_RUNTIME, TRITON_IMAGE
from polytask.data.catalogue import Catalogue
from polytask.data.dataset import Dataset
from polytask.data.priorities import PRIORITIES_FILE, Priorities
from polytask.data.request import RequestEncoder, RequestFeatures
from polytask.errors import ExportError
from polytask.export.onnx import export_graph
from polytask.export.parity import check_parity
from polytask.export.serving_graph import ServingGraph
from polytask.export.skip_layer_norm import with_skip_layer_norms
from polytask.export.text_encoder import KnownEncoder, TextEncoderExport
from polytask.model.cold_start import load_cold_start
from polytask.scenario.names import ITEMS
from polytask.scenario.schema import Scenario
from polytask.storage.atomic import atomic_folder, sha256_file
from polytask.training.checkpoint import language_model_of, load_checkpoint


@dataclass(frozen=True)
class Exported:
    """The contract of a written bundle and the largest difference to torch per output."""

    contract: Contract
    parity: dict[str, float]


def export_bundle(
    checkpoint: Path,
    scenario: Scenario,
    catalogues: dict[str, Catalogue],
    requests: list[RequestFeatures],
    metrics: dict[str, dict[str, float]],
    target: Path,
    finish: Callable[[Contract, Path], None] | None = None,
    text_encoder: KnownEncoder | None = None,
    dataset: Dataset | None = None,
    gpu: bool = False,
    priorities: Priorities | None = None,
) -> Exported:
    """Write the bundle of a trained model to `target`, as a whole or not at all.

    `requests` are compared with torch before the bundle counts as done; `metrics` go into the contract.
    `finish(contract, folder)` may add files, such as the server's configuration. `text_encoder` is that of an
    earlier version with the same language model: it is taken over. `dataset` has the validation requests that a text
    encoder of less precision than float32 must pass; `gpu`: the bundle is for a GPU. Without `priorities` all tasks
    have the same weight.
    Raises ContractError when an output differs, ExportError where the installed ONNX Runtime is not the supported one.
    """
    _check_onnx_runtime()
    language_model = language_model_of(checkpoint, scenario)
    model = load_checkpoint(checkpoint, language_model.sha256)
    _, new_rows = load_cold_start(checkpoint)
    dim = language_model.dim
    with atomic_folder(target) as folder:
        staging = folder / "staging"
        precision = TextEncoderExport(scenario, language_model, model, dataset, gpu).write(
            staging / "text.onnx", text_encoder
        )
        graphs = {
            TEXT_ENCODER: staging / "text.onnx",
            MULTITASK: export_graph(
                ServingGraph(model, catalogues.get(ITEMS), new_rows.tolist()),
                multitask_inputs(model.scenario, dim),
                multitask_outputs(model.scenario, dim),
                staging / "multitask.onnx",
                {ALLOWED: len(catalogues[ITEMS]) + 1} if model.scenario.lists_items else {},
            ),
        }
        if not gpu:
            onnx.save(with_skip_layer_norms(onnx.load(graphs[MULTITASK])), graphs[MULTITASK])
        specs = {name: _save_catalogue(catalogue, folder) for name, catalogue in catalogues.items()}
        tokenizer = _copy(language_model.tokenizer_file, folder, TOKENIZER_FILE)
        learned = [] if priorities is None else [_save_priorities(priorities, folder)]
        version = _version(
            [*map(sha256_file, graphs.values()), *(file.sha256 for file in [*specs.values(), tokenizer, *learned])]
        )
        contract = Contract(
            model_version=version,
            scenario=model.scenario,
            text_dim=dim,
            max_tokens=scenario.text.max_tokens,
            text_inputs=tuple(text_inputs()),
            text_outputs=tuple(text_outputs(dim)),
            multitask_inputs=tuple(multitask_inputs(model.scenario, dim)),
            outputs=tuple(multitask_outputs(model.scenario, dim)),
            feature_service=model.scenario.feature_service,
            encoder_sha256=language_model.sha256,
            tokenizer=tokenizer,
            catalogues=specs,
            priorities=learned[0] if learned else None,
            models={name: _move(graph, folder, _model_file(name, version)) for name, graph in graphs.items()},
            metrics=metrics,
            new_items=tuple(new_rows.tolist()),
            precisions={TEXT_ENCODER: precision},
        )
        staging.rmdir()
        parity = check_parity(
            folder, contract, model, language_model, RequestEncoder(model.scenario, catalogues), requests
        )
        contract.save(folder)
        if finish is not None:
            finish(contract, folder)
    return Exported(contract, parity)


def _check_onnx_runtime() -> None:
    """Parity and precision hold for servers with the same ONNX Runtime alone."""
    if onnxruntime.__version__ != ONNX_RUNTIME:
        raise ExportError(
            f"onnxruntime {onnxruntime.__version__} is installed; a bundle is exported with {ONNX_RUNTIME}, "
            f"the version in Triton {TRITON_IMAGE}: make setup"
        )


def _version(checksums: list[str]) -> int:
    """A model version out of what is served: equal for equal contents, never reused for others (31 bits of SHA-256)."""
    return int(sha256("".join(checksums).encode()).hexdigest()[:8], 16) % (2**31 - 1) + 1


def _model_file(model: str, version: int) -> str:
    return f"{REPOSITORY_FOLDER}/{model}/{version}/model.onnx"


def _move(source: Path, folder: Path, file: str) -> FileSum:
    (folder / file).parent.mkdir(parents=True)
    source.rename(folder / file)
    return FileSum(path=file, sha256=sha256_file(folder / file))


def _copy(source: Path, folder: Path, file: str) -> FileSum:
    shutil.copyfile(source, folder / file)
    return FileSum(path=file, sha256=sha256_file(folder / file))


def _save_priorities(priorities: Priorities, folder: Path) -> FileSum:
    priorities.save(folder / PRIORITIES_FILE)
    return FileSum(path=PRIORITIES_FILE, sha256=sha256_file(folder / PRIORITIES_FILE))


def _save_catalogue(catalogue: Catalogue, folder: Path) -> CatalogueSpec:
    file = f"catalogues/{catalogue.name}.parquet"
    catalogue.save(folder / file)
    return CatalogueSpec(path=file, sha256=sha256_file(folder / file), rows=len(catalogue))
