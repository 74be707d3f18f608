"""Step 5: measure the model and its baselines."""

from kfp import dsl

from components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def evaluate(
    scenario: str,
    code_version: str,
    tables: dsl.Input[dsl.Dataset],
    training_set: dsl.Input[dsl.Dataset],
    model: dsl.Input[dsl.Model],
    evaluation: dsl.Output[dsl.Artifact],
    metrics: dsl.Output[dsl.Metrics],
    report: dsl.Output[dsl.HTML],
    bundle: dsl.Input[dsl.Model] = None,
) -> list[str]:
    """Rank everything for every validation and test event, with the model and with the baselines.

    Args:
        scenario: Name of a scenario in the image, or path of a scenario file.
        code_version: See `ingest`.
        tables: What `ingest` wrote.
        training_set: What `build_training_set` wrote.
        model: What `train` wrote.
        evaluation: JSON with metrics and baselines per split and task.
        metrics: The model's test metrics of all tasks, for comparing runs in the user interface.
        report: The report of this model: intervals, slices, calibration, queries and examples.
        bundle: Of a model that updates a version: its bundle, whose tasks and catalogues it has.

    Returns:
        The names of the tasks, each of which `show_task` shows.
    """
    import math
    from pathlib import Path

    from polytask.jobs.evaluate import evaluate_model
    from polytask.scenario import load_scenario
    from polytask.storage.atomic import write_text

    results = evaluate_model(
        load_scenario(scenario),
        Path(tables.path),
        Path(training_set.path),
        Path(model.path),
        Path(evaluation.path),
        Path(report.path),
        Path(bundle.path) if bundle else None,
    )
    for task, values in results["test"]["metrics"].items():
        for name, value in values.items():
            if math.isfinite(value):
                metrics.log_metric(f"{task} {name}", value)
            print(f"{task} {name}: {value:.4f}")
    # The local runner takes a step from its cache only where every output is a file.
    write_text(Path(metrics.path), "")
    return list(results["test"]["metrics"])
