"""Step 7: make a bundle the one that is served."""

from kfp import dsl

from components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def deploy(bundle: dsl.Input[dsl.Model], target: str) -> str:
    """Publish the bundle to a folder, verified, under its model version, and point `current` at it.

    Args:
        bundle: What `export` wrote.
        target: The folder of all published versions of this scenario.

    Returns:
        The published folder.
    """
    from pathlib import Path

    from serving.publish import publish

    published = publish(Path(bundle.path), Path(target))
    print(f"published {published}")
    return str(published)
