"""Step 3: the training set, joined point in time out of the feature store."""

from kfp import dsl

from components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def build_training_set(
    scenario: str,
    code_version: str,
    feature_store: str,
    features: str,
    tables: dsl.Input[dsl.Dataset],
    training_set: dsl.Output[dsl.Dataset],
) -> None:
    """Join to every interaction the features as of just before it, and check for leaks and lost rows.

    Args:
        scenario: Name of a scenario in the image, or path of a scenario file.
        code_version: See `ingest`.
        feature_store: Folder of the feature store, as for `build_features`.
        features: What `build_features` returned: this step is taken from a cache where that is equal.
        tables: What `ingest` wrote.
        training_set: Parquet file, one row per interaction.
    """
    from pathlib import Path

    from feature_repo.training_set import build_training_set as run
    from polytask.data.tables import read_tables
    from polytask.progress import log_to_stdout
    from polytask.registry.lineage import lineage_of
    from polytask.scenario import load_scenario

    log_to_stdout()
    interactions = read_tables(Path(tables.path)).interactions
    loaded = load_scenario(scenario)
    run(Path(feature_store), loaded, interactions, Path(training_set.path))
    training_set.metadata["rows"] = len(interactions)
    training_set.metadata["lineage"] = lineage_of(loaded, Path(training_set.path))
