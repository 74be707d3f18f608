"""The steps that several pipelines end with: publish a bundle, and run a smoke test of the published model."""

from kfp.dsl.pipeline_task import PipelineTask

from components.deploy import deploy
from components.smoke import smoke
from pipelines.steps.data_steps import Text
from pipelines.steps.definition import step


def publish_steps(
    scenario: Text,
    bundle: PipelineTask,
    model: PipelineTask,
    registry_dir: Text,
    storage_uri: Text,
    namespace: Text,
    strategy: Text,
    registry: Text,
    after: PipelineTask | None = None,
) -> PipelineTask:
    """Deploy the outputs `bundle` and `model` of two steps (or one) once `after` is done, and test every task.

    Returns the step that deploys; its output is the published folder.
    """
    deployed = deploy(
        bundle=bundle.outputs["bundle"],
        model=model.outputs["model"],
        registry_dir=registry_dir,
        storage_uri=storage_uri,
        namespace=namespace,
        strategy=strategy,
        registry=registry,
        scenario=scenario,
    )
    # Publishing is a side effect: it has to happen even where nothing has changed since the last run.
    step(deployed, "Deploy", "light", cached=False)
    if after is not None:
        deployed.after(after)
    requested = smoke(published=deployed.output, storage_uri=storage_uri, namespace=namespace, strategy=strategy)
    step(requested, "Smoke test", "light", again=True, cached=False)
    return deployed
