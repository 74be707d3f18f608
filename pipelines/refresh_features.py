"""The features as the source has them now, for a schedule. Wiring only."""

from components.build_features import build_features
from pipelines.steps.data_steps import ingest_steps
from pipelines.steps.definition import pipeline, step


@pipeline(
    name="refresh-features",
    title="Refresh features",
    description="Ingests the source again and brings the feature store up to date; meant for a schedule.",
)
def refresh_features(
    scenario: str = "movielens",
    feature_store: str = "/mnt/feature-store",
    code_version: str = "image",
    feature_store_settings: str = "",
    late_hours: float = 24.0,
) -> None:
    """Bring the feature store up to date.

    Args:
        scenario: Name of a scenario in the image, or path of a scenario file.
        feature_store: Folder of the feature store (feature_store.yaml, registry).
        code_version: Identifier of the code if the image does not identify it: on a local run, a checksum.
        feature_store_settings: A feature_store.yaml with the registry and the online store to use; by default both are
            files of `feature_store`.
        late_hours: How long an event may take to arrive: rows so much older than the newest known are written again.
    """
    version, tables = ingest_steps(scenario, code_version)
    refreshed = build_features(
        scenario=scenario,
        code_version=version,
        feature_store=feature_store,
        tables=tables.outputs["tables"],
        settings=feature_store_settings,
        incremental=True,
        late_hours=late_hours,
    )
    step(refreshed, "Refresh features", "data", again=True, cached=False)
