"""A version is scored as the served graph lists: new items below the first others, seen ones left out."""

import shutil

import numpy as np
import pytest
import torch

from polytask.data.catalogue import Catalogue
from polytask.data.evaluation_requests import split_requests
from polytask.evaluation.evaluate import evaluate_splits, request_scores
from polytask.evaluation.examples import examples
from polytask.evaluation.measures import listed_rows
from polytask.evaluation.previous import previous_method
from polytask.evaluation.query_check import QueryRequests, query_report
from polytask.evaluation.study import model_method
from polytask.export.serving_graph import ServingGraph
from polytask.model.cold_start import WARM_FIRST, ColdStart, save_cold_start


@pytest.fixture(scope="module")
def requests(small_dataset):
    return split_requests(small_dataset, "test")


@pytest.fixture(scope="module")
def new_rows(small_training, requests):
    """Items that rank first for many users, so that the limit moves them."""
    task = requests.dataset.scenario.task("item")
    scores = request_scores(small_training[0], requests)[task.name]
    return np.sort(np.argsort(-np.bincount(listed_rows(requests, task, scores)[:, :3].ravel())[1:])[:4] + 1)


@torch.inference_mode()
def served(model, requests, new_rows):
    dataset = requests.dataset
    graph = ServingGraph(model, dataset.catalogues["items"], new_rows.tolist())
    text = torch.from_numpy(dataset.text_vectors[dataset.texts[requests.events]])
    history, seen = torch.from_numpy(requests.history), torch.from_numpy(requests.seen)
    return graph(text, history, seen, torch.from_numpy(requests.user_rows[:, None]))[0].numpy()


def test_lists_are_those_of_the_served_graph(small_training, requests, new_rows):
    model, task = small_training[0], requests.dataset.scenario.task("item")
    plain = listed_rows(requests, task, request_scores(model, requests)[task.name])
    limited = listed_rows(requests, task, request_scores(model, requests, new_rows)[task.name])
    np.testing.assert_array_equal(plain, served(model, requests, np.zeros(0, dtype=np.int64)))
    np.testing.assert_array_equal(limited, served(model, requests, new_rows))
    assert np.isin(plain[:, :WARM_FIRST], new_rows).any()
    assert not np.isin(limited[:, :WARM_FIRST], new_rows).any()
    found = model_method(model, new_rows=new_rows)(requests)
    np.testing.assert_array_equal(listed_rows(requests, task, found[task.name]), limited)


def test_evaluation_report_and_queries_score_alike(small_training, small_dataset, requests, new_rows, language_model):
    model = small_training[0]
    plain, limited = (
        evaluate_splits(model, small_dataset, ("test",), {}, rows)["test"].metrics for rows in (new_rows[:0], new_rows)
    )
    assert limited["item"] != plain["item"]
    assert limited["user"] == plain["user"]
    assert limited["scene"] == plain["scene"]
    titles = {small_dataset.catalogues["items"].record(int(row))["title"] for row in new_rows}

    def first(rows):
        lists = [one["tasks"]["item"]["listed"] for one in examples(model, small_dataset, rows)]
        return {entry["title"] for listed in lists for entry in listed}

    assert titles & first(new_rows[:0])
    assert not titles & first(new_rows)

    def shares(rows):
        requested = QueryRequests(model, small_dataset, lambda texts: language_model.vectors(texts)[0], rows)
        return [(entry["without_query"], entry["share"], entry["overlap"]) for entry in query_report([requested])]

    every = np.arange(1, 61)
    assert shares(every[::2]) != shares(every[:0])


def test_the_live_model_is_scored_as_it_is_served_too(
    small_training, small_checkpoint, small_dataset, requests, new_rows, language_model, tmp_path
):
    """By the rows of its own catalogue, here in reverse, of which some are its new items."""
    folder = tmp_path / "live"
    shutil.copytree(small_checkpoint, folder)
    turned = {
        name: Catalogue(name, catalogue.key, catalogue.table.iloc[::-1])
        for name, catalogue in small_dataset.catalogues.items()
    }
    save_cold_start(ColdStart(language_model.dim, 16), new_rows, folder)
    mirrored = type(requests)(
        small_dataset,
        requests.events,
        *(np.where(rows > 0, 61 - rows, 0) for rows in (requests.history, requests.seen)),
    )
    scores = previous_method(folder, small_dataset, language_model, turned)(mirrored)["item"]
    expected = request_scores(small_training[0], requests, new_rows)["item"]
    task = small_dataset.scenario.task("item")
    np.testing.assert_array_equal(listed_rows(mirrored, task, scores), 61 - listed_rows(requests, task, expected))
