"""The steps between a model and its deployment: metrics, comparison with baselines and the live model, and the gate."""

from typing import NamedTuple

from kfp.dsl.pipeline_task import PipelineTask

from components.compare import compare
from components.evaluate import evaluate
from components.gate import gate
from pipelines.steps.data_steps import DataSteps, Text
from pipelines.steps.definition import step
from pipelines.steps.task_charts import task_charts


class GateSteps(NamedTuple):
    """The step that evaluates, and the gate, which what follows has to wait for."""

    evaluation: PipelineTask
    gate: PipelineTask


def gate_steps(
    scenario: Text,
    data: DataSteps,
    model: PipelineTask,
    registry_dir: Text,
    namespace: Text,
    registry: Text,
    bundle: PipelineTask | None = None,
) -> GateSteps:
    """Evaluate the output `model` of a step. An updated model is served by the output `bundle` of the step `bundle`."""
    of_bundle = {} if bundle is None else {"bundle": bundle.outputs["bundle"]}
    inputs = {
        "scenario": scenario,
        "tables": data.tables.outputs["tables"],
        "training_set": data.rows.outputs["training_set"],
        "model": model.outputs["model"],
        **of_bundle,
    }
    evaluation = evaluate(code_version=data.code_version, **inputs)
    step(evaluation, "Evaluate", "model")
    task_charts(evaluation)
    verdict = compare(
        evaluation=evaluation.outputs["evaluation"],
        registry_dir=registry_dir,
        registry=registry,
        namespace=namespace,
        **inputs,
    )
    # No input records which model is live.
    step(verdict, "Compare with baselines and live model", "model", cached=False)
    allowed = gate(verdict=verdict.outputs["verdict"])
    step(allowed, "Gate", "light", cached=False)
    return GateSteps(evaluation, allowed)
