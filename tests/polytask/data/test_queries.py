"""Template queries that fit an item."""

import numpy as np
import pytest

from polytask.data.catalogue import Catalogue, catalogues_of
from polytask.data.queries import QueryTable, item_queries
from polytask.scenario import load_scenario
from tests.polytask.tiny import tiny_tables


def test_one_query_per_template_and_value(small_scenario):
    text = small_scenario.text.model_copy(update={"queries": ("a {genres} film", "{genres} of {year}", "anything")})
    item = {"genres": ["Comedy", "Drama"], "year": 1990}
    assert item_queries(text, item) == [
        *["a Comedy film", "a Drama film"],
        *["Comedy of 1990", "Drama of 1990"],
        "anything",
    ]
    assert item_queries(text, {"genres": [], "year": None}) == ["anything"]


def test_a_value_is_said_in_all_its_ways(small_scenario):
    text = small_scenario.text.model_copy(
        update={
            "queries": ("a {genres} film", "{genres}"),
            "words": {"genres": {"Drama": "drama", "Horror": "horror"}},
            "query_words": {"genres": {"Comedy": ("funny", "merry"), "Horror": ("horror", "creepy")}},
        }
    )
    assert item_queries(text, {"genres": ["Comedy", "Drama"]}) == [
        *["a funny film", "a merry film", "a drama film"],
        *["funny", "merry", "drama"],
    ]
    assert item_queries(text, {"genres": ["Horror"]}) == ["a horror film", "a creepy film", "horror", "creepy"]


def test_no_title_reaches_a_query(small_scenario, tables):
    items = catalogues_of(small_scenario, tables)["items"]
    renamed = Catalogue("items", items.key, items.table.assign(title=[f"Title {row}" for row in range(len(items))]))
    queries = QueryTable(small_scenario.text, items).queries
    assert queries
    assert QueryTable(small_scenario.text, renamed).queries == queries


def test_what_evaluation_asks_is_in_no_template():
    scenario = load_scenario("movielens")
    requested = {check.query for check in scenario.evaluation.queries}
    shown = item_queries(scenario.text, {"genres": list(scenario.task("scene").classes)})
    assert requested
    assert shown
    assert requested.isdisjoint(shown)


@pytest.fixture(scope="module")
def table(small_scenario):
    return QueryTable(small_scenario.text, catalogues_of(small_scenario, tiny_tables())["items"])


def test_drawn_queries_fit_their_items(table):
    assert table.queries == ["a Comedy film", "a Drama film", "a Horror film"]
    rows = np.tile(np.arange(6), 200)
    drawn = table.draw(rows, np.random.default_rng(1))
    fitting = {row: sorted(set(drawn[rows == row].tolist())) for row in range(6)}
    # Row 0 is padding and item 5 has no genre; of item 3, both genres are drawn.
    assert fitting == {0: [-1], 1: [0], 2: [1], 3: [0, 1], 4: [2], 5: [-1]}
    assert 60 < (drawn[rows == 3] == 0).sum() < 140


def test_query_of_a_missing_value_is_left_out(small_scenario):
    text = small_scenario.text.model_copy(update={"queries": ("from {year}",)})
    items = catalogues_of(small_scenario, tiny_tables())["items"]
    assert QueryTable(text, items).queries == ["from 1990", "from 1991", "from 1992", "from 1994"]
