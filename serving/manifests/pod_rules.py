"""What every pod here has to be: restricted (Pod Security Standards), pinned, without the API server's token."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from serving.manifests.pods import Pods, pods_of
from serving.manifests.problems import Document, Problem, name_of

Findings = Iterator[tuple[str, str]]


def check_pods(document: Document) -> list[Problem]:
    """Problems of the pods that a document makes, and secrets with content."""
    found = [entry for path, pod in _pods(document) for entry in _pod(path, pod)]
    if document.get("kind") == "Secret" and (document.get("data") or document.get("stringData")):
        found.append(("", "has content; secrets are made outside the repository"))
    return [Problem(name_of(document), path, message) for path, message in found]


def check_digests(documents: Iterable[Document]) -> list[Problem]:
    """Problems of images that are referenced by a tag, which can be moved, and of a predictor that names no image."""
    return [Problem(pods.document, *problem) for pods in pods_of(documents) for problem in _tags(pods)]


def _tags(pods: Pods) -> Findings:
    for container in pods.containers:
        image = container.get("image")
        if image is None:
            yield (
                f"{pods.path}.model.image",
                f"is missing: KServe takes the runtime's image by the tag {container.get('runtimeVersion')!r}; "
                "add the component triton-image and its entry of `images`; see containers/pin.sh",
            )
        elif "@sha256:" not in image:
            yield pods.path, f"image {image} is not referenced by digest; see containers/pin.sh"


def _pods(document: Document) -> Iterator[tuple[str, Mapping[str, Any]]]:
    spec = document.get("spec") or {}
    if document.get("kind") == "InferenceService":
        for name in ("predictor", "transformer", "explainer"):
            component = spec.get(name)
            if isinstance(component, Mapping):
                # The model becomes the container of the predictor's pod.
                model = [component["model"]] if isinstance(component.get("model"), Mapping) else []
                yield f"spec.{name}", {**component, "containers": [*model, *(component.get("containers") or ())]}
    elif document.get("kind") in ("Deployment", "StatefulSet", "DaemonSet", "Job"):
        yield "spec.template.spec", (spec.get("template") or {}).get("spec") or {}
    elif document.get("kind") == "Pod":
        yield "spec", spec


def _pod(path: str, pod: Mapping[str, Any]) -> Findings:
    security = pod.get("securityContext") or {}
    if security.get("runAsNonRoot") is not True:
        yield f"{path}.securityContext.runAsNonRoot", "is not true"
    if (security.get("seccompProfile") or {}).get("type") not in ("RuntimeDefault", "Localhost"):
        yield f"{path}.securityContext.seccompProfile", "is not RuntimeDefault"
    if pod.get("automountServiceAccountToken") is not False:
        yield f"{path}.automountServiceAccountToken", "is not false: no pod here talks to the API server"
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(field):
            yield f"{path}.{field}", "is not allowed"
    for volume in pod.get("volumes") or ():
        if "hostPath" in volume:
            yield f"{path}.volumes.{volume.get('name')}", "hostPath is not allowed"
    for container in [*(pod.get("initContainers") or ()), *(pod.get("containers") or ())]:
        yield from _container(f"{path}.{container.get('name', 'model')}", container)


def _container(path: str, container: Mapping[str, Any]) -> Findings:
    security = container.get("securityContext") or {}
    if security.get("allowPrivilegeEscalation") is not False:
        yield f"{path}.securityContext.allowPrivilegeEscalation", "is not false"
    if security.get("privileged"):
        yield f"{path}.securityContext.privileged", "is not allowed"
    if security.get("readOnlyRootFilesystem") is not True:
        yield f"{path}.securityContext.readOnlyRootFilesystem", "is not true"
    capabilities = security.get("capabilities") or {}
    if capabilities.get("drop") != ["ALL"] or set(capabilities.get("add") or ()) - {"NET_BIND_SERVICE"}:
        yield f"{path}.securityContext.capabilities", "is not drop: [ALL]"
    image = container.get("image")
    if image is not None and "@sha256:" not in image and image.rpartition("/")[2].partition(":")[2] in ("", "latest"):
        yield f"{path}.image", f"{image!r} is not pinned; allowed: a tag other than latest, or a digest"
    resources = container.get("resources") or {}
    if not resources.get("requests") or not resources.get("limits"):
        yield f"{path}.resources", "has no requests or no limits"
