"""Step 6: compare the candidate with its gate baselines and the live model."""

from kfp import dsl

from components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def compare(
    scenario: str,
    tables: dsl.Input[dsl.Dataset],
    training_set: dsl.Input[dsl.Dataset],
    model: dsl.Input[dsl.Model],
    evaluation: dsl.Input[dsl.Artifact],
    registry_dir: str,
    verdict: dsl.Output[dsl.Artifact],
    summary: dsl.Output[dsl.Markdown],
    registry: str = "",
    namespace: str = "",
    inference_service: str = "recommender",
    bundle: dsl.Input[dsl.Model] = None,
) -> None:
    """Evaluate the live model on the same test requests and write the verdict, which `gate` enforces.

    Args:
        scenario: Name of a scenario in the image, or path of a scenario file.
        tables: What `ingest` wrote.
        training_set: What `build_training_set` wrote.
        model: What `train` wrote: the candidate.
        evaluation: What `evaluate` wrote of it.
        registry_dir: The folder of all published versions.
        verdict: JSON with every task and number.
        summary: The same for people, as the user interface shows it.
        registry: Address of Kubeflow Model Registry, http(s)://host[:port][?model=name]; the registry in
            `registry_dir` where it is empty.
        namespace: Namespace of the InferenceService whose model is the live one; empty where the registry holds it.
        inference_service: Its name.
        bundle: See `evaluate`.
    """
    from pathlib import Path

    from polytask.environment import prepare_environment

    prepare_environment()
    from polytask.evaluation.report.gate_summary import summary_of_verdict
    from polytask.jobs.compare import compare_with_live
    from polytask.scenario import load_scenario
    from polytask.storage.atomic import write_text
    from serving.registry.address import open_registry
    from serving.registry.served import find_live

    loaded = load_scenario(scenario)
    live = find_live(open_registry(registry, Path(registry_dir), loaded.name), namespace, inference_service)
    found = compare_with_live(
        loaded,
        Path(tables.path),
        Path(training_set.path),
        Path(model.path),
        Path(evaluation.path),
        live.version,
        Path(verdict.path),
        live_note=live.note,
        bundle=Path(bundle.path) if bundle else None,
    )
    write_text(Path(summary.path), summary_of_verdict(loaded, found))
    print(found.line())
