"""New items join the live version by their text alone; no weight moves."""

from kfp import dsl

from components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def refresh_items(
    scenario: str,
    registry_dir: str,
    training_set: dsl.Input[dsl.Dataset],
    model: dsl.Output[dsl.Model],
    bundle: dsl.Output[dsl.Model],
    items: str = "",
    registry: str = "",
) -> None:
    """Append the items that the live version does not know to its catalogue, and export the next version.

    Args:
        scenario: Name of a scenario in the image, or path of a scenario file.
        registry_dir: The folder of all published versions.
        training_set: What `build_training_set` wrote, whose test events the next version is measured on.
        model: Folder of the checkpoint.
        bundle: The bundle's folder.
        items: Path of an items table (.parquet or .csv); empty for the scenario's source as it is now.
        registry: See `compare`.
    """
    from pathlib import Path

    from polytask.environment import prepare_environment

    prepare_environment()
    from polytask.contract.contract import REPOSITORY_FOLDER
    from polytask.ingest import ingest_items
    from polytask.jobs.live_version import check_fits, lineage_after, made_for, version_of
    from polytask.jobs.updates import refresh_job
    from polytask.scenario import load_scenario
    from polytask.scenario.names import ITEMS
    from serving.registry.address import open_registry
    from serving.triton.repository import write_repository

    loaded = load_scenario(scenario)
    previous = version_of(open_registry(registry, Path(registry_dir), loaded.name).live(), Path(registry_dir))
    parent = previous.contract()
    check_fits(loaded, parent, scenario)
    table = ingest_items(loaded, Path(items) if items else None)
    with made_for(Path(model.path), Path(bundle.path)) as folder:
        done = refresh_job(
            previous,
            table,
            folder,
            print,
            lambda contract, place: write_repository(contract, place / REPOSITORY_FOLDER),
            Path(training_set.path),
        )
    catalogue = Path(bundle.path) / done.contract.catalogues[ITEMS].path
    model.metadata["lineage"] = bundle.metadata["lineage"] = lineage_after(parent, catalogue)
    bundle.metadata["model_version"] = done.contract.model_version
    bundle.metadata["contract_sha256"] = done.contract.checksum
    print(f"{done.new} items appended, {len(done.changed)} with another text, {done.missing} gone from the table")
