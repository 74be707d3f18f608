"""Step 8: the bundle that serving reads: ONNX, contract, tokenizer, catalogues, Triton configuration."""

from kfp import dsl

from components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def export(
    scenario: str,
    code_version: str,
    tables: dsl.Input[dsl.Dataset],
    training_set: dsl.Input[dsl.Dataset],
    model: dsl.Input[dsl.Model],
    evaluation: dsl.Input[dsl.Artifact],
    bundle: dsl.Output[dsl.Model],
    gpu: bool = False,
) -> None:
    """Export to ONNX, compare every output with torch, write the contract and the Triton model repository.

    Args:
        scenario: Name of a scenario in the image, or path of a scenario file.
        code_version: See `ingest`.
        tables: What `ingest` wrote.
        training_set: What `build_training_set` wrote; its last requests are the ones that are compared.
        model: What `train` wrote.
        evaluation: What `evaluate` wrote; the test metrics go into the contract.
        bundle: The bundle's folder.
        gpu: Whether the repository is for GPUs: then `export.precision: auto` tries fp16 in place of int8.
    """
    from pathlib import Path

    from polytask.contract.contract import REPOSITORY_FOLDER
    from polytask.jobs.export import export_model
    from polytask.scenario import load_scenario
    from serving.triton.repository import write_repository

    exported = export_model(
        load_scenario(scenario),
        Path(tables.path),
        Path(training_set.path),
        Path(model.path),
        Path(evaluation.path),
        Path(bundle.path),
        finish=lambda contract, folder: write_repository(contract, folder / REPOSITORY_FOLDER),
        gpu=gpu,
    )
    for graph, precision in exported.contract.precisions.items():
        print(f"{graph}: {precision.precision}, {precision.reason}")
        for task, figures in precision.tasks.items():
            print(f"  {task}: agreement {figures.agreement} with fp32; {figures.metric} loses {figures.loss}")
    for output, difference in exported.parity.items():
        print(f"{output}: largest difference to torch {difference:.1e}")
    bundle.metadata["lineage"] = model.metadata["lineage"]
    bundle.metadata["model_version"] = exported.contract.model_version
    bundle.metadata["contract_sha256"] = exported.contract.checksum
