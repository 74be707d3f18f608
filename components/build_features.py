"""Step 2: the feature store, defined from the scenario and filled."""

from kfp import dsl

from components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def build_features(
    scenario: str,
    code_version: str,
    feature_store: str,
    tables: dsl.Input[dsl.Dataset],
    features: dsl.Output[dsl.Artifact],
    settings: str = "",
    incremental: bool = False,
    late_hours: float = 24.0,
) -> str:
    """Write the feature sources, apply the Feast definitions and materialize the online store.

    A store of files that holds the features of these tables already is left as it is, with all that was pushed to it.

    Args:
        scenario: Name of a scenario in the image, or path of a scenario file.
        code_version: See `ingest`.
        feature_store: Folder of the feature store; it holds feature_store.yaml afterwards.
        tables: What `ingest` wrote.
        features: JSON that names the store and its feature service.
        settings: A feature_store.yaml with the registry and online store to use, as serving reads it; by default both
            are files of the folder.
        incremental: Whether the store keeps what it has, and only what is newer is materialized.
        late_hours: How long an event may take to arrive: rows so much older than the newest known are written again.

    Returns:
        A checksum of all that the store was filled from: equal for equal features.
    """
    import json
    from datetime import timedelta
    from pathlib import Path

    from feature_repo.filled import inputs_checksum, is_filled, mark_filled
    from feature_repo.sources import views_of
    from polytask.progress import log_to_stdout
    from polytask.scenario import load_scenario
    from polytask.storage.atomic import write_text

    log_to_stdout()
    loaded = load_scenario(scenario)
    given = Path(settings) if settings else None
    inputs = inputs_checksum(loaded, Path(tables.path), code_version, given)
    # Whether a store elsewhere still has what it was filled with is not known here.
    if given is None and is_filled(Path(feature_store), inputs, views_of(loaded), loaded.name):
        print(f"{feature_store}: holds the features of these tables already")
    else:
        from feature_repo.apply import build_store  # feast takes seconds to import

        late = timedelta(hours=late_hours) if incremental else None
        build_store(loaded, Path(tables.path), Path(feature_store), given, late)
        mark_filled(Path(feature_store), inputs)
    content = {"feature_store": feature_store, "feature_service": loaded.feature_service}
    write_text(Path(features.path), json.dumps(content))
    features.metadata.update(content)
    return inputs
