"""From events to a served model: data, training, evaluation, gate, export, deploy, smoke test. Wiring only."""

from typing import NamedTuple

from kfp import dsl

from components.export import export
from components.train import train
from pipelines.steps.data_steps import data_steps
from pipelines.steps.definition import pipeline, step
from pipelines.steps.gate_steps import gate_steps
from pipelines.steps.publish_steps import publish_steps


class Trained(NamedTuple):
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
    target: str = "/mnt/models/{scenario}",
    code_version: str = "image",
    work_folder: str = "",
    gpu: bool = False,
    feature_store_settings: str = "",
    storage: str = "",
    namespace: str = "",
    strategy: str = "rolling",
    registry: str = "",
    processes: int = 1,
    nodes: int = 1,
    exchange: str = "",
    training_runtime: str = "torch-distributed",
    training_namespace: str = "",
) -> Trained:
    """Run the whole chain.

    Args:
        scenario: Name of a scenario in the image, or path of a scenario file.
        feature_store: Folder of the feature store (feature_store.yaml, registry).
        target: Folder that models are published to.
        code_version: Identifier of the code if the image does not identify it: on a local run, a checksum.
        work_folder: Folder that outlives a run, for the state of a training that is interrupted; none by default.
        gpu: Whether the model is served on GPUs: then its text encoder is tried in fp16 rather than int8.
        feature_store_settings: A feature_store.yaml with the registry and the online store to use; by default both are
            files of `feature_store`.
        storage: Where the cluster finds `target` (s3://..., pvc://...); empty where no InferenceService serves it.
        namespace: Namespace of the InferenceService `recommender`.
        strategy: How it changes to the new model: recreate, rolling, canary or shadow.
        registry: Address of Kubeflow Model Registry, http(s)://host[:port][?model=name]; the registry in `target` where
            it is empty.
        processes: How many processes on a machine share each batch of the training, one per GPU where there are GPUs.
        nodes: How many machines train together: 1 is the train step's own, more are those of a TrainJob of Kubeflow
            Trainer.
        exchange: Where step and nodes meet: s3://..., gs://..., or a folder that all of them mount.
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
        work_folder=work_folder,
        target=target,
        registry=registry,
        processes=processes,
        nodes=nodes,
        exchange=exchange,
        training_runtime=training_runtime,
        training_namespace=training_namespace,
    )
    step(model, "Train", "training")
    judged = gate_steps(scenario, data, model, target, namespace, registry)
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
    deployed = publish_steps(scenario, bundle, model, target, storage, namespace, strategy, registry)
    return Trained(
        tables=tables.outputs["tables"],
        training_set=rows.outputs["training_set"],
        model=model.outputs["model"],
        evaluation=judged.evaluation.outputs["evaluation"],
        report=judged.evaluation.outputs["report"],
        published=deployed.output,
    )
