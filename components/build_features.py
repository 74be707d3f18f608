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
) -> None:
    """Write the feature sources, apply the Feast definitions and materialize the online store.

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
    """
    import json
    from datetime import timedelta
    from pathlib import Path

    from feature_repo.apply import build_store
    from polytask.atomic import write_text
    from polytask.progress import log_to_stdout
    from polytask.scenario import load_scenario

    log_to_stdout()
    loaded = load_scenario(scenario)
    late = timedelta(hours=late_hours) if incremental else None
    build_store(loaded, Path(tables.path), Path(feature_store), Path(settings) if settings else None, late)
    content = {"feature_store": feature_store, "feature_service": loaded.feature_service}
    write_text(Path(features.path), json.dumps(content))
    features.metadata.update(content)
