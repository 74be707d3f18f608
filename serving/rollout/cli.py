"""The command `polytask rollout`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from polytask.progress import log_to_stderr


def rollout(
    bundle: Annotated[Path, typer.Option(help="Folder of the published bundle.")],
    storage_uri: Annotated[
        str, typer.Option(help="Where the cluster finds the folder that holds it: s3://..., pvc://...")
    ],
    namespace: Annotated[str, typer.Option(help="Namespace of the InferenceService.")],
    name: Annotated[str, typer.Option(help="Name of the InferenceService.")] = "recommender",
    strategy: Annotated[str, typer.Option(help="recreate, rolling, canary or shadow.")] = "rolling",
    manifest: Annotated[Path | None, typer.Option(help="A rendered overlay, to create it from.")] = None,
    url: Annotated[
        str, typer.Option(help="Address of the transformer, if it is not reached by its Service.")
    ] = "http://{name}-transformer.{namespace}.svc",
    prometheus: Annotated[str, typer.Option(help="Address of Prometheus, for the rules.")] = "",
    rules: Annotated[Path | None, typer.Option(help="YAML file of rules by which a canary is judged.")] = None,
    upload: Annotated[
        bool,
        typer.Option(
            "--upload/--no-upload", help="Copy the bundle to s3:// or gs:// first, where it is not there yet."
        ),
    ] = True,
    force_conflicts: Annotated[bool, typer.Option(help="Overwrite fields that another field manager owns.")] = False,
    ready_timeout: Annotated[float, typer.Option(min=1, help="Seconds that the pods may take to start.")] = 900,
    response_timeout: Annotated[float, typer.Option(min=1, help="Seconds until correct responses, after that.")] = 120,
    lease_timeout: Annotated[
        float, typer.Option(min=0, help="Seconds to wait for another rollout of the same InferenceService.")
    ] = 3600,
    registry: Annotated[
        str,
        typer.Option(
            help="Registry that records the live version: a folder of published versions, or an address of "
            "Kubeflow Model Registry; by default no registry is updated."
        ),
    ] = "",
) -> None:
    """Roll out a published model; roll back if smoke tests fail.

    Examples:
      polytask rollout --bundle current --storage-uri s3://models --namespace staging
      polytask rollout --bundle current --storage-uri s3://m --namespace live --strategy canary
    """
    from polytask.contract.contract import load_contract
    from serving.registry.address import open_registry
    from serving.registry.rolled_out import check_registered, notify_registry
    from serving.rollout.deploy import deploy

    opened, version = None, 0
    if registry:
        contract = load_contract(bundle, verify_files=False)
        version = contract.model_version
        opened = open_registry(registry, bundle.resolve().parent, contract.scenario.name)
        check_registered(opened, version)
    log_to_stderr()
    outcome = deploy(
        bundle,
        storage_uri=storage_uri,
        namespace=namespace,
        name=name,
        strategy=strategy,
        manifest=manifest,
        url=url,
        prometheus=prometheus,
        rules=rules,
        force_conflicts=force_conflicts,
        ready_timeout=ready_timeout,
        response_timeout=response_timeout,
        lease_timeout=lease_timeout,
        upload=upload,
    )
    reported = "no registry was updated; --registry names one"
    if outcome.action == "shadowing":
        reported = "a shadow is not live; no registry was updated"
    elif opened is not None:
        reported = notify_registry(opened, version)
    for line in (str(outcome), reported):
        Console().print(line, highlight=False, soft_wrap=True)
