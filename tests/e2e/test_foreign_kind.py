"""A kind of task from another package: counts with a Poisson loss, from the label to the gRPC response.

Nothing of it is defined elsewhere in the repository. The package is three modules and an entry point, in a folder on
the path of this process and of the servers, which find it as any installed package.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import numpy as np
import pandas as pd
import pytest
import yaml

from polytask.client import Recommendations, RecommenderClient, Value
from polytask.contract.contract import REPOSITORY_FOLDER
from polytask.data.catalogue import catalogues_of
from polytask.data.tables import Tables, write_tables
from polytask.scenario import Scenario, kinds, load_scenario
from serving.local.install import TritonInstallation
from serving.local.stack import LocalStack
from tests.text_only import SCENARIO, text_only_tables, text_only_training_frame

SPEC = """
import numpy as np

from polytask.errors import DataError
from polytask.tasks.shapes import Number


class Count(Number):
    name = "count"
    summary = "how often something happens."
    learning = "poisson_kind.learning:CountLearning"
    metrics = "poisson_kind.metrics:CountMetrics"
    label_types = ("integer",)
    baselines = ("mean_count",)

    def numbers(self, task, column, hidden):
        numbers, present = super().numbers(task, column, hidden)
        if (numbers < 0).any():
            raise DataError(f"task {task.name!r}: a count below 0")
        return numbers, present

    def bounds(self, scenario, task):
        return 0.0, None

    def shown(self, value):
        return f"{value:.1f} times"


KIND = Count()
"""
LEARNING = """
import math

from torch.nn import functional as F

from polytask.tasks.classification_head import ClassificationHead
from polytask.tasks.learning import Learning


class CountLearning(Learning):
    def head(self, task, sizes):
        return ClassificationHead(sizes.fused, 1)

    def start(self, task, head, dataset):
        head.linear.bias.data.fill_(math.log(dataset.label_scale(task.name)[0]))

    def mean_loss(self, task, logits, label):
        return F.poisson_nll_loss(logits.squeeze(-1), label.float(), log_input=True)

    def predict(self, task, logits):
        return (logits.exp(),)
"""
METRICS = """
import numpy as np

from polytask.baselines.candidate import Candidate
from polytask.metrics.weighted import mean_of
from polytask.tasks.metrics import KindMetrics


def mean_count(dataset, task):
    log_mean = np.float32(np.log(dataset.label_scale(task.name)[0]))
    yield Candidate({}, lambda requests: np.full((len(requests), 1), log_mean, np.float32))


class CountMetrics(KindMetrics):
    primary = "poisson_deviance"
    lower_is_better = frozenset({"poisson_deviance"})
    units = {"poisson_deviance": "nats"}

    def statistics(self, requests, task, scores):
        log_rate, label = scores.reshape(-1).astype(np.float64), requests.labels(task).astype(np.float64)
        ratio = np.log(np.maximum(label, 1.0)) * label - label * log_rate
        return {"poisson_deviance": mean_of(2 * (ratio - label + np.exp(log_rate)))}

    def baselines(self, dataset, task):
        return {"mean_count": mean_count}

    def agreement(self, requests, task, one, other):
        return float(np.corrcoef(one.reshape(-1), other.reshape(-1))[0, 1])

    def example(self, task, scores, label):
        example = super().example(task, scores, label)
        return {**example, "value": float(np.exp(example["value"]))}
"""
METADATA = "Metadata-Version: 2.1\nName: poisson-kind\nVersion: 1.0\n"
ENTRY_POINTS = "[polytask.task_kinds]\ncount = poisson_kind.spec:KIND\n"
LABEL = {"source": "interaction", "column": "replies"}
TASK = {"name": "replies", "title": "Replies", "kind": "count", "baseline_gate": "mean_count", "label": LABEL}
SERVED = 6
# Mean number of replies by topic of the note.
RATES = {"Garden": 1.0, "Music": 4.0, "Kitchen": 12.0}


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the installed package, on the path of this process and of those that it starts."""
    site = tmp_path_factory.mktemp("site")
    modules = {"__init__": '"""Counts."""', "spec": SPEC, "learning": LEARNING, "metrics": METRICS}
    for folder, files in (
        ("poisson_kind", {f"{name}.py": content for name, content in modules.items()}),
        ("poisson_kind-1.0.dist-info", {"METADATA": METADATA, "entry_points.txt": ENTRY_POINTS}),
    ):
        (site / folder).mkdir()
        for name, content in files.items():
            (site / folder / name).write_text(content, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(site))
        patch.setenv("PYTHONPATH", str(site), prepend=os.pathsep)
        kinds.forget_entry_points()
        yield site
    kinds.forget_entry_points()
    for name in [name for name in sys.modules if name.startswith("poisson_kind")]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def tables() -> Tables:
    """The notes, with a number of replies whose mean depends on the topic; without a topic it is missing."""
    tables = text_only_tables()
    rates = tables.interactions["topic"].map(RATES)
    replies = pd.Series(np.random.default_rng(3).poisson(rates.fillna(0)), dtype="Int64").mask(rates.isna())
    return tables._replace(interactions=tables.interactions.assign(replies=replies))


@pytest.fixture(scope="module")
def scenario_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The notes' scenario with the task `topic` and a task of the foreign kind."""
    folder = tmp_path_factory.mktemp("notes")
    content = yaml.safe_load(SCENARIO.format(path=folder))
    content["entities"]["interactions"]["columns"]["replies"] = {"type": "integer", "nullable": True}
    content["tasks"] = [content["tasks"][0], TASK]
    path = folder / "notes.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def scenario(scenario_file: Path, package: Path) -> Scenario:
    return load_scenario(scenario_file)


@pytest.fixture(scope="module")
def language_model(scenario: Scenario, tmp_path_factory: pytest.TempPathFactory):
    from polytask.text.language_model import LanguageModel

    return LanguageModel(scenario, cache=tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def dataset(scenario: Scenario, tables: Tables, language_model):
    from polytask.data.dataset import Dataset

    frame, catalogues = text_only_training_frame(scenario, tables), catalogues_of(scenario, tables)
    return Dataset(scenario, frame, catalogues, lambda texts: language_model.vectors(texts)[0])


@pytest.fixture(scope="module")
def training(dataset):
    from polytask.training.loop import train

    return train(dataset, None)


@pytest.fixture(scope="module")
def checkpoint(training, language_model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from polytask.training.checkpoint import save_checkpoint

    folder = tmp_path_factory.mktemp("checkpoint") / "model"
    save_checkpoint(*training, language_model.sha256, folder)
    return folder


@pytest.fixture(scope="module")
def answers(
    checkpoint: Path,
    dataset,
    tables: Tables,
    triton_installation: TritonInstallation,
    tmp_path_factory: pytest.TempPathFactory,
) -> list[Recommendations]:
    """Responses to the first users: features from Feast, the exported model in Triton, over gRPC."""
    from feature_repo.apply import build_store
    from polytask.export.bundle import export_bundle
    from serving.triton.repository import write_repository

    folder = tmp_path_factory.mktemp("served")
    write_tables(tables, folder / "tables")
    store = build_store(dataset.scenario, folder / "tables", folder / "store")
    requests = dataset.requests(np.arange(20))
    finish = lambda contract, place: write_repository(contract, place / REPOSITORY_FOLDER)  # noqa: E731
    export_bundle(checkpoint, dataset.scenario, dataset.catalogues, requests, {}, folder / "bundle", finish)
    options = {"installation": triton_installation, "logs": folder / "logs", "deadline_seconds": 20.0}
    with LocalStack(folder / "bundle", store, **options) as stack, RecommenderClient(stack.grpc_url) as client:
        return [client.recommend(int(user), slate=3) for user in tables.users["note_id"].head(SERVED)]


def python(code: str, path: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": path}
    command = [sys.executable, "-c", dedent(code)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


def test_without_the_package_the_kind_is_refused(scenario_file: Path) -> None:
    refused = python(f"from polytask.scenario import load_scenario; load_scenario({str(scenario_file)!r})", "")
    assert "tasks.1.kind: invalid value 'count'; expected 'binary', 'co_interaction'" in refused.stderr


def test_the_schema_and_the_checks_know_the_kind_and_load_neither_torch_nor_pandas(
    scenario_file: Path, package: Path
) -> None:
    code = f"""
        import sys
        from polytask.scenario import load_scenario
        from polytask.scenario.json_schema import scenario_json_schema
        from polytask.tasks.kind import kind_of

        task = load_scenario({str(scenario_file)!r}).task("replies")
        assert "count" in scenario_json_schema()["$defs"]["Task"]["properties"]["kind"]["enum"]
        assert [spec.name for spec in kind_of(task).outputs(task)] == ["replies_values"]
        print(sorted({{"torch", "pandas", "pyarrow"}} & set(sys.modules)))
    """
    done = python(code, str(package))
    assert (done.stdout, done.returncode) == ("[]\n", 0), done.stderr


def test_its_labels_are_checked_and_masked(dataset, scenario: Scenario, tables: Tables) -> None:
    from polytask.data.labels import event_labels
    from polytask.errors import DataError

    assert int(dataset.labels["replies"].mask.sum()) == int(tables.interactions["replies"].notna().sum())
    wrong = tables.interactions.assign(replies=-1)
    with pytest.raises(DataError, match="task 'replies': a count below 0"):
        event_labels(scenario, wrong, dataset.train, dataset.catalogues)


def test_it_learns_and_is_measured_by_its_own_metric(training, checkpoint: Path, language_model, dataset) -> None:
    """Replies depend on the tokens: the deviance is far below that of the mean, which is the kind's own baseline."""
    from polytask.data.evaluation_requests import split_requests
    from polytask.evaluation.candidate import candidate_results
    from polytask.evaluation.evaluate import evaluate_splits
    from polytask.evaluation.report import render_report
    from polytask.evaluation.tuning import tuned_baselines

    model, history = training
    assert history[-1].losses["replies"] < history[0].losses["replies"]
    tuned = tuned_baselines(dataset, split_requests(dataset, "validation"))
    test = evaluate_splits(model, dataset, ("test",), tuned)["test"]
    found, baseline = test.metrics["replies"], test.baselines["replies"]["mean_count"]
    assert set(found) == {"poisson_deviance"}
    assert 0 < found["poisson_deviance"] < 0.6 * baseline["poisson_deviance"]
    page = render_report(candidate_results(model, checkpoint, dataset, language_model, tuned, resamples=20))
    assert "poisson_deviance, less is better" in page


@pytest.mark.timeout(600)
def test_the_response_has_the_rate(answers: list[Recommendations], training, dataset) -> None:
    """The value over gRPC is the rate that the trained model has for the same user."""
    import torch

    rows = dataset.events.index[dataset.events["note_id"].isin([answer.user for answer in answers])].to_numpy()
    logits = training[0].score(None, torch.from_numpy(dataset.text_vectors[dataset.texts[rows]]))["replies"]
    rates = dict(zip(dataset.events["note_id"].iloc[rows], logits.exp()[:, 0].tolist(), strict=True))
    for answer in answers:
        (found,) = answer.tasks["replies"]
        assert isinstance(found, Value)
        assert found.value == pytest.approx(rates[answer.user], rel=0.05)
        # A number has no probability to be merged by.
        assert {entry.task for entry in answer.slate} == {"topic"}
    assert np.ptp([answer.tasks["replies"][0].value for answer in answers]) > 1
