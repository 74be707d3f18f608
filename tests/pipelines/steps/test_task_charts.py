"""The loop over the tasks, run by kfp: an artefact of metrics and one of charts for each task of the evaluation."""

import io
import json
from pathlib import Path

from kfp import dsl
from rich.console import Console

from components.image import IMAGE
from pipelines.local_runner.local import run_pipeline
from pipelines.steps.definition import ClusterSettings, _settings
from pipelines.steps.task_charts import task_charts
from polytask.scenario import load_scenario


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def evaluated(evaluation: dsl.Output[dsl.Artifact]) -> list:
    """In place of `evaluate`: two tasks, one of which has classes."""
    import json
    from pathlib import Path

    roc = {"fpr": [0.0, 1.0], "tpr": [0.0, 1.0], "threshold": [1.0, 0.5]}
    none = {"roc": {"fpr": [], "tpr": [], "threshold": []}, "categories": [], "confusion": []}
    liked = {"roc": roc, "categories": ["no", "yes"], "confusion": [[3, 1], [0, 2]]}
    test = {
        "metrics": {"stars": {"mae": 0.5}, "liked": {"auc": 0.75}},
        "classification": {"stars": none, "liked": liked},
    }
    Path(evaluation.path).write_text(json.dumps({"test": test}), encoding="utf-8")
    return ["stars", "liked"]


def test_each_task_has_artefacts_of_its_own(tmp_path: Path) -> None:
    with _settings(ClusterSettings("movielens", "movielens", load_scenario("movielens").resources)):

        @dsl.pipeline(name="charts")
        def charts() -> None:
            task_charts(evaluated())

    run_pipeline(charts, {}, tmp_path, Console(file=io.StringIO()))
    outputs = [json.loads(path.read_text()) for path in (tmp_path / ".kfp_cache").glob("*.json")]
    shown = {entry["classification"]["metadata"]["task"]: entry for entry in outputs if "classification" in entry}
    assert set(shown) == {"stars", "liked"}
    assert shown["stars"]["metrics"]["metadata"] == {"stars mae": 0.5}
    assert shown["liked"]["metrics"]["metadata"] == {"liked auc": 0.75}
    assert shown["liked"]["classification"]["schema_title"] == "system.ClassificationMetrics"
    assert set(shown["liked"]["classification"]["metadata"]) == {"task", "confidenceMetrics", "confusionMatrix"}
    assert set(shown["stars"]["classification"]["metadata"]) == {"task"}
