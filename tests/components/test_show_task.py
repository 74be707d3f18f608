"""The step that shows one task: what Kubeflow reads as metrics, curve and matrix."""

import json
from dataclasses import asdict

import pytest
from kfp import dsl

from components.show_task import show_task
from polytask.metrics.classification import Classification, Roc


@pytest.mark.parametrize(
    ("shown", "keys"),
    [
        (Classification(), {"task"}),
        (Classification(Roc([0.0, 1.0], [0.0, 1.0], [1.0, 0.5])), {"task", "confidenceMetrics"}),
        (
            Classification(Roc([0.0, 1.0], [0.0, 1.0], [1.0, 0.5]), ["no", "yes"], [[3, 1], [0, 2]]),
            {"task", "confidenceMetrics", "confusionMatrix"},
        ),
    ],
)
def test_metrics_and_charts_are_logged(tmp_path, shown, keys):
    test = {"metrics": {"liked": {"auc": 0.75, "ece": float("nan")}}, "classification": {"liked": asdict(shown)}}
    (tmp_path / "evaluation").write_text(json.dumps({"test": test}))
    metrics = dsl.Metrics(uri=str(tmp_path / "metrics"))
    classification = dsl.ClassificationMetrics(uri=str(tmp_path / "classification"))
    evaluation = dsl.Artifact(uri=str(tmp_path / "evaluation"))
    show_task.python_func(task="liked", evaluation=evaluation, metrics=metrics, classification=classification)
    assert metrics.metadata == {"liked auc": 0.75}
    assert set(classification.metadata) == keys
    if "confusionMatrix" in keys:
        assert classification.metadata["confusionMatrix"]["rows"] == [{"row": [3, 1]}, {"row": [0, 2]}]
        assert classification.metadata["confidenceMetrics"][1] == {
            "confidenceThreshold": 0.5,
            "recall": 1.0,
            "falsePositiveRate": 1.0,
        }
    assert (tmp_path / "metrics").is_file()
    assert (tmp_path / "classification").is_file()
