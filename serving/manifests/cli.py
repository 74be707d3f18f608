"""The command `polytask render`."""

from pathlib import Path
from typing import Annotated

import typer
import yaml

from polytask.errors import ServingError
from polytask.progress import progress_console
from polytask.storage.atomic import write_text
from serving.manifests.render import OVERLAYS

OUTPUT = Path("build/manifests")


def render(
    overlays: Annotated[Path, typer.Option(help="Folder of the overlays.")] = OVERLAYS,
    output: Annotated[Path, typer.Option(help="Folder for one YAML file per overlay.")] = OUTPUT,
    digests: Annotated[bool, typer.Option(help="Refuse images that are not referenced by digest.")] = False,
    crds: Annotated[Path | None, typer.Option(help="Folder of CustomResourceDefinitions to check against too.")] = None,
) -> None:
    """Render every overlay of manifests/ to build/manifests/<overlay>.yaml and check it.

    build/manifests/stopped/<overlay>.yaml holds its InferenceService as it is created, before the first model.

    Examples:
      polytask render
      polytask render --crds crds
    """
    from serving.manifests import render as kustomize
    from serving.manifests.check import check_documents, check_overlay_length
    from serving.manifests.crd_schemas import load_crds
    from serving.manifests.pod_rules import check_digests
    from serving.rollout.strategies.first_model import stopped

    schemas = load_crds(crds) if crds is not None else None
    progress = progress_console()
    problems = []
    for name in kustomize.overlay_names(overlays):
        text = kustomize.render(overlays / name)
        found = [
            *check_overlay_length(overlays / name),
            *check_documents(kustomize.documents(text), schemas),
            *(check_digests(kustomize.documents(text)) if digests else ()),
        ]
        problems += [f"{name}: {problem}" for problem in found]
        write_text(output / f"{name}.yaml", text)
        first = [stopped(entry) for entry in kustomize.documents(text) if entry.get("kind") == "InferenceService"]
        write_text(output / "stopped" / f"{name}.yaml", yaml.safe_dump_all(first, sort_keys=False))
        progress.print(f"wrote {output / name}.yaml", highlight=False, soft_wrap=True)
    if problems:
        raise ServingError("\n".join(problems))
