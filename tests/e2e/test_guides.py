"""The scenarios of the guides from CSV files to predictions, with a tiny language model in place of the real one."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest

from feature_repo.apply import build_store
from feature_repo.training_set import build_training_set
from polytask.client import Question, RecommenderClient
from polytask.contract.contract import REPOSITORY_FOLDER, load_contract
from polytask.contract.tensors import multitask_outputs
from polytask.data.catalogue import catalogues_of
from polytask.data.request import RequestEncoder, requests_of
from polytask.data.splits import split_events
from polytask.data.tables import read_tables
from polytask.export.parity import bundle_outputs
from polytask.ingest.run import ingest
from polytask.jobs.export import export_model
from polytask.jobs.train import train_model
from polytask.samples.write import SAMPLES, write_sample
from polytask.scenario import Scenario, load_scenario
from polytask.text.templates import TextTokenizer
from serving.local.install import TritonInstallation
from serving.local.stack import LocalStack
from serving.triton.repository import write_repository
from tests.polytask.tiny_language_models import write_language_model
from tests.small import at


class Built(NamedTuple):
    scenario: Scenario
    store: Path
    training_set: Path
    tables: Path
    bundle: Path


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_language_model(tmp_path_factory.mktemp("model"), "bert")


@pytest.fixture(scope="module")
def build(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory):
    """Name -> everything from the CSV files to the bundle, made once."""
    made: dict[str, Built] = {}

    def once(name: str) -> Built:
        if name not in made:
            made[name] = _built(name, tiny_model, tmp_path_factory.mktemp(name))
        return made[name]

    return once


def _built(name: str, model: Path, folder: Path) -> Built:
    write_sample(name, folder / "csv")
    scenario = at(
        load_scenario(name),
        folder / "csv",
        encoder={"model": str(model)},
        training={"epochs": 6, "batch_size": 48, "learning_rate": 0.01, "threads": 1},
        export={"precision": "fp32"},
    )
    tables, training_set = folder / "tables", folder / "training_set.parquet"
    ingest(scenario, tables)
    store = build_store(scenario, tables, folder / "store")
    build_training_set(store, scenario, read_tables(tables).interactions, training_set)
    train_model(scenario, tables, training_set, folder / "model", lambda line: None)
    evaluation = folder / "evaluation.json"
    evaluation.write_text(json.dumps({"test": {"metrics": {}}}))
    export_model(
        scenario,
        tables,
        training_set,
        folder / "model",
        evaluation,
        folder / "bundle",
        lambda contract, place: write_repository(contract, place / REPOSITORY_FOLDER),
    )
    return Built(scenario, store, training_set, tables, folder / "bundle")


@pytest.mark.parametrize("name", SAMPLES)
def test_a_guide_runs_from_its_tables_to_answers(build, name: str):
    """Send the tables' own test requests through the exported files: every task ranks better than random."""
    built = build(name)
    scenario, contract = built.scenario, load_contract(built.bundle)
    rows = pd.read_parquet(built.training_set)
    test = rows[(split_events(scenario, rows) == "test").to_numpy()]
    encoder = RequestEncoder(scenario, catalogues_of(scenario, read_tables(built.tables)))
    tokenizer = TextTokenizer(built.bundle / contract.tokenizer.path, contract.max_tokens)
    outputs = bundle_outputs(built.bundle, contract, tokenizer, encoder, requests_of(scenario, test))
    assert set(outputs) == {spec.name for spec in multitask_outputs(scenario, contract.text_dim)}
    listed = next(task for task in scenario.tasks if task.catalogue == "items")
    wanted = encoder.items.rows(test[scenario.items.key])
    found = (outputs[f"{listed.name}_ids"][:, :10] == wanted[:, None]).any(axis=1)
    assert found.mean() > 1.5 * 10 / len(encoder.items)


@pytest.fixture(scope="module")
def city(
    build, triton_installation: TritonInstallation, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RecommenderClient]:
    built = build("smart_city")
    logs = tmp_path_factory.mktemp("logs")
    with (
        LocalStack(built.bundle, built.store, installation=triton_installation, logs=logs) as stack,
        RecommenderClient(stack.grpc_url) as client,
    ):
        yield client


def scenes(client: RecommenderClient, **context: str) -> np.ndarray:
    """Mean score of each scene over 30 residents, in the order of the classes."""
    classes = load_scenario("smart_city").task("scene").classes
    answers = client.recommend_many([Question(user, context=context) for user in range(1, 31)], tasks=["scene"])
    labels = [{entry.label: entry.score for entry in answer.tasks["scene"]} for answer in answers]
    return pd.Series({name: np.mean([row[name] for row in labels]) for name in classes})


def test_the_weather_changes_the_scene(city: RecommenderClient):
    """As planted: rain sends people to museums, heat into the water; a place shows as well."""
    rain, heat, sun = (scenes(city, place="home", weather=weather) for weather in ("rain", "heat", "sun"))
    assert (rain.idxmax(), heat.idxmax(), sun.idxmax()) == ("Museums", "Swimming", "Parks")
    station = scenes(city, place="station", weather="rain")
    assert station["Transport"] > 3 * rain["Transport"]


def test_context_counts_for_its_own_row(city: RecommenderClient):
    questions = [Question(1, context={"weather": "rain"}), Question(1), Question(1, context={"weather": "heat"})]
    together = city.recommend_many(questions, tasks=["scene"])
    alone = [city.recommend_many([question], tasks=["scene"])[0] for question in questions]
    assert [answer.tasks for answer in together] == [answer.tasks for answer in alone]
    assert len({answer.tasks["scene"][0].score for answer in together}) == 3
