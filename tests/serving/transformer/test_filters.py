"""Filters on item attributes: what passes, what is refused, and that the answer is the best of what is allowed."""

import asyncio
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from polytask.catalogue import catalogues_of
from polytask.contract import MULTITASK, RECOMMENDER, TEXT_ENCODER, load_contract
from polytask.errors import RequestError
from polytask.export.in_process import session
from polytask.scenario import Scenario
from polytask.tables import Tables
from polytask.tensors import MASKED_SCORE
from serving.transformer.bundle import load_bundle
from serving.transformer.features import OnlineFeatures
from serving.transformer.filters import ItemFilters, best_allowed, filterable
from serving.transformer.metrics import Metrics
from serving.transformer.recommend import Recommender
from serving.transformer.wire import InputTensor

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
    ("asked", "test"),
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
def test_what_passes(filters: ItemFilters, tables: Tables, asked: list[str], test: Any):
    expected = passing(tables, test)
    assert 0 < len(expected) < len(tables.items)
    assert np.flatnonzero(filters.allowed(asked)).tolist() == expected


def _year(item: dict[str, Any]) -> int:
    """0 for a missing one: some items have none, and they pass no range."""
    return item["year"] if isinstance(item["year"], int) else 0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("genre=Horror", r"'genre=Horror' names no attribute .* year=low\.\.high, genres=value\|value"),
        ("title=Dawn", "names no attribute"),
        ("genres", "names no attribute"),
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


def test_the_best_allowed_rows_are_those_of_a_full_sort():
    random = np.random.default_rng(3)
    for count in (1, 5, 40):
        scores = random.integers(-3, 4, (6, 31)).astype(np.float32)  # many ties
        scores[:, 0] = scores[:, 7] = MASKED_SCORE
        allowed = random.random(31) < 0.5
        rows, kept = best_allowed(scores, allowed, count)
        for row in range(6):
            order = [r for r in np.argsort(-scores[row], kind="stable") if allowed[r] and r not in (0, 7)][:count]
            padding = count - len(order)
            assert rows[row].tolist() == [*order, *[0] * padding]
            assert kept[row].tolist() == [*scores[row][order].tolist(), *[MASKED_SCORE] * padding]


class Store:
    in_loop = None

    def read(self, users: Any, moments: Any) -> list[OnlineFeatures]:
        words = {"daypart": "night", "weekpart": "weekday"}
        return [
            OnlineFeatures({"age": user, "occupation": "writer"}, words, (7, 14, 21), (7, 14, 21)) for user in users
        ]


class OnnxPredictor:
    """The graphs of a bundle in this process; `asked` notes the outputs that were wanted."""

    def __init__(self, folder: Path) -> None:
        contract = load_contract(folder)
        self.sessions = {name: session(folder / file.path, 1) for name, file in contract.models.items()}
        self.asked: list[str] = []
        self.inputs: dict[str, Any] = {}

    async def infer(self, model: str, inputs: Any, outputs: Any, deadline: Any) -> dict[str, Any]:
        feeds = dict(inputs)
        if model == RECOMMENDER:
            texts = {name: feeds.pop(name) for name in ("input_ids", "attention_mask")}
            feeds["text_vector"] = self.sessions[TEXT_ENCODER].run(["text_vector"], texts)[0]
            model = MULTITASK
        if model == MULTITASK:
            self.asked, self.inputs = [name for name in outputs if name != "encoded_text"], feeds
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


def test_a_filtered_answer_is_the_best_of_all_allowed_items(small_bundle: Path, tables: Tables):
    """Against brute force: a trained model's scores of every item, what a user has seen and what is not allowed out."""
    predictor = OnnxPredictor(small_bundle)
    users = [30, 50]
    got = answer(small_bundle, predictor, users, filters=["genres=Horror|Western", "year=1955..1985"], k=[10])
    assert predictor.asked == ["user_ids", "user_scores", "scene_scores", "item_all_scores"]
    every = predictor.sessions[MULTITASK].run(["item_all_scores"], predictor.inputs)[0]
    allowed = passing(tables, lambda i: {"Horror", "Western"} & set(i["genres"]) and 1955 <= _year(i) <= 1985)
    for row in range(len(users)):
        ranked = sorted((r for r in allowed if r not in (1, 2, 3)), key=lambda r: (-every[row, r], r))[:10]
        assert len(ranked) == 10
        assert got["item_ids"][row].tolist() == [7 * r for r in ranked]
        np.testing.assert_allclose(got["item_scores"][row], every[row, ranked])
    plain = answer(small_bundle, predictor, users, k=[10])
    assert predictor.asked == ["item_ids", "item_scores", "user_ids", "user_scores", "scene_scores"]
    assert not np.array_equal(plain["item_ids"], got["item_ids"])
    for name in ("user_ids", "scene_scores"):
        np.testing.assert_array_equal(plain[name], got[name])


def test_a_filter_that_passes_all_changes_nothing(small_bundle: Path):
    """Every item has a genre: this holds the lists of the graph and those made here against each other."""
    predictor = OnnxPredictor(small_bundle)
    plain = answer(small_bundle, predictor, [30], k=[10])
    got = answer(small_bundle, predictor, [30], filters=["genres=" + "|".join(GENRES)], k=[10])
    for name in ("item_ids", "item_scores"):
        np.testing.assert_array_equal(plain[name], got[name])


def test_a_bundle_of_before_answers_and_refuses_filters(small_bundle: Path, tmp_path: Path):
    folder = shutil.copytree(small_bundle, tmp_path / "old")
    contract = load_contract(folder)
    contract.model_copy(update={"outputs": tuple(contract.answers)}).save(folder)
    predictor = OnnxPredictor(small_bundle)
    assert answer(folder, predictor, [30])["item_ids"].shape == (1, 10)
    with pytest.raises(RequestError, match="filters: the served model was exported before"):
        answer(folder, predictor, [30], filters=["genres=Horror"])
