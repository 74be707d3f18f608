"""One more task on the live model. Wiring only."""

from components.add_task import add_task as grow
from pipelines.steps.data_steps import data_steps
from pipelines.steps.definition import pipeline, step
from pipelines.steps.gate_steps import gate_steps
from pipelines.steps.publish_steps import publish_steps


@pipeline(
    name="add-task",
    title="Add a task",
    description="Trains one more task on the live model; its other outputs stay bit-identical, and the gate decides.",
)
def add_task(
    scenario: str = "movielens",
    task: str = "",
    feature_store: str = "/mnt/feature-store",
    registry_dir: str = "/mnt/models/{scenario}",
    code_version: str = "image",
    feature_store_settings: str = "",
    storage_uri: str = "",
    namespace: str = "",
    strategy: str = "rolling",
    registry: str = "",
) -> None:
    """Add a task.

    Args:
        scenario: Name of a scenario in the image, or path of a scenario file.
        task: The new entry of the scenario's `tasks` as YAML, or the path of a file with it.
        feature_store: Folder of the feature store (feature_store.yaml, registry).
        registry_dir: Folder that models are published to; its live version is the one that grows.
        code_version: Version of the code where it is not the image: on a local run, a checksum.
        feature_store_settings: A feature_store.yaml with the registry and the online store to use; by default both are
            files of `feature_store`.
        storage_uri: Address of `registry_dir` for the cluster (s3://..., pvc://...); empty without an InferenceService.
        namespace: Namespace of the InferenceService `recommender`.
        strategy: How it changes to the new model: recreate, rolling, canary or shadow.
        registry: Address of Kubeflow Model Registry; empty where the registry is in `registry_dir`.
    """
    data = data_steps(scenario, code_version, feature_store, feature_store_settings)
    rows = data.rows.outputs["training_set"]
    updated = grow(scenario=scenario, task=task, registry_dir=registry_dir, training_set=rows, registry=registry)
    # No input of the step names the live model.
    step(updated, "Add the task", "training", cached=False)
    judged = gate_steps(scenario, data, updated, registry_dir, namespace, registry, bundle=updated)
    publish_steps(
        scenario, updated, updated, registry_dir, storage_uri, namespace, strategy, registry, after=judged.gate
    )
