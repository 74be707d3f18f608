"""A scenario without items: the inputs of a call, and the response to a known and to an unknown key."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from polytask.data.tables import Tables
from polytask.errors import RequestError
from polytask.scenario import Scenario
from serving.transformer.api.parse import CallParser, input_types
from serving.transformer.api.wire import InputTensor
from serving.transformer.bundle import load_bundle
from serving.transformer.concurrency.deadline import Deadline
from serving.transformer.features.reader import OnlineFeatures
from serving.transformer.observability.metrics import Metrics
from serving.transformer.recommender import Recommender
from tests.serving.bundle import write_bundle

KNOWN, UNKNOWN = 7, 999


class Store:
    """Knows one note."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario

    in_loop = None

    def read(self, users: Sequence[int | str], moments: Sequence[int]) -> list[OnlineFeatures]:
        values = {"age": 40, "title": None, "note": "a sharp bread knife is good"}
        words = {"daypart": "night", "weekpart": "weekday"}
        return [
            OnlineFeatures(values if user == KNOWN else dict.fromkeys(values), words, known=user == KNOWN)
            for user in users
        ]


class TokenCounter:
    """Returns the token count of each text in every place of every output; records what the model read."""

    def __init__(self, outputs: Mapping[str, int]) -> None:
        self.widths = outputs
        self.inputs: list[list[str]] = []

    async def infer(
        self, model: str, inputs: Mapping[str, Any], outputs: Sequence[str], deadline: Deadline
    ) -> dict[str, Any]:
        self.inputs.append(sorted(inputs))
        counts = inputs["text_vector"][:, 0] if model == "multitask" else inputs["attention_mask"].sum(axis=1)
        return {name: np.tile(counts[:, None].astype(np.float32), self.widths[name]) for name in outputs}


@pytest.fixture
def folder(text_only_scenario: Scenario, notes: Tables, tmp_path: Path) -> Path:
    write_bundle(tmp_path, text_only_scenario, notes)
    return tmp_path


def users(*keys: int) -> InputTensor:
    return InputTensor("user_id", "INT64", [len(keys), 1], data=list(keys))


def test_a_call_takes_no_items(text_only_scenario: Scenario):
    assert list(input_types(text_only_scenario)) == [
        "user_id",
        "query",
        "timestamp",
        "k",
        "tasks",
        "slate",
        "task_weights",
    ]
    recent = InputTensor("recent_items", "INT64", [1, 1], data=[3])
    with pytest.raises(RequestError, match="recent_items: is not a known input, allowed: user_id, query"):
        CallParser(text_only_scenario).parse([users(KNOWN), recent], [], now=0)


def test_text_alone_is_read_and_every_kind_answers(folder: Path, text_only_scenario: Scenario):
    predictor = TokenCounter({"encoded_text": 4, "topic_scores": 3, "liked_scores": 1, "stars_values": 1})
    recommender = Recommender(
        load_bundle(folder), Store(text_only_scenario), predictor, Metrics(CollectorRegistry()), 5.0, text_cache=10
    )
    query = InputTensor("query", "BYTES", [3, 1], data=["", "", "a song"])

    async def run() -> Any:
        prepared = await recommender.prepare([users(KNOWN, UNKNOWN, UNKNOWN), query], [], now=0)
        return recommender.answer(prepared, await recommender.predict(prepared))

    answer = {tensor.name: tensor.values for tensor in asyncio.run(run())}
    assert predictor.inputs == [["attention_mask", "input_ids"]]
    assert list(answer) == [
        *("topic_labels", "topic_scores", "liked_scores", "stars_values"),
        *("cold_start", "truncated", "stale_features", "degraded"),
    ]
    assert answer["cold_start"].tolist() == [[False], [True], [True]]
    assert sorted(answer["topic_labels"][0]) == ["Garden", "Kitchen", "Music"]
    # [CLS] and [SEP] alone, [CLS] a song [SEP], and the note with the age and without a title.
    assert answer["stars_values"][1:].tolist() == [[2.0], [4.0]]
    assert answer["stars_values"][0, 0] > 8
