"""Step 4: train all tasks on one shared encoder."""

from kfp import dsl

from components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def train(
    scenario: str,
    code_version: str,
    tables: dsl.Input[dsl.Dataset],
    training_set: dsl.Input[dsl.Dataset],
    model: dsl.Output[dsl.Model],
    checkpoint_dir: str = "",
    registry_dir: str = "",
    registry: str = "",
    nproc_per_node: int = 1,
    num_nodes: int = 1,
    shared_storage: str = "",
    training_runtime: str = "torch-distributed",
    training_namespace: str = "",
) -> None:
    """Encode the texts with the language model, train history encoder, towers and heads, calibrate new items.

    Args:
        scenario: Name of a scenario in the image, or path of a scenario file.
        code_version: See `ingest`.
        tables: What `ingest` wrote.
        training_set: What `build_training_set` wrote.
        model: Folder with model.safetensors, scenario.json, training.json and cold_start.safetensors.
        checkpoint_dir: Folder that outlives the step: a training that was interrupted goes on from the state it left
            there. Without one the state is stored next to `model`.
        registry_dir: The folder of all published versions: the live one is recorded as the parent of this model.
        registry: See `compare`.
        nproc_per_node: How many processes train together on a machine, one per GPU where there are GPUs; the losses are
            those of one.
        num_nodes: How many machines train together: 1 is the one of this step, more are those of a TrainJob.
        shared_storage: Where they meet: s3://..., gs://..., or a folder that this step and all of them mount.
        training_runtime: The ClusterTrainingRuntime of that TrainJob.
        training_namespace: Its namespace; that of this step's pod where it is empty.
    """
    from pathlib import Path

    from polytask.environment import prepare_environment

    prepare_environment()
    from components.image import IMAGE
    from polytask.registry.lineage import lineage_of
    from polytask.scenario import load_scenario
    from serving.registry.address import open_registry

    loaded = load_scenario(scenario)
    live = open_registry(registry, Path(registry_dir), loaded.name).live() if registry_dir else None
    inputs = loaded, Path(tables.path), Path(training_set.path)
    if num_nodes > 1:
        from polytask.jobs.exchange import Inputs
        from trainer.on_nodes import train_on_nodes
        from trainer.train_job import Nodes

        requested = loaded.resources.node or loaded.resources.training
        trained = train_on_nodes(
            Nodes(num_nodes, nproc_per_node, IMAGE, requested, training_runtime),
            Inputs(*inputs),
            Path(model.path),
            print,
            shared_storage=shared_storage,
            namespace=training_namespace,
            hours=min(requested.timeout_hours, loaded.resources.training.timeout_hours),
        )
    else:
        from polytask.jobs.launch import train_together
        from polytask.jobs.train import remove_state, train_model
        from polytask.jobs.updates import calibrate_job

        work = Path(checkpoint_dir) if checkpoint_dir else Path(model.path).parent
        if nproc_per_node > 1:
            trained = train_together(nproc_per_node, *inputs, Path(model.path), print, work, keep_state=True)
        else:
            trained = train_model(*inputs, Path(model.path), print, work, keep_state=True)
        calibrate_job(*inputs, Path(model.path), print)
        # Not earlier: a stop while new items are calibrated would lose a training that is finished.
        remove_state(loaded, work)
    model.metadata.update(trained)
    parent = None if live is None else live.version
    model.metadata["lineage"] = lineage_of(loaded, Path(training_set.path), parent)
