"""Recommendations for all users, in one table."""

from kfp import dsl

from components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def batch_recommend(
    scenario: str,
    registry_dir: str,
    feature_store: str,
    recommendations: dsl.Output[dsl.Dataset],
    tasks: str = "",
    k: int = 10,
    users_at_once: int = 256,
    output: str = "",
    registry: str = "",
) -> None:
    """Run the live version for every user of its catalogue, with the current features of the online store.

    Args:
        scenario: Name of a scenario in the image, or path of a scenario file.
        registry_dir: The folder of all published versions, whose live one makes the predictions.
        feature_store: Folder with the feature_store.yaml that serving reads.
        recommendations: Parquet file with the columns user, task, rank, id, score and title.
        tasks: Names of tasks with commas between them; empty for all.
        k: The largest number of entries of a task per user.
        users_at_once: The number of users per batch, which bounds the memory.
        output: Path of a copy of the same file; empty if the artefact is enough.
        registry: See `compare`.
    """
    import shutil
    from pathlib import Path

    from polytask.errors import DataError
    from polytask.scenario import load_scenario
    from polytask.storage.atomic import atomic_file
    from serving.registry.address import open_registry
    from serving.transformer.batch import recommend_to_all

    live = open_registry(registry, Path(registry_dir), load_scenario(scenario).name).live()
    if live is None:
        raise DataError(
            f"{registry_dir}: no version is live; allowed: a folder that a pipeline has published a model to"
        )
    done = recommend_to_all(
        Path(live.bundle),
        Path(feature_store),
        Path(recommendations.path),
        tasks=[name.strip() for name in tasks.split(",") if name.strip()],
        k=k,
        users_at_once=users_at_once,
    )
    if output:
        with atomic_file(Path(output)) as temporary:
            shutil.copyfile(recommendations.path, temporary)
    recommendations.metadata["model_version"] = done.model_version
    recommendations.metadata["contract_sha256"] = done.contract_sha256
    recommendations.metadata["lineage"] = live.lineage
    recommendations.metadata["users"] = done.users
    recommendations.metadata["rows"] = done.rows
    print(f"{done.rows} rows for {done.users} users, model {done.model_version}: {output or recommendations.path}")
