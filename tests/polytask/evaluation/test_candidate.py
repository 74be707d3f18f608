"""The report of one model: the page is whole, and its numbers are those of the evaluation."""

import json

import pytest

from polytask.data.evaluation_requests import split_requests
from polytask.evaluation.candidate import candidate_results
from polytask.evaluation.evaluate import evaluate_splits
from polytask.evaluation.report import render_report
from polytask.evaluation.tuning import tuned_baselines


def test_the_report_says_what_the_evaluation_says(small_training, small_checkpoint, small_dataset, language_model):
    model = small_training[0]
    tuned = tuned_baselines(small_dataset, split_requests(small_dataset, "validation"))
    found = candidate_results(model, small_checkpoint, small_dataset, language_model, tuned, resamples=50)
    evaluation = evaluate_splits(model, small_dataset, tuned=tuned)["test"]
    for task, metrics in evaluation.metrics.items():
        assert {name: value["mean"] for name, value in found["test"]["metrics"][task].items()} == pytest.approx(metrics)
        for name, baseline in evaluation.baselines[task].items():
            measured = found["test"]["baselines"][task][name]
            assert {metric: value["mean"] for metric, value in measured.items()} == pytest.approx(baseline)
    page = render_report(json.loads(json.dumps(found)))
    for words in (
        "1 trained model",
        "(seed 3)",
        "Next",
        "Similar users",
        "Category",
        "something to laugh about",
        "Ten users",
    ):
        assert words in page
    assert "New items" not in page
    assert "What the parts bring" not in page
