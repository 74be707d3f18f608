"""One more task on the live version, whose weights and outputs stay bit-identical."""

from kfp import dsl

from components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def add_task(
    scenario: str,
    task: str,
    registry_dir: str,
    training_set: dsl.Input[dsl.Dataset],
    model: dsl.Output[dsl.Model],
    bundle: dsl.Output[dsl.Model],
    registry: str = "",
) -> None:
    """Train a new task on the frozen encoder of the live version, and export the next one.

    Args:
        scenario: Name of a scenario in the image, or path of a scenario file.
        task: An entry of a scenario's `tasks` as YAML, or the path of a file with one.
        registry_dir: The folder of all published versions.
        training_set: What `build_training_set` wrote.
        model: Folder of the checkpoint.
        bundle: The bundle's folder.
        registry: See `compare`.
    """
    from pathlib import Path

    from polytask.environment import prepare_environment

    prepare_environment()
    from polytask.contract.contract import REPOSITORY_FOLDER
    from polytask.jobs.live_version import check_fits, lineage_after, made_for, version_of
    from polytask.jobs.updates import add_task_job
    from polytask.scenario import load_scenario
    from polytask.scenario.load import read_task
    from serving.registry.address import open_registry
    from serving.triton.repository import write_repository

    entry = read_task(task)
    loaded = load_scenario(scenario)
    previous = version_of(open_registry(registry, Path(registry_dir), loaded.name).live(), Path(registry_dir))
    parent = previous.contract()
    check_fits(loaded, parent, scenario)
    with made_for(Path(model.path), Path(bundle.path)) as folder:
        done = add_task_job(
            previous,
            entry,
            Path(training_set.path),
            folder,
            print,
            lambda contract, place: write_repository(contract, place / REPOSITORY_FOLDER),
        )
    model.metadata["lineage"] = bundle.metadata["lineage"] = lineage_after(parent, Path(training_set.path))
    bundle.metadata["model_version"] = done.contract.model_version
    bundle.metadata["contract_sha256"] = done.contract.checksum
    for name, value in done.metrics["test"].items():
        print(f"{entry.name} {name}: {value}")
    print(f"equal in every bit: {', '.join(done.same_outputs)}")
