"""A workspace as the demo leaves it, with one user whom no other number or word resembles, and a search for it."""

import json
import struct
from collections.abc import Iterator
from pathlib import Path

import onnx
import pandas as pd
import pyarrow.parquet as pq
import typer
from safetensors.numpy import load_file
from typer.testing import CliRunner

from feature_repo.apply import build_store
from feature_repo.training_set import build_training_set
from pipelines.commands.forget import forget
from polytask.contract.contract import REPOSITORY_FOLDER, TEXT_ENCODER
from polytask.data.catalogue import catalogues_of, load_catalogue
from polytask.data.priorities import equal_priorities
from polytask.data.request import RequestFeatures
from polytask.data.tables import read_tables
from polytask.export.bundle import export_bundle
from polytask.export.text_encoder import KnownEncoder
from polytask.ingest import ingest
from polytask.jobs.train import train_model
from polytask.registry.folder import FolderRegistry
from polytask.scenario import load_scenario
from polytask.scenario.names import USERS
from polytask.scenario.schema import Export
from serving.rollout.publish import publish
from serving.triton.repository import write_repository
from tests.small import write_small_scenario

USER = 987_654_321
WORD = "lighthousekeeperzyx"
OTHER = 40


def write_scenario(folder: Path) -> Path:
    """The small scenario's tables, in which user 20 has another key and an occupation of its own."""
    folder.mkdir()
    file = write_small_scenario(folder)
    for name in ("users", "interactions"):
        table = pd.read_csv(folder / f"{name}.csv", dtype=str)
        one = table["user_id"] == "20"
        table.loc[one, "user_id"] = str(USER)
        if name == "users":
            table.loc[one, "occupation"] = WORD
        table.to_csv(folder / f"{name}.csv", index=False)
    return file


def build_workspace(file: Path, workspace: Path) -> Path:
    """Run the steps of the pipeline, publish two versions, and leave what the commands leave; the scenario's folder."""
    scenario = load_scenario(file)
    folder = workspace / scenario.name
    run = folder / "pipeline" / "train-and-deploy-1"
    tables, training_set = run / "ingest" / "tables", run / "build-training-set" / "training_set"
    ingest(scenario, tables)
    store = build_store(scenario, tables, folder / "feature_store")
    training_set.parent.mkdir(parents=True)
    build_training_set(store, scenario, read_tables(tables).interactions, training_set)
    encoder = None
    for number, seed in enumerate((3, 4), start=1):
        training = scenario.training.model_copy(update={"seed": seed, "epochs": 1})
        seeded = scenario.model_copy(update={"training": training, "export": Export(precision="fp32")})
        model, bundle = run / f"train-{number}" / "model", run / f"export-{number}" / "bundle"
        train_model(seeded, tables, training_set, model, lambda _: None)
        catalogues = catalogues_of(seeded, read_tables(tables))
        exported = export_bundle(
            model,
            seeded,
            catalogues,
            [RequestFeatures()],
            {"item": {"ndcg@10": 0.25}},
            bundle,
            lambda contract, place: write_repository(contract, place / REPOSITORY_FOLDER),
            text_encoder=encoder,
            priorities=equal_priorities(catalogues[USERS], ["item", "user", "scene"]),
        )
        contract = exported.contract
        encoder = KnownEncoder(bundle / contract.models[TEXT_ENCODER].path, contract.precisions[TEXT_ENCODER])
        publish(bundle, folder / "published", model)
    (run / "evaluate").mkdir()
    (run / "evaluate" / "report").write_text(f"<p>user {USER}: 30 year old {WORD}</p>", encoding="utf-8")
    (folder / "pipeline" / ".kfp_cache").mkdir()
    (folder / "serve").mkdir()
    (folder / "serve" / "transformer.log").write_text(f'{{"reason": "user: {USER} has no history"}}\n')
    (folder / "serve" / "triton.log").write_text("started\n")
    summary = {"answers": [{"user": USER, "tasks": {}}], "seconds": {"total": 7.5}}
    for path in (folder / "summary.json", workspace / "summary.json"):
        path.write_text(json.dumps(summary), encoding="utf-8")
    (folder / f"{scenario.name}.resume.safetensors").write_bytes(b"user vectors")
    return folder


def run(place: Path, *arguments: str, user: object = USER) -> str:
    """Run `polytask forget` on a copy of the workspace; its output."""
    app = typer.Typer()
    app.command()(forget)
    options = ["--user", user, "--scenario", place / "data" / "small.yaml", "--workspace", place / "workspace"]
    options += ["--evaluation", place / "eval"]
    result = CliRunner(env={"COLUMNS": "80"}).invoke(app, [str(word) for word in (*options, *arguments)])
    if result.exception is not None:
        raise result.exception
    return result.output


def registry(place: Path) -> FolderRegistry:
    """The published versions of the workspace."""
    return FolderRegistry(place / "workspace" / "small" / "published")


def vectors(place: Path) -> list[bytes]:
    """The user's vector in every checkpoint of the workspace, see `user_vectors`."""
    bundle = registry(place).folder / "current"
    users = load_catalogue(load_scenario(place / "data" / "small.yaml"), USERS, bundle / "catalogues" / "users.parquet")
    return user_vectors(registry(place).folder, users.row(USER))


def traces_of_user(folder: Path, vectors: list[bytes]) -> list[str]:
    """Every file below `folder` in which the key, the profile's word or one of the user's vectors can be found."""
    return [f"{path.relative_to(folder)}: {what}" for path in files(folder) for what in _traces(path, vectors)]


def files(folder: Path) -> Iterator[Path]:
    yield from (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink())


def user_vectors(published: Path, row: int) -> list[bytes]:
    """The user's vector in every checkpoint, as bytes: also of the ONNX files that were exported from them."""
    return [
        load_file(path)["user_table.weight"][row].tobytes()
        for path in sorted(published.glob("checkpoints/*/model.safetensors"))
    ]


def _traces(path: Path, vectors: list[bytes]) -> Iterator[str]:
    content = path.read_bytes()
    for name, pattern in (
        ("key", str(USER).encode()),
        ("key in bytes", struct.pack("<q", USER)),
        ("profile", WORD.encode()),
    ):
        if pattern in content:
            yield name
    if any(vector in stored for vector in vectors for stored in (content, *_transposed(path))):
        yield "vector"
    if content.startswith(b"PAR1"):
        text = pq.read_table(path).to_pandas().to_csv()
        yield from (f"{word} in a column" for word in (str(USER), WORD) if word in text)


def _transposed(path: Path) -> Iterator[bytes]:
    """The matrices of an ONNX file by column: the served graph multiplies with the transposed table."""
    if path.suffix == ".onnx":
        for constant in onnx.load(path).graph.initializer:
            if len(constant.dims) == 2:
                yield onnx.numpy_helper.to_array(constant).T.tobytes()
