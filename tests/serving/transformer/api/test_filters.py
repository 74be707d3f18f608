"""Filters on item attributes: which pass, which are refused, and that the best allowed items are recommended."""

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from polytask.contract.contract import MULTITASK, RECOMMENDER, TEXT_ENCODER, load_contract
from polytask.data.catalogue import catalogues_of
from polytask.data.tables import Tables
from polytask.errors import RequestError
from polytask.export.in_process import session
from polytask.scenario import Scenario
from serving.transformer.api.filters import ItemFilters, filterable
from serving.transformer.api.wire import InputTensor
from serving.transformer.bundle import load_bundle
from serving.transformer.features.reader import OnlineFeatures
from serving.transformer.observability.metrics import Metrics
from serving.transformer.recommender import Recommender

GENRES = ("Comedy", "Drama", "Horror", "Western")


@pytest.fixture
def filters(small_scenario: Scenario, tables: Tables) -> ItemFilters:
    return ItemFilters(small_scenario, catalogues_of(small_scenario, tables)["items"])


def passing(tables: Tables, test: Any) -> list[int]:
    """Rows of the items whose record passes, counted from 1."""
    return [row for row, item in enumerate(tables.items.to_dict("records"), start=1) if test(item)]


def test_the_attributes_are_the_columns_without_the_name(small_scenario: Scenario):
    assert list(filterable(small_scenario)) == ["year", "genres"]


@pytest.mark.parametrize(
    ("requested", "test"),
    [
        (["genres=Horror"], lambda item: "Horror" in item["genres"]),
        (["genres=Horror|Comedy"], lambda item: {"Horror", "Comedy"} & set(item["genres"])),
        (["genres=Horror", "genres=Comedy"], lambda item: {"Horror", "Comedy"} <= set(item["genres"])),
        (["year=1960..1969"], lambda item: 1960 <= _year(item) <= 1969),
        (["year=1960.."], lambda item: _year(item) >= 1960),
        (["year=..1960"], lambda item: 0 < _year(item) <= 1960),
        (["year=1960"], lambda item: _year(item) == 1960),
        (["year=1960..", "genres=Drama"], lambda item: _year(item) >= 1960 and "Drama" in item["genres"]),
    ],
)
def test_what_passes(filters: ItemFilters, tables: Tables, requested: list[str], test: Any):
    expected = passing(tables, test)
    assert 0 < len(expected) < len(tables.items)
    assert np.flatnonzero(filters.allowed(requested)).tolist() == expected


def _year(item: dict[str, Any]) -> int:
    """0 for a missing one: some items have none, and they pass no range."""
    return item["year"] if isinstance(item["year"], int) else 0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("genre=Horror", r"'genre=Horror' names no attribute .* year=low\.\.high, genres=value\|value"),
        ("title=Dawn", "names no attribute"),
        ("genres", r"'genres', allowed: year=low\.\.high, genres=value\|value"),
        ("genres=Horor", "genres has no value 'Horor', allowed: Comedy, Drama, Horror, Western"),
        ("genres=", "no value ''"),
        ("year=Horror", r"allowed: year=low\.\.high"),
        ("year=1999..1990", r"allowed: year=low\.\.high"),
        ("year=nan", r"allowed: year=low\.\.high"),
        ("year=", r"allowed: year=low\.\.high"),
    ],
)
def test_a_wrong_filter_says_what_is_allowed(filters: ItemFilters, text: str, says: str):
    with pytest.raises(RequestError, match=says) as caught:
        filters.allowed([text])
    assert caught.value.field == "filters"


class Store:
    in_loop = None

    def read(self, users: Any, moments: Any) -> list[OnlineFeatures]:
        words = {"daypart": "night", "weekpart": "weekday"}
        return [
            OnlineFeatures({"age": user, "occupation": "writer"}, words, (7, 14, 21), (7, 14, 21)) for user in users
        ]


class OnnxPredictor:
    """The graphs of a bundle in this process; `requested` records the requested outputs."""

    def __init__(self, folder: Path) -> None:
        contract = load_contract(folder)
        self.sessions = {name: session(folder / file.path, 1) for name, file in contract.models.items()}
        self.requested: list[str] = []
        self.inputs: dict[str, Any] = {}

    async def infer(self, model: str, inputs: Any, outputs: Any, deadline: Any) -> dict[str, Any]:
        feeds = dict(inputs)
        if model == RECOMMENDER:
            texts = {name: feeds.pop(name) for name in ("input_ids", "attention_mask")}
            feeds["text_vector"] = self.sessions[TEXT_ENCODER].run(["text_vector"], texts)[0]
            model = MULTITASK
        if model == MULTITASK:
            self.requested, self.inputs = [name for name in outputs if name != "encoded_text"], feeds
        return dict(zip(outputs, self.sessions[model].run(list(outputs), feeds), strict=True))


def answer(folder: Path, predictor: OnnxPredictor, users: list[int], **inputs: Any) -> dict[str, Any]:
    tensors = [InputTensor("user_id", "INT64", [len(users), 1], data=users)]
    for name, values in inputs.items():
        tensors.append(InputTensor(name, "INT64" if name == "k" else "BYTES", [len(values)], data=values))
    recommender = Recommender(load_bundle(folder), Store(), predictor, Metrics(CollectorRegistry()), 20, text_cache=10)

    async def run() -> Any:
        prepared = await recommender.prepare(tensors, [], now=0)
        return recommender.answer(prepared, await recommender.predict(prepared))

    return {tensor.name: tensor.values for tensor in asyncio.run(run())}


def scores_of_every_item(predictor: OnnxPredictor) -> np.ndarray:
    """(B, N + 1), by allowing one item at a time."""
    rows = predictor.inputs["allowed"].shape[1]
    found = [
        predictor.sessions[MULTITASK].run(
            ["item_scores"], {**predictor.inputs, "allowed": np.arange(rows)[None].repeat(2, axis=0) == row}
        )[0][:, 0]
        for row in range(rows)
    ]
    return np.stack(found, axis=1)


def test_a_filtered_answer_is_the_best_of_all_allowed_items(small_bundle: Path, tables: Tables):
    """Against brute force: a trained model's scores of every item, what a user has seen and what is not allowed out."""
    predictor = OnnxPredictor(small_bundle)
    users = [30, 50]
    got = answer(small_bundle, predictor, users, filters=["genres=Horror|Western", "year=1955..1985"], k=[10])
    assert predictor.inputs["allowed"].shape == (2, len(tables.items) + 1)
    every = scores_of_every_item(predictor)
    allowed = passing(tables, lambda i: {"Horror", "Western"} & set(i["genres"]) and 1955 <= _year(i) <= 1985)
    for row in range(len(users)):
        ranked = sorted((r for r in allowed if r not in (1, 2, 3)), key=lambda r: (-every[row, r], r))[:10]
        assert len(ranked) == 10
        assert got["item_ids"][row].tolist() == [7 * r for r in ranked]
        np.testing.assert_allclose(got["item_scores"][row], every[row, ranked])
    plain = answer(small_bundle, predictor, users, k=[10])
    assert predictor.inputs["allowed"].tolist() == [[True], [True]]
    assert not np.array_equal(plain["item_ids"], got["item_ids"])
    for name in ("user_ids", "scene_scores"):
        np.testing.assert_array_equal(plain[name], got[name])


def test_a_filter_sends_no_mask_where_no_list_of_items_is_wanted(small_bundle: Path):
    predictor = OnnxPredictor(small_bundle)
    answer(small_bundle, predictor, [30], filters=["genres=Horror"], tasks=["scene", "user"])
    assert predictor.inputs["allowed"].tolist() == [[True]]


def test_a_filter_that_passes_all_changes_nothing(small_bundle: Path):
    """Every item has a genre."""
    predictor = OnnxPredictor(small_bundle)
    plain = answer(small_bundle, predictor, [30], k=[10])
    got = answer(small_bundle, predictor, [30], filters=["genres=" + "|".join(GENRES)], k=[10])
    for name in ("item_ids", "item_scores"):
        np.testing.assert_array_equal(plain[name], got[name])
