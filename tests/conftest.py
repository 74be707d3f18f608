"""Fixtures of several test folders: a small scenario with its data, written once a session."""

import atexit
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

# Set before any library reads them: two threads are all there is, and no library may phone home.
os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("FEAST_USAGE", "False")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

# A process that has imported Feast passes these on: metrics would be written to files, and add up over all tests.
os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)
os.environ.pop("PROMETHEUS_MULTIPROCESS_DIR", None)

import prometheus_client  # noqa: F401 - before Feast, which would put it into its mode for many processes

from polytask.data.catalogue import catalogues_of
from polytask.data.tables import Tables, write_tables
from polytask.environment import prepare_environment
from polytask.scenario import Scenario, load_scenario
from serving.local.install import TritonInstallation, install_triton
from tests.small import small_tables, training_frame, write_small_scenario
from tests.text_only import text_only_tables, write_text_only_scenario

if TYPE_CHECKING:  # torch takes seconds to import: only the tests that train pay for it
    from polytask.data.dataset import Dataset
    from polytask.model.multitask import MultiTaskModel
    from polytask.text.language_model import LanguageModel
    from polytask.training.loop import Epoch

prepare_environment()

# Libraries leave temporary folders behind, and so do processes that a test kills: all of them go when the tests end.
# pytest's own stay where they are, to be looked at after a failure.
os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())
_temporary = tempfile.TemporaryDirectory(prefix="polytask-tests-", ignore_cleanup_errors=True)
atexit.register(_temporary.cleanup)
os.environ["TMPDIR"] = tempfile.tempdir = _temporary.name


@pytest.fixture(scope="session")
def small_scenario_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scenario file over small CSV tables (30 users, 60 items, about 900 events)."""
    return write_small_scenario(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="session")
def small_scenario(small_scenario_file: Path) -> Scenario:
    """The small scenario, loaded."""
    return load_scenario(small_scenario_file)


@pytest.fixture(scope="session")
def tables() -> Tables:
    """The small tables in the form that ingest writes."""
    return small_tables()


@pytest.fixture(scope="session")
def text_only_scenario_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scenario file over 180 notes: no items, no history, a task of each kind but retrieval and multilabel."""
    return write_text_only_scenario(tmp_path_factory.mktemp("notes"))


@pytest.fixture(scope="session")
def text_only_scenario(text_only_scenario_file: Path) -> Scenario:
    """The notes' scenario, loaded."""
    return load_scenario(text_only_scenario_file)


@pytest.fixture(scope="session")
def notes() -> Tables:
    """The notes' tables in the form that ingest writes."""
    return text_only_tables()


@pytest.fixture(scope="session")
def ingested(tables: Tables, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small tables as an ingest folder."""
    folder = tmp_path_factory.mktemp("ingested")
    write_tables(tables, folder)
    return folder


@pytest.fixture(scope="session")
def small_store(small_scenario: Scenario, ingested: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A filled feature store over the small tables. Read only."""
    from feature_repo.apply import build_store

    return build_store(small_scenario, ingested, tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="session")
def ruled_bundle(small_scenario: Scenario, tables: Tables, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose models score by rule (tests/serving/bundle.py), so that the expected predictions are known."""
    from tests.serving.bundle import write_bundle

    folder = tmp_path_factory.mktemp("ruled")
    write_bundle(folder, small_scenario, tables)
    return folder


@pytest.fixture(scope="session")
def triton_installation() -> TritonInstallation:
    """A Triton server on this machine, installed into the cache folder on the first use."""
    return install_triton()


@pytest.fixture(scope="session")
def language_model(small_scenario: Scenario, tmp_path_factory: pytest.TempPathFactory) -> "LanguageModel":
    """The small scenario's language model, with a cache of vectors that nothing else shares."""
    from polytask.text.language_model import LanguageModel

    return LanguageModel(small_scenario, cache=tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def small_dataset(small_scenario: Scenario, tables: Tables, language_model: "LanguageModel") -> "Dataset":
    """The small tables as a data set, its training set joined in pandas."""
    from polytask.data.dataset import Dataset

    return Dataset(
        small_scenario,
        training_frame(small_scenario, tables),
        catalogues_of(small_scenario, tables),
        lambda texts: language_model.vectors(texts)[0],
    )


@pytest.fixture(scope="session")
def small_training(small_dataset: "Dataset", language_model: "LanguageModel") -> "tuple[MultiTaskModel, list[Epoch]]":
    """A model trained on the small data set, and its loss history."""
    import torch

    from polytask.text.templates import item_text
    from polytask.training.loop import train

    items = small_dataset.catalogues["items"]
    texts = [item_text(small_dataset.scenario.text, items.record(row)) for row in range(1, len(items) + 1)]
    return train(small_dataset, torch.from_numpy(language_model.vectors(texts)[0]))


@pytest.fixture(scope="session")
def small_checkpoint(
    small_training: "tuple[MultiTaskModel, list[Epoch]]",
    language_model: "LanguageModel",
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The folder of the trained small model."""
    from polytask.training.checkpoint import save_checkpoint

    folder = tmp_path_factory.mktemp("checkpoint") / "model"
    save_checkpoint(*small_training, language_model.sha256, folder)
    return folder


@pytest.fixture(scope="session")
def small_bundle(
    small_dataset: "Dataset",
    small_training: "tuple[MultiTaskModel, list[Epoch]]",
    small_checkpoint: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The exported bundle of the trained small model, with Triton's model repository in it."""
    import numpy as np

    from polytask.contract.contract import REPOSITORY_FOLDER
    from polytask.evaluation.follow_rates import learn_priorities
    from polytask.export.bundle import export_bundle
    from serving.triton.repository import write_repository

    folder = tmp_path_factory.mktemp("bundle") / "bundle"
    export_bundle(
        small_checkpoint,
        small_dataset.scenario,
        small_dataset.catalogues,
        small_dataset.requests(np.flatnonzero(small_dataset.split == "test")),
        {"item": {"ndcg@10": 0.25}},
        folder,
        lambda contract, place: write_repository(contract, place / REPOSITORY_FOLDER),
        priorities=learn_priorities(small_training[0], small_dataset),
    )
    return folder
