"""Step 9: make a bundle the one that is served."""

from kfp import dsl

from components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def deploy(
    bundle: dsl.Input[dsl.Model],
    model: dsl.Input[dsl.Model],
    registry_dir: str,
    storage_uri: str = "",
    namespace: str = "",
    inference_service: str = "recommender",
    strategy: str = "rolling",
    registry: str = "",
    scenario: str = "",
) -> str:
    """Publish the bundle to a folder, verified, under its model version, register it, and make it the live version.

    With `storage_uri` an InferenceService serves it before it counts as live: the service is changed, tested with
    a request per task, and changed back if a request fails, which fails the step with the reason. A shadow does not
    become live.

    Args:
        bundle: What `export` wrote.
        model: What `train` wrote; it is kept in the registry, for the next candidate to be compared with.
        registry_dir: The folder of all published versions of this scenario.
        storage_uri: Where the cluster finds that folder (s3://..., pvc://...); empty where no cluster serves it.
        namespace: Namespace of the InferenceService.
        inference_service: Its name.
        strategy: recreate, rolling, canary or shadow.
        registry: See `compare`.
        scenario: Name or path of the scenario whose `retention` selects the old versions to remove afterwards; empty
            for none.

    Returns:
        The published folder.
    """
    from pathlib import Path

    from polytask.progress import log_to_stdout
    from serving.rollout.publish import promote, publish

    log_to_stdout()
    lineage = {name: str(value) for name, value in model.metadata.get("lineage", {}).items()}
    published = publish(
        Path(bundle.path), Path(registry_dir), Path(model.path), lineage, registry=registry, live=not storage_uri
    )
    print(f"published {published}")
    if storage_uri:
        from serving.rollout.deploy import deploy as roll_out

        outcome = roll_out(
            published, storage_uri=storage_uri, namespace=namespace, name=inference_service, strategy=strategy
        )
        if outcome.action != "shadowing":
            promote(published, registry)
        print(outcome)
    if scenario:
        from polytask.registry.retention import prune
        from polytask.scenario import load_scenario
        from serving.registry.address import open_registry
        from serving.registry.served import find_live

        loaded = load_scenario(scenario)
        opened = open_registry(registry, Path(registry_dir), loaded.name)
        if loaded.retention.removes:
            served = find_live(opened, namespace, inference_service).version if storage_uri else None
            for pruned in prune(
                opened,
                keep=loaded.retention.keep,
                max_age_days=loaded.retention.max_age_days,
                served=(int(published.name), *(() if served is None else (served.version,))),
            ):
                print(f"removed version {pruned.version.version}: {pruned.reason}")
    return str(published)
