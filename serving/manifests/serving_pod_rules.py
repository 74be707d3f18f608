"""What the pods of an InferenceService need so that no request is lost and nothing but what was deployed is served."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from serving.manifests.problems import Document

Findings = Iterator[tuple[str, str]]
Spec = Mapping[str, Any]


def deployed_contract(document: Document, spec: Spec) -> Findings:
    """A transformer or explainer with a bundle has to compare the checksum that the deploy step wrote."""
    for path, arguments in _readers(spec):
        if option(arguments, "--bundle") is not None and option(arguments, "--contract_sha256") is None:
            yield path, "--bundle without --contract_sha256: a bundle that was changed in the bucket would be served"


def all_tritons(document: Document, spec: Spec) -> Findings:
    """They have to reach every Triton pod: KServe would name its own Service, behind which gRPC reaches one."""
    for path, arguments in _readers(spec):
        if option(arguments, "--bundle") is not None and option(arguments, "--predictor_host") is None:
            yield path, "no --predictor_host: KServe's has one address; expected the name of a headless Service"


def orderly_end(document: Document, spec: Spec) -> Findings:
    """Triton has to serve on until nobody resolves its address any more, and then to end its calls."""
    predictor = spec.get("predictor") or {}
    model = predictor.get("model")
    if not isinstance(model, Mapping):
        return
    sleep = ((model.get("lifecycle") or {}).get("preStop") or {}).get("sleep") or {}
    if not sleep.get("seconds"):
        yield "spec.predictor.model.lifecycle.preStop.sleep", "is missing: an ending pod still gets calls for a moment"
        return
    exit_seconds = int(option(model.get("args") or (), "--exit-timeout-secs") or 30)
    expected, found = sleep["seconds"] + exit_seconds, predictor.get("terminationGracePeriodSeconds", 30)
    if found < expected:
        yield (
            "spec.predictor.terminationGracePeriodSeconds",
            f"{found}; expected at least {expected}, preStop and --exit-timeout-secs",
        )


def option(arguments: Sequence[str], name: str) -> str | None:
    """The value of an option on a command line; None where it is not given."""
    for position, argument in enumerate(arguments):
        if argument.startswith(f"{name}="):
            return argument.partition("=")[2]
        if argument == name and position + 1 < len(arguments):
            return arguments[position + 1]
    return None


def _readers(spec: Spec) -> Iterator[tuple[str, Sequence[str]]]:
    for name in ("transformer", "explainer"):
        for position, container in enumerate((spec.get(name) or {}).get("containers") or ()):
            yield f"spec.{name}.containers.{position}.args", container.get("args") or ()
