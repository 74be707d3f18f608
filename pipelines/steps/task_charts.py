"""On a cluster, in addition to the chain: a step for each task, whose artefacts are its metrics and charts."""

from kfp import dsl
from kfp.dsl.pipeline_task import PipelineTask

from components.show_task import show_task
from pipelines.steps.definition import on_a_cluster, step


def task_charts(evaluation: PipelineTask) -> None:
    """Show each task of what the step `evaluate` found. Which tasks there are is known when the pipeline runs.

    A local run has no user interface for it: the terminal prints the metrics.
    """
    if on_a_cluster():
        # One at a time: nothing waits for them, and kfp's local runner mixes up what two at once print.
        with dsl.ParallelFor(evaluation.outputs["Output"], name="Tasks", parallelism=1) as task:
            step(show_task(task=task, evaluation=evaluation.outputs["evaluation"]), "Show task", "light")
