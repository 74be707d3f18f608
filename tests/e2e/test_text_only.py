"""`polytask demo` on a scenario without items: the whole chain, from two tables to responses over gRPC."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from polytask.contract.contract import load_contract
from polytask.data.catalogue import catalogues_of
from polytask.data.request import RequestEncoder, requests_of
from polytask.data.tables import read_tables
from polytask.export.parity import bundle_outputs
from polytask.text.templates import TextTokenizer
from tests.e2e.test_demo import run_demo


@pytest.fixture(scope="module")
def run(text_only_scenario_file: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any]]:
    return run_demo(text_only_scenario_file, tmp_path_factory.mktemp("demo") / "out")


@pytest.mark.timeout(600)
def test_every_kind_of_task_is_answered(run: tuple[str, dict[str, Any]]) -> None:
    output, summary = run
    assert summary["scenario"] == "notes"
    assert len(summary["answers"]) == 4
    for answer in summary["answers"]:
        assert set(answer["tasks"]) == {"topic", "liked", "stars"}
        assert sum(entry["score"] for entry in answer["tasks"]["topic"]) == pytest.approx(1, abs=1e-4)
        assert 0 < answer["tasks"]["liked"][0]["score"] < 1
    *known, requested = summary["answers"]
    assert [answer["cold_start"] for answer in known] == [False] * 3
    assert (requested["query"], requested["cold_start"]) == ("I love this pan, everything tastes better", True)
    assert "About user 1: " in output


@pytest.mark.timeout(600)
def test_served_answers_are_the_models_own(run: tuple[str, dict[str, Any]], text_only_scenario: Any) -> None:
    """Online: features from Feast, the model in Triton. Offline: the training set's rows through ONNX Runtime."""
    _, summary = run
    places = {name: Path(path) for name, path in summary["artifacts"].items()}
    known = summary["answers"][:3]
    rows = pd.read_parquet(places["training_set"]).set_index("note_id", drop=False)
    requests = requests_of(text_only_scenario, rows.loc[[answer["user"] for answer in known]])
    encoder = RequestEncoder(text_only_scenario, catalogues_of(text_only_scenario, read_tables(places["tables"])))
    contract = load_contract(places["bundle"])
    tokenizer = TextTokenizer(places["bundle"] / contract.tokenizer.path, contract.max_tokens)
    outputs = bundle_outputs(places["bundle"], contract, tokenizer, encoder, requests)
    stars = [[answer["tasks"]["stars"][0]["value"]] for answer in known]
    np.testing.assert_allclose(stars, outputs["stars_values"], atol=1e-4)
    topics = [sorted(entry["score"] for entry in answer["tasks"]["topic"]) for answer in known]
    np.testing.assert_allclose(topics, np.sort(outputs["topic_scores"], axis=1), atol=1e-4)
    assert np.ptp(outputs["stars_values"]) > 0.1
    assert json.loads(places["contract"].read_text())["model_version"] == int(known[0]["model_version"])
