"""The features as the source has them now: what is new goes to the online store."""

from kfp import dsl

from components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def refresh_features(
    scenario: str,
    code_version: str,
    feature_store: str,
    tables: dsl.Input[dsl.Dataset],
    features: dsl.Output[dsl.Artifact],
    settings: str = "",
    late_hours: float = 24.0,
) -> None:
    """Write the feature sources, apply the Feast definitions and materialize what the online store does not have.

    Args:
        scenario: Name of a scenario in the image, or path of a scenario file.
        code_version: See `ingest`.
        feature_store: Folder of the feature store.
        tables: What `ingest` wrote.
        features: JSON that names the store and its feature service.
        settings: See `build_features`.
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
    late = timedelta(hours=late_hours)
    build_store(loaded, Path(tables.path), Path(feature_store), Path(settings) if settings else None, late)
    content = {"feature_store": feature_store, "feature_service": loaded.feature_service}
    write_text(Path(features.path), json.dumps(content))
    features.metadata.update(content)
    print(f"{loaded.feature_service} is up to date in {feature_store}")
