"""In addition to the chain: one task's test metrics and charts, as artefacts of its own."""

from kfp import dsl

from components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def show_task(
    task: str,
    evaluation: dsl.Input[dsl.Artifact],
    metrics: dsl.Output[dsl.Metrics],
    classification: dsl.Output[dsl.ClassificationMetrics],
) -> None:
    """Show a task's metrics and, where it has classes, its ROC curve and confusion matrix on the test split.

    Args:
        task: Name of the task.
        evaluation: What `evaluate` wrote.
        metrics: The task's metrics.
        classification: Curve and matrix; empty for a task without classes.
    """
    from pathlib import Path

    from polytask.evaluation.report.charts import charts_of
    from polytask.storage.atomic import write_text

    charts = charts_of(Path(evaluation.path), task)
    for name, value in charts.metrics.items():
        metrics.log_metric(f"{task} {name}", value)
        print(f"{task} {name}: {value:.4f}")
    if charts.roc["fpr"]:
        classification.log_roc_curve(**charts.roc)
    if charts.confusion:
        classification.log_confusion_matrix(charts.categories, charts.confusion)
    classification.metadata["task"] = task
    for shown in (metrics, classification):
        # The local runner takes a step from its cache only where every output is a file.
        write_text(Path(shown.path), "")
