"""Step 6: the candidate beside its gate baselines and the live model."""

from kfp import dsl

from components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def compare(
    scenario: str,
    tables: dsl.Input[dsl.Dataset],
    training_set: dsl.Input[dsl.Dataset],
    model: dsl.Input[dsl.Model],
    evaluation: dsl.Input[dsl.Artifact],
    target: str,
    verdict: dsl.Output[dsl.Artifact],
    summary: dsl.Output[dsl.Markdown],
) -> None:
    """Ask the live model the same test requests and write the verdict, which `gate` carries out.

    Args:
        scenario: Name of a scenario in the image, or path of a scenario file.
        tables: What `ingest` wrote.
        training_set: What `build_training_set` wrote.
        model: What `train` wrote: the candidate.
        evaluation: What `evaluate` wrote of it.
        target: The folder of all published versions, which holds the registry.
        verdict: JSON with every task and number.
        summary: The same for people, as the user interface shows it.
    """
    from pathlib import Path

    from polytask.environment import prepare_environment

    prepare_environment()
    from polytask.atomic import write_text
    from polytask.evaluation.markdown import summary_of_verdict
    from polytask.promotion import compare_with_live
    from polytask.registry.folder import FolderRegistry
    from polytask.scenario import load_scenario

    loaded = load_scenario(scenario)
    found = compare_with_live(
        loaded,
        Path(tables.path),
        Path(training_set.path),
        Path(model.path),
        Path(evaluation.path),
        FolderRegistry(Path(target)).live(),
        Path(verdict.path),
    )
    write_text(Path(summary.path), summary_of_verdict(loaded, found))
    print(found.line())
