"""Recommendations for all users as a table. Wiring only."""

from components.batch_recommend import batch_recommend as recommend
from pipelines.steps.definition import pipeline, step


@pipeline(
    name="batch-recommend",
    title="Recommend to all users",
    description="Runs the live model for every user and writes one Parquet table; meant for a schedule.",
)
def batch_recommend(
    scenario: str = "movielens",
    feature_store: str = "/mnt/feature-store",
    registry_dir: str = "/mnt/models/{scenario}",
    tasks: str = "",
    k: int = 10,
    users_at_once: int = 256,
    output: str = "",
    registry: str = "",
) -> None:
    """Recommend to all users.

    Args:
        scenario: Name of a scenario in the image, or path of a scenario file.
        feature_store: Folder with the feature_store.yaml that serving reads.
        registry_dir: Folder that models are published to; its live version makes the predictions.
        tasks: Names of tasks with commas between them; empty for all.
        k: Maximum number of recommendations per user and task.
        users_at_once: Number of users per batch, which bounds the memory.
        output: Path of a copy of the table; empty if the artifact of the run is enough.
        registry: Address of Kubeflow Model Registry; empty where the registry is in `registry_dir`.
    """
    table = recommend(
        scenario=scenario,
        registry_dir=registry_dir,
        feature_store=feature_store,
        tasks=tasks,
        k=k,
        users_at_once=users_at_once,
        output=output,
        registry=registry,
    )
    # No input records the content of the online store or which model is live.
    step(table, "Recommend to all users", "model", again=True, cached=False)
