"""Step 0: what all later steps depend on in addition to their inputs."""

from kfp import dsl

from components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def fingerprint(scenario: str, code_version: str) -> str:
    """Sum up code, scenario and source, so that a step is taken from the cache only where none of them has changed.

    Args:
        scenario: Name of a scenario in the image, or path of a scenario file.
        code_version: Identifier of the code if the image does not identify it.

    Returns:
        A checksum, the `code_version` of the later steps.
    """
    from polytask.registry.fingerprint import fingerprint as run

    found = run(scenario, code_version)
    print(f"code, scenario and source: {found}")
    return found
