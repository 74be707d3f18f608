"""The check of typed queries, with models that predict by rule."""

import numpy as np
import pytest
import torch

from polytask.data.evaluation_requests import split_requests
from polytask.data.request import RequestFeatures
from polytask.evaluation.query_check import QueryRequests, fitting_items, query_report, query_texts
from polytask.scenario.schema import EvaluationSettings


class ByRule:
    """Scores items by the first number of the text vector: above 0 the items that fit first, else the others."""

    def __init__(self, fits, personal):
        self.fits, self.personal = fits, personal

    def score(self, history, text):
        scores = np.where(self.fits, 1.0, -1.0) * np.sign(text[:, :1].numpy())
        noise = np.random.default_rng(0).random(scores.shape) if self.personal else np.arange(scores.shape[1]) / 100
        return {"item": torch.from_numpy((scores + noise).astype(np.float32))}


@pytest.fixture(scope="module")
def check(small_dataset):
    return small_dataset.scenario.evaluation.queries[0]


def encode(texts):
    """Positive for the first query of the small scenario alone."""
    return np.array([[1.0] if text.startswith("something to laugh about") else [-1.0] for text in texts], np.float32)


def report(dataset, fits, personal):
    changed = QueryRequests(ByRule(fits, personal), dataset, encode)
    dataset.text_vectors = np.full((len(dataset.distinct_texts), 1), -1.0, dtype=np.float32)
    return query_report([changed, changed])


@pytest.fixture
def dataset(small_dataset):
    import copy

    return copy.copy(small_dataset)


def test_shares_and_overlaps(dataset, check):
    fits = fitting_items(dataset, check)
    first, second = report(dataset, fits, personal=True)
    assert (first["query"], first["values"], first["users"]) == ("something to laugh about", ["Comedy"], 30)
    assert first["share"] > 0.75 > 0.2 > first["without_query"]  # some users have seen most of what fits
    assert first["seeds"] == [first["share"]] * 2
    assert first["holds"] == (first["share"] >= 0.8)
    assert first["catalogue"] == pytest.approx(fits[1:].mean())
    assert 0 < first["overlap"] < 0.5
    assert second["values"] == ["Western", "Horror"]
    same = report(dataset, fits, personal=False)[0]
    assert same["overlap"] > first["overlap"]  # their lists still differ by what they have seen


def test_the_text_is_the_one_that_serving_reads(small_dataset):
    requests = split_requests(small_dataset, "test")
    texts = query_texts(small_dataset, requests, "a scary story")
    row = small_dataset.events.iloc[requests.events[4]]
    assert texts[4] == f"a scary story, {row['weekpart']} {row['daypart']}"
    context = {"weekpart": row["weekpart"], "daypart": row["daypart"]}
    served = RequestFeatures(profile={"age": row["age"]}, context=context, query="a scary story")
    assert small_dataset.request_encoder().text(served) == texts[4]


def test_without_queries_there_is_nothing_to_report(dataset):
    dataset.scenario = dataset.scenario.model_copy(update={"evaluation": EvaluationSettings()})
    assert query_report([QueryRequests(ByRule(np.zeros(61), personal=False), dataset, encode)]) == []


def test_any_of_the_values_fits(small_dataset):
    either = fitting_items(small_dataset, small_dataset.scenario.evaluation.queries[1])
    genres = small_dataset.catalogues["items"].table["genres"]
    assert either[1:].tolist() == [bool({"Western", "Horror"} & set(names)) for names in genres]
    assert not either[0]
