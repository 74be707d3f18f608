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
    work_folder: str = "",
    target: str = "",
    registry: str = "",
    processes: int = 1,
) -> None:
    """Encode the texts with the language model, train history encoder, towers and heads, calibrate new items.

    Args:
        scenario: Name of a scenario in the image, or path of a scenario file.
        code_version: See `ingest`.
        tables: What `ingest` wrote.
        training_set: What `build_training_set` wrote.
        model: Folder with model.safetensors, scenario.json, training.json and cold_start.safetensors.
        work_folder: Folder that outlives the step: a training that was interrupted goes on from the state it left
            there. Without one the state lies beside `model`.
        target: The folder of all published versions: the one that is live now is noted as the parent of this model.
        registry: See `compare`.
        processes: How many processes train together, one per GPU where there are GPUs; the losses are those of one.
    """
    from pathlib import Path

    from polytask.environment import prepare_environment

    prepare_environment()
    from polytask.growth.jobs import calibrate_job
    from polytask.jobs import train_model
    from polytask.lineage import lineage_of
    from polytask.scenario import load_scenario
    from polytask.together import train_together
    from serving.registry.address import open_registry

    loaded = load_scenario(scenario)
    live = open_registry(registry, Path(target), loaded.name).live() if target else None
    inputs = loaded, Path(tables.path), Path(training_set.path)
    work = Path(work_folder) if work_folder else None
    if processes > 1:
        trained = train_together(processes, *inputs, Path(model.path), print, work)
    else:
        trained = train_model(*inputs, Path(model.path), print, work)
    model.metadata.update(trained)
    parent = None if live is None else live.version
    model.metadata["lineage"] = lineage_of(loaded, Path(training_set.path), parent)
    calibrate_job(loaded, Path(tables.path), Path(training_set.path), Path(model.path), print)
