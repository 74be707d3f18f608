"""`polytask demo` on the small scenario: the whole chain with real Feast, kfp, Triton and KServe, twice."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.pipelines.steps import NEVER_CACHED, STEPS


def run_demo(scenario: Path, folder: Path) -> tuple[str, dict[str, Any]]:
    command = [sys.executable, "-m", "polytask", "demo", "--scenario", str(scenario), "--workspace", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False, env=dict(os.environ))
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout, json.loads((folder / "summary.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def runs(small_scenario_file: Path, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("demo") / "out"
    return [run_demo(small_scenario_file, folder) for _ in range(2)]


@pytest.mark.timeout(900)
def test_the_first_run_makes_everything(runs: list[tuple[str, dict[str, Any]]]) -> None:
    output, summary = runs[0]
    assert summary["scenario"] == "small"
    assert set(summary["seconds"]) >= STEPS
    assert {"ndcg@10", "hr@10", "mrr"} <= set(summary["metrics"]["item"])
    assert {"precision@10", "excess_precision@10", "coverage"} <= set(summary["metrics"]["user"])
    assert {"ndcg@5", "hr@1"} <= set(summary["metrics"]["scene"])
    assert {"popularity", "markov"} <= set(summary["baselines"]["item"])
    assert [path for path in map(Path, summary["artifacts"].values()) if not path.exists()] == []
    assert len(summary["answers"]) == 4
    assert "a scary ghost story" in output


@pytest.mark.timeout(900)
def test_every_data_set_and_model_says_where_it_comes_from(runs: list[tuple[str, dict[str, Any]]]) -> None:
    found = artefacts(Path(runs[0][1]["artifacts"]["pipeline_log"]).parent)
    lineages = {name: a["metadata"].get("lineage") for name, a in found.items() if a["schema_title"] in LABELLED}
    assert set(lineages) == {"tables", "training_set", "model", "bundle"}
    keys = {"scenario", "data_sha256", "feature_service", "encoder", "git_commit", "parent_model"}
    assert {name: set(lineage or {}) for name, lineage in lineages.items()} == dict.fromkeys(lineages, keys)
    # A model is labelled with the training set that it saw, and its bundle with what the model is.
    assert lineages["model"]["data_sha256"] == lineages["training_set"]["data_sha256"]
    assert lineages["model"] == lineages["bundle"]
    assert lineages["model"]["parent_model"] == "none"
    assert lineages["tables"]["data_sha256"] != lineages["training_set"]["data_sha256"]


@pytest.mark.timeout(900)
def test_the_pages_of_the_user_interface_are_written(runs: list[tuple[str, dict[str, Any]]]) -> None:
    found = artefacts(Path(runs[0][1]["artifacts"]["pipeline_log"]).parent)
    assert found["report"]["schema_title"] == "system.HTML"
    assert "quality of the recommendations" in Path(found["report"]["uri"]).read_text(encoding="utf-8")
    assert found["statistics"]["schema_title"] == "system.Markdown"
    assert "| interactions |" in Path(found["statistics"]["uri"]).read_text(encoding="utf-8")
    assert found["tables"]["metadata"]["users_rows"] == 30
    assert found["metrics"]["metadata"]["item ndcg@10"] == runs[0][1]["metrics"]["item"]["ndcg@10"]


LABELLED = {"system.Dataset", "system.Model"}


def artefacts(root: Path) -> dict[str, Any]:
    """The artefacts by name that the cached steps handed over, as the local runner keeps them."""
    entries = [json.loads(path.read_text(encoding="utf-8")) for path in (root / ".kfp_cache").glob("*.json")]
    return {name: a for entry in entries for name, a in entry.items() if isinstance(a, dict) and "uri" in a}


@pytest.mark.timeout(900)
def test_the_second_run_reuses_the_steps_and_answers_the_same(runs: list[tuple[str, dict[str, Any]]]) -> None:
    (_, first), (output, second) = runs
    assert set(second["reused"]) == STEPS - NEVER_CACHED
    assert "reused from an earlier run" in output
    assert second["metrics"] == first["metrics"]
    assert [_ids(answer) for answer in second["answers"]] == [_ids(answer) for answer in first["answers"]]


def _ids(answer: dict[str, Any]) -> str:
    return json.dumps(answer["tasks"], sort_keys=True).split('"score"')[0]


def test_a_wrong_scenario_ends_with_one_line_and_exit_code_1(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "polytask", "demo", "--scenario", "nonsense", "--workspace", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: scenario 'nonsense' is not known")
    assert len(done.stderr.strip().splitlines()) == 1
