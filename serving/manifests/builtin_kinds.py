"""Kinds of Kubernetes itself, checked against its published schemas; other kinds have to be known by name."""

from polytask.errors import ServingError
from serving.manifests.problems import Document, Problem, name_of

# The servers that are supported: a document has to fit the oldest and the newest of them.
SUPPORTED = ("1.35", "1.37")

# Kinds of other projects, by API version. InferenceServices have checks of their own; the others have no schema here.
FOREIGN = {
    ("serving.kserve.io/v1beta1", "InferenceService"),
    ("serving.kserve.io/v1alpha1", "ClusterStorageContainer"),
    ("gateway.networking.k8s.io/v1", "HTTPRoute"),
    ("gateway.networking.k8s.io/v1", "GRPCRoute"),
    ("monitoring.coreos.com/v1", "PodMonitor"),
    ("monitoring.coreos.com/v1", "PrometheusRule"),
    ("security.istio.io/v1", "PeerAuthentication"),
    ("security.istio.io/v1", "RequestAuthentication"),
    ("security.istio.io/v1", "AuthorizationPolicy"),
}


def check_builtin(document: Document) -> list[Problem]:
    """Problems of a document whose kind is Kubernetes' own, or that no one knows."""
    try:
        import kubernetes_validate
    except ImportError as error:
        raise ServingError("kubernetes-validate is not installed; it is in the extra `dev`") from error
    kind = (document.get("apiVersion"), document.get("kind"))
    if kind in FOREIGN:
        return []
    if not all(isinstance(part, str) for part in kind):
        return [Problem(name_of(document), "", "has no apiVersion or kind")]
    for version in SUPPORTED:
        try:
            kubernetes_validate.validate(dict(document), version, strict=True)
        except kubernetes_validate.SchemaNotFoundError:
            return [Problem(name_of(document), "", f"{kind[0]} {kind[1]} is not a known kind of Kubernetes {version}")]
        except kubernetes_validate.ValidationError as error:
            path = ".".join(str(part) for part in error.path)
            return [Problem(name_of(document), path, f"{error.message} (Kubernetes {version})")]
    return []
