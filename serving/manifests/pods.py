"""The pods that rendered documents make, with the labels, containers and volumes that policies and checks read."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from serving.manifests.problems import Document, name_of

PARTS = ("predictor", "transformer", "explainer")
WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "Job")


@dataclass(frozen=True)
class Pods:
    """The pods of one workload: `path` is where its document defines them."""

    document: str
    path: str
    namespace: str
    labels: Mapping[str, str]
    spec: Mapping[str, Any]

    @property
    def containers(self) -> list[Mapping[str, Any]]:
        """All containers, the predictor's model among them."""
        model = [self.spec["model"]] if isinstance(self.spec.get("model"), Mapping) else []
        return [*model, *(self.spec.get("containers") or ())]

    def port(self, wanted: int | str) -> int | None:
        """The number of a container's port, which a Service may name."""
        if isinstance(wanted, int):
            return wanted
        ports = [port for container in self.containers for port in container.get("ports") or ()]
        return next((port["containerPort"] for port in ports if port.get("name") == wanted), None)


def pods_of(documents: Iterable[Document]) -> Iterator[Pods]:
    """The pods of InferenceServices, labelled as KServe labels them, and of Kubernetes' own workloads."""
    for document in documents:
        metadata, spec = document.get("metadata") or {}, document.get("spec") or {}
        namespace = metadata.get("namespace", "")
        if document.get("kind") == "InferenceService":
            for part in PARTS:
                component = spec.get(part)
                if isinstance(component, Mapping):
                    labels = {
                        **(metadata.get("labels") or {}),
                        **(component.get("labels") or {}),
                        "serving.kserve.io/inferenceservice": metadata.get("name", ""),
                        "component": part,
                    }
                    yield Pods(name_of(document), f"spec.{part}", namespace, labels, component)
        elif document.get("kind") in WORKLOADS:
            template = spec.get("template") or {}
            labels = (template.get("metadata") or {}).get("labels") or {}
            yield Pods(name_of(document), "spec.template.spec", namespace, labels, template.get("spec") or {})


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a label selector matches labels. An empty selector matches all."""
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    for expression in selector.get("matchExpressions") or ():
        key, values = expression["key"], expression.get("values") or ()
        met = {
            "In": labels.get(key) in values,
            "NotIn": labels.get(key) not in values,
            "Exists": key in labels,
            "DoesNotExist": key not in labels,
        }[expression["operator"]]
        if not met:
            return False
    return True
