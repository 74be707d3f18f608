"""From events to a served model: data, training, evaluation, gate, export, deploy, smoke test. Wiring only."""

from typing import NamedTuple

from kfp import dsl

from components.export import export
from components.train import train
from pipelines.steps.data_steps import data_steps
from pipelines.steps.definition import pipeline, step
from pipelines.steps.gate_steps import gate_steps
from pipelines.steps.publish_steps import publish_steps


class TrainOutputs(NamedTuple):
    """The artifacts of a run's steps, and the published folder."""

    tables: dsl.Dataset
    training_set: dsl.Dataset
    model: dsl.Model
    evaluation: dsl.Artifact
    report: dsl.HTML
    published: str


@pipeline(
    name="train-and-deploy",
    title="Train and deploy",
    description="Trains one shared-encoder model for all tasks of a scenario and publishes it for serving.",
)
def train_and_deploy(
    scenario: str = "movielens",
    feature_store: str = "/mnt/feature-store",
    registry_dir: str = "/mnt/models/{scenario}",
    code_version: str = "image",
    checkpoint_dir: str = "",
    gpu: bool = False,
    feature_store_settings: str = "",
    storage_uri: str = "",
    namespace: str = "",
    strategy: str = "rolling",
    registry: str = "",
    nproc_per_node: int = 1,
    num_nodes: int = 1,
    shared_storage: str = "",
    training_runtime: str = "torch-distributed",
    training_namespace: str = "",
) -> TrainOutputs:
    """Run the whole chain.

    Args:
        scenario: Name of a scenario in the image, or path of a scenario file.
        feature_store: Folder of the feature store (feature_store.yaml, registry).
        registry_dir: Folder that models are published to.
        code_version: Version of the code where it is not the image: on a local run, a checksum.
        checkpoint_dir: Folder that outlives a run, for the state of a training that is interrupted; none by default.
        gpu: Whether the model is served on GPUs: then its text encoder is tried in fp16 rather than int8.
        feature_store_settings: A feature_store.yaml with the registry and the online store to use; by default both are
            files of `feature_store`.
        storage_uri: Address of `registry_dir` for the cluster (s3://..., pvc://...); empty without an InferenceService.
        namespace: Namespace of the InferenceService `recommender`.
        strategy: How it changes to the new model: recreate, rolling, canary or shadow.
        registry: Address of Kubeflow Model Registry, http(s)://host[:port][?model=name]; the registry in
            `registry_dir` where it is empty.
        nproc_per_node: How many processes on a machine share each batch of the training: one per GPU, if it has GPUs.
        num_nodes: How many machines train together: 1 is the train step's own, more are those of a TrainJob of Kubeflow
            Trainer.
        shared_storage: Where step and nodes meet: s3://..., gs://..., or a folder that all of them mount.
        training_runtime: The ClusterTrainingRuntime of the TrainJob.
        training_namespace: Its namespace; that of the pipeline's pods where it is empty.

    Returns:
        What this run published and what it was made of, whichever of its steps were taken from a cache.
    """
    data = data_steps(scenario, code_version, feature_store, feature_store_settings)
    tables, rows = data.tables, data.rows
    model = train(
        scenario=scenario,
        code_version=data.code_version,
        tables=tables.outputs["tables"],
        training_set=rows.outputs["training_set"],
        checkpoint_dir=checkpoint_dir,
        registry_dir=registry_dir,
        registry=registry,
        nproc_per_node=nproc_per_node,
        num_nodes=num_nodes,
        shared_storage=shared_storage,
        training_runtime=training_runtime,
        training_namespace=training_namespace,
    )
    step(model, "Train", "training")
    judged = gate_steps(scenario, data, model, registry_dir, namespace, registry)
    bundle = export(
        scenario=scenario,
        code_version=data.code_version,
        tables=tables.outputs["tables"],
        training_set=rows.outputs["training_set"],
        model=model.outputs["model"],
        evaluation=judged.evaluation.outputs["evaluation"],
        gpu=gpu,
    )
    step(bundle, "Export", "model")
    bundle.after(judged.gate)
    deployed = publish_steps(scenario, bundle, model, registry_dir, storage_uri, namespace, strategy, registry)
    return TrainOutputs(
        tables=tables.outputs["tables"],
        training_set=rows.outputs["training_set"],
        model=model.outputs["model"],
        evaluation=judged.evaluation.outputs["evaluation"],
        report=judged.evaluation.outputs["report"],
        published=deployed.output,
    )
