"""From events to a served model: from ingest and features through training and the gate to deploy. Wiring only."""

from kfp import dsl

from components.build_features import build_features
from components.build_training_set import build_training_set
from components.compare import compare
from components.deploy import deploy
from components.evaluate import evaluate
from components.export import export
from components.gate import gate
from components.ingest import ingest
from components.train import train


@dsl.pipeline(
    name="train-and-deploy",
    display_name="Train and deploy",
    description="Trains one shared-encoder model for all tasks of a scenario and publishes it for serving.",
)
def train_and_deploy(
    scenario: str = "movielens",
    feature_store: str = "/mnt/feature-store",
    target: str = "/mnt/models/movielens",
    code_version: str = "image",
    work_folder: str = "",
    gpu: bool = False,
    tensorrt: bool = False,
    feature_store_settings: str = "",
    storage: str = "",
    namespace: str = "",
    strategy: str = "rolling",
) -> None:
    """Run the whole chain.

    Args:
        scenario: Name of a scenario in the image, or path of a scenario file.
        feature_store: Folder of the feature store (feature_store.yaml, registry).
        target: Folder that models are published to.
        code_version: What the cache of the local runner tells code by; a cluster's cache knows it from the image.
        work_folder: Folder that outlives a run, for the state of a training that is interrupted; none by default.
        gpu: Whether the model is served on GPUs: then its text encoder is tried in fp16 rather than int8.
        tensorrt: Whether Triton uses TensorRT in half precision where it has a GPU; it implies `gpu`.
        feature_store_settings: A feature_store.yaml with the registry and the online store to use; by default both are
            files of `feature_store`.
        storage: Where the cluster finds `target` (s3://..., pvc://...); empty where no InferenceService serves it.
        namespace: Namespace of the InferenceService `recommender`.
        strategy: How it changes to the new model: recreate, rolling, canary or shadow.
    """
    tables = ingest(scenario=scenario, code_version=code_version)
    tables.set_display_name("Ingest and validate")
    features = build_features(
        scenario=scenario,
        code_version=code_version,
        feature_store=feature_store,
        tables=tables.outputs["tables"],
        settings=feature_store_settings,
    )
    features.set_display_name("Build features")
    rows = build_training_set(
        scenario=scenario,
        code_version=code_version,
        tables=tables.outputs["tables"],
        features=features.outputs["features"],
    )
    rows.set_display_name("Build training set")
    model = train(
        scenario=scenario,
        code_version=code_version,
        tables=tables.outputs["tables"],
        training_set=rows.outputs["training_set"],
        work_folder=work_folder,
    )
    model.set_display_name("Train")
    evaluation = evaluate(
        scenario=scenario,
        code_version=code_version,
        tables=tables.outputs["tables"],
        training_set=rows.outputs["training_set"],
        model=model.outputs["model"],
    )
    evaluation.set_display_name("Evaluate")
    verdict = compare(
        scenario=scenario,
        tables=tables.outputs["tables"],
        training_set=rows.outputs["training_set"],
        model=model.outputs["model"],
        evaluation=evaluation.outputs["evaluation"],
        target=target,
    )
    verdict.set_display_name("Compare with baselines and live model")
    # Which model is live stands in no input.
    verdict.set_caching_options(False)
    allowed = gate(verdict=verdict.outputs["verdict"])
    allowed.set_display_name("Gate")
    allowed.set_caching_options(False)
    bundle = export(
        scenario=scenario,
        code_version=code_version,
        tables=tables.outputs["tables"],
        training_set=rows.outputs["training_set"],
        model=model.outputs["model"],
        evaluation=evaluation.outputs["evaluation"],
        gpu=gpu,
        tensorrt=tensorrt,
    )
    bundle.set_display_name("Export")
    bundle.after(allowed)
    deployed = deploy(
        bundle=bundle.outputs["bundle"],
        model=model.outputs["model"],
        target=target,
        storage=storage,
        namespace=namespace,
        strategy=strategy,
    )
    deployed.set_display_name("Deploy")
    # Publishing is a side effect: it has to happen even where nothing has changed since the last run.
    deployed.set_caching_options(False)
