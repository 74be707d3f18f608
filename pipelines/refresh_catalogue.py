"""New items for the live model. Wiring only."""

from components.refresh_items import refresh_items
from pipelines.steps.data_steps import data_steps
from pipelines.steps.definition import pipeline, step
from pipelines.steps.gate_steps import gate_steps
from pipelines.steps.publish_steps import publish_steps


@pipeline(
    name="refresh-catalogue",
    title="Refresh the catalogue",
    description="New items join the live model's catalogue by their texts; no weight moves, and the gate decides.",
)
def refresh_catalogue(
    scenario: str = "movielens",
    feature_store: str = "/mnt/feature-store",
    registry_dir: str = "/mnt/models/{scenario}",
    items: str = "",
    code_version: str = "image",
    feature_store_settings: str = "",
    storage_uri: str = "",
    namespace: str = "",
    strategy: str = "rolling",
    registry: str = "",
) -> None:
    """Refresh the catalogue.

    Args:
        scenario: Name of a scenario in the image, or path of a scenario file.
        feature_store: Folder of the feature store (feature_store.yaml, registry).
        registry_dir: Folder that models are published to; its live version is the one that grows.
        items: Path of an items table (.parquet or .csv); empty for the scenario's source as it is now.
        code_version: Identifier of the code if the image does not identify it: on a local run, a checksum.
        feature_store_settings: A feature_store.yaml with the registry and the online store to use; by default both are
            files of `feature_store`.
        storage_uri: Address of `registry_dir` for the cluster (s3://..., pvc://...); empty without an InferenceService.
        namespace: Namespace of the InferenceService `recommender`.
        strategy: How it changes to the new model: recreate, rolling, canary or shadow.
        registry: Address of Kubeflow Model Registry; empty where the registry is in `registry_dir`.
    """
    # The gate requires the test events, as the source has them now.
    data = data_steps(scenario, code_version, feature_store, feature_store_settings)
    rows = data.rows.outputs["training_set"]
    updated = refresh_items(
        scenario=scenario, registry_dir=registry_dir, items=items, registry=registry, training_set=rows
    )
    # No input of the step names the live model or the content of the source.
    step(updated, "Append new items", "model", again=True, cached=False)
    judged = gate_steps(scenario, data, updated, registry_dir, namespace, registry, bundle=updated)
    publish_steps(
        scenario, updated, updated, registry_dir, storage_uri, namespace, strategy, registry, after=judged.gate
    )
