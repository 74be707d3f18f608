"""Step 10: a smoke test of the published model."""

from kfp import dsl

from components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def smoke(
    published: str,
    storage_uri: str = "",
    namespace: str = "",
    inference_service: str = "recommender",
    strategy: str = "rolling",
) -> None:
    """Request every task from the InferenceService if one serves it, else from the ONNX files in this process.

    Args:
        published: The published folder, as `deploy` returns it.
        storage_uri: As for `deploy`; empty where no InferenceService serves the folder.
        namespace: Namespace of the InferenceService.
        inference_service: Its name.
        strategy: As for `deploy`. A shadow has been tested by the deploy step, and gets no requests.
    """
    from pathlib import Path

    from serving.rollout.smoke_bundle import smoke_in_process, smoke_through_service

    if storage_uri and strategy != "shadow":
        print(smoke_through_service(Path(published), inference_service, namespace))
        return
    for line in smoke_in_process(Path(published)):
        print(line)
