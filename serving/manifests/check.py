"""All checks over the documents of one overlay."""

from collections.abc import Iterable
from pathlib import Path

from serving.manifests.builtin_kinds import check_builtin
from serving.manifests.crd_schemas import Schemas, check_against_crds
from serving.manifests.feature_store_rules import check_feature_stores
from serving.manifests.inference_service_rules import check_inference_service
from serving.manifests.kserve_types import check_types
from serving.manifests.pod_rules import check_pods
from serving.manifests.problems import Document, Problem, name_of
from serving.manifests.query_rules import check_queries
from serving.manifests.route_rules import check_routes

LONGEST_OVERLAY = 40


def check_documents(documents: Iterable[Document], schemas: Schemas | None = None) -> list[Problem]:
    """Problems of rendered documents, each alone and together. `schemas` are those of CustomResourceDefinitions."""
    problems, sound = [], []
    for document in documents:
        found = [*check_builtin(document), *check_types(document), *check_against_crds(document, schemas or {})]
        # The rules read fields: they need a document whose fields have the right types.
        if not found:
            sound.append(document)
            found = [
                *check_inference_service(document),
                *check_pods(document),
                *check_queries(document),
                *check_routes(document),
            ]
        problems += found
    return [*problems, *_references(sound), *check_feature_stores(sound)]


def check_overlay_length(folder: Path) -> list[Problem]:
    """An overlay holds values only: one of more than 40 lines, its README aside, should be a component."""
    files = [path for path in folder.iterdir() if path.is_file() and path.suffix != ".md"]
    lines = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in files)
    if lines > LONGEST_OVERLAY:
        return [Problem(f"overlay {folder.name}", "", f"{lines} lines, at most {LONGEST_OVERLAY}")]
    return []


def _references(documents: list[Document]) -> list[Problem]:
    """ConfigMaps and ServiceAccounts that an InferenceService names have to be there, under the same name."""
    known = {(document.get("kind"), document["metadata"]["name"]) for document in documents}
    problems = []
    for document in documents:
        if document.get("kind") != "InferenceService":
            continue
        for part in ("predictor", "transformer", "explainer"):
            component = document["spec"].get(part) or {}
            wanted = [("ServiceAccount", component.get("serviceAccountName"))]
            wanted += [
                ("ConfigMap", (volume.get("configMap") or {}).get("name")) for volume in component.get("volumes") or ()
            ]
            for kind, name in wanted:
                if name is not None and (kind, name) not in known:
                    problems.append(Problem(name_of(document), f"spec.{part}", f"{kind} {name} is not there"))
    return problems
