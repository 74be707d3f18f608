"""New items for the live model. Wiring only."""

from components.refresh_items import refresh_items
from pipelines.definition import pipeline, step
from pipelines.publish_steps import publish_steps


@pipeline(
    name="refresh-catalogue",
    title="Refresh the catalogue",
    description="Appends new items to the live model's catalogue by their texts and publishes it; no weight moves.",
)
def refresh_catalogue(
    scenario: str = "movielens",
    target: str = "/mnt/models/{scenario}",
    items: str = "",
    storage: str = "",
    namespace: str = "",
    strategy: str = "rolling",
    registry: str = "",
) -> None:
    """Refresh the catalogue.

    Args:
        scenario: Name of a scenario in the image, or path of a scenario file.
        target: Folder that models are published to; its live version is the one that grows.
        items: Path of an items table (.parquet or .csv); empty for the scenario's source as it is now.
        storage: Where the cluster finds `target` (s3://..., pvc://...); empty where no InferenceService serves it.
        namespace: Namespace of the InferenceService `recommender`.
        strategy: How it changes to the new model: recreate, rolling, canary or shadow.
        registry: Address of Kubeflow Model Registry; empty where the registry is in `target`.
    """
    grown = refresh_items(scenario=scenario, target=target, items=items, registry=registry)
    # Neither which model is live nor what the source holds stands in an input.
    step(grown, "Append new items", "model", again=True, cached=False)
    publish_steps(grown, grown, target, storage, namespace, strategy, registry)
