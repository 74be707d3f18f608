"""The last step of every pipeline on a cluster, whether the others failed or not: report the outcome."""

from kfp import dsl

from components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def report(
    pipeline: str,
    scenario: str,
    outcome: dsl.Output[dsl.Markdown],
    status: dsl.PipelineTaskFinalStatus,
) -> None:
    """Show the outcome in the user interface, and send it where the secret `polytask-report` names an address.

    Args:
        pipeline: Name of the pipeline.
        scenario: What it ran for.
        outcome: The outcome as Markdown.
        status: How the steps ended; Kubeflow fills it in.
    """
    from pathlib import Path

    from polytask.jobs.notify import outcome_line, outcome_page, send_outcome
    from polytask.storage.atomic import write_text

    line = outcome_line(pipeline, scenario, status.state, status.error_message)
    write_text(Path(outcome.path), outcome_page(line, status.pipeline_job_resource_name))
    sent = send_outcome(line)
    if sent is not None:
        print(sent)
    print(line)
