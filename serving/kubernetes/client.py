"""The few calls to the Kubernetes API that a step needs, with deadlines, retries and errors that advise what to do.

Objects are applied server-side: the API server keeps who owns which field, so that the deploy step changes its own
fields and `kubectl apply` all others, each as often as it likes.
"""

import json
import os
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
import tenacity
from kubernetes import client, config

from serving.rollout.errors import Conflicting, NotThere, Refused, RolloutError

MANAGER = "polytask-deployer"
# The manager of `kubectl apply --server-side`: what is created in its name, kubectl takes over without a conflict.
KUBECTL = "kubectl"
CALL_SECONDS = 15.0
# A write that is under way when its Lease runs out arrives within the third of it in which no other one is begun.
WRITE_TIMES = httpx.Timeout(6.0, connect=2.0, pool=2.0)
ATTEMPTS = 5
BUSY = (429, 500, 502, 503, 504)
REFUSED = (400, 401, 403, 422)

Object = dict[str, Any]


@dataclass(frozen=True)
class Resource:
    """A kind of namespaced objects, and its path in the API."""

    group: str
    version: str
    plural: str
    kind: str

    @property
    def api_version(self) -> str:
        """As documents write it; Kubernetes' own first kinds are of no group."""
        return f"{self.group}/{self.version}" if self.group else self.version


INFERENCE_SERVICE = Resource("serving.kserve.io", "v1beta1", "inferenceservices", "InferenceService")
HTTP_ROUTE = Resource("gateway.networking.k8s.io", "v1", "httproutes", "HTTPRoute")
GRPC_ROUTE = Resource("gateway.networking.k8s.io", "v1", "grpcroutes", "GRPCRoute")
POD = Resource("", "v1", "pods", "Pod")
DEPLOYMENT = Resource("apps", "v1", "deployments", "Deployment")
LEASE = Resource("coordination.k8s.io", "v1", "leases", "Lease")


def connect(namespace: str) -> "Cluster":
    """The cluster of the pod this runs in, or of the user's kubeconfig, which wins where KUBECONFIG names it.

    Raises RolloutError where there is neither.
    """
    in_a_pod = "KUBERNETES_SERVICE_HOST" in os.environ and "KUBECONFIG" not in os.environ
    try:
        (config.load_incluster_config if in_a_pod else config.load_kube_config)()
    except config.ConfigException as error:
        raise RolloutError(f"no cluster: neither a pod's credentials nor a kubeconfig: {error}") from error
    return Cluster(client.Configuration.get_default_copy(), namespace)


class Cluster:
    """One namespace of a cluster.

    Address and credentials are those of Kubernetes' own client, which does not make the calls: its releases
    differ in how they apply server-side, and training and serving do not have the same one. `may_write` is called
    before an object is applied or deleted, and raises where it must not be.
    """

    def __init__(self, configuration: client.Configuration, namespace: str, retry_seconds: float = 1.0) -> None:
        self.namespace = namespace
        self._configuration = configuration
        self._client = httpx.Client(
            base_url=configuration.host, timeout=CALL_SECONDS, verify=_tls(configuration), trust_env=False
        )
        self._retry_seconds = retry_seconds
        self.may_write: Callable[[], None] | None = None

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def get(self, resource: Resource, name: str) -> Object | None:
        """The object, None where there is none."""
        return self._call("GET", self._path(resource, name), f"{resource.kind} {name}", missing=True)

    def apply(
        self,
        resource: Resource,
        document: Mapping[str, Any],
        manager: str = MANAGER,
        force: bool = False,
        dry_run: bool = False,
    ) -> Object:
        """Make the fields of `document` those of `manager` and return the whole object; unknown fields are refused.

        With `dry_run` all of that is checked, by the webhooks too, and nothing changes.
        Raises Conflicting where a field has another owner and another value, unless `force` takes it over.
        """
        name = document["metadata"]["name"]
        query = {"fieldManager": manager, "fieldValidation": "Strict", "force": json.dumps(force)}
        query |= {"dryRun": "All"} if dry_run else {}
        answer = self._call(
            "PATCH", self._path(resource, name), f"{resource.kind} {name}", query=query, body=dict(document)
        )
        assert answer is not None
        return answer

    def create(self, resource: Resource, document: Mapping[str, Any]) -> Object:
        """Create the object. Raises Conflicting where there is one of this name already."""
        return self._write("POST", self._path(resource), resource, document)

    def replace(self, resource: Resource, document: Mapping[str, Any]) -> Object:
        """Replace the object that has this `resourceVersion`. Raises Conflicting where it has another one by now."""
        return self._write("PUT", self._path(resource, document["metadata"]["name"]), resource, document)

    def _write(self, method: str, path: str, resource: Resource, document: Mapping[str, Any]) -> Object:
        what = f"{resource.kind} {document['metadata']['name']}"
        answer = self._call(method, path, what, query={"fieldManager": MANAGER}, body=dict(document))
        assert answer is not None
        return answer

    def delete(self, resource: Resource, name: str) -> bool:
        """Delete the object; False where there was none."""
        path = self._path(resource, name)
        return self._call("DELETE", path, f"{resource.kind} {name}", missing=True) is not None

    def labelled(self, resource: Resource, labels: Mapping[str, str]) -> list[Object]:
        """The objects that carry all of these labels."""
        selector = ",".join(f"{name}={value}" for name, value in labels.items())
        answer = self._call("GET", self._path(resource), resource.plural, query={"labelSelector": selector})
        items: list[Object] = (answer or {}).get("items") or []
        return items

    def log(self, pod: str, container: str, **query: str) -> str:
        """The log of a container of a pod, limited by the `query` of the API (`tailLines`, `sinceTime`)."""
        path = f"{self._path(POD, pod)}/log"
        return self._answer("GET", path, f"log of {pod}", query={"container": container, **query}).text

    def record(self, about: Mapping[str, Any], reason: str, message: str, warning: bool = False) -> None:
        """Write an Event about an object. Raises RolloutError where that fails."""
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        metadata = about["metadata"]
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"generateName": f"{metadata['name']}-", "namespace": self.namespace},
            "involvedObject": {
                "apiVersion": about["apiVersion"],
                "kind": about["kind"],
                "name": metadata["name"],
                "namespace": self.namespace,
                "uid": metadata.get("uid", ""),
            },
            "reason": reason,
            "message": message[:1024],  # longer ones are refused
            "type": "Warning" if warning else "Normal",
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
            "source": {"component": MANAGER},
        }
        path = f"/api/v1/namespaces/{self.namespace}/events"
        self._call("POST", path, f"Event {reason}", query={"fieldManager": MANAGER}, body=event)

    def _path(self, resource: Resource, name: str = "") -> str:
        root = "apis" if resource.group else "api"
        kind = f"/{root}/{resource.api_version}/namespaces/{self.namespace}/{resource.plural}"
        return f"{kind}/{name}" if name else kind

    def _call(
        self,
        method: str,
        path: str,
        what: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
        missing: bool = False,
    ) -> Object | None:
        """One call that returns an object; with `missing` None where there is none."""
        try:
            answer: Object = self._answer(method, path, what, query=query, body=body).json()
        except NotThere:
            if missing:
                return None
            raise
        return answer

    def _answer(
        self,
        method: str,
        path: str,
        what: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
    ) -> httpx.Response:
        """One call, tried again while the server is busy or away: all of them may be repeated."""
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(_passes),
            stop=tenacity.stop_after_attempt(ATTEMPTS),
            wait=tenacity.wait_exponential_jitter(self._retry_seconds, 10 * self._retry_seconds),
            reraise=True,
        )
        try:
            response: httpx.Response = retrying(self._send, method, path, query or {}, body)
        except httpx.HTTPStatusError as error:
            raise _translated(error.response, what, self.namespace) from error
        except httpx.HTTPError as error:
            raise RolloutError(f"{what} in {self.namespace}: the API server does not respond: {error}") from error
        return response

    def _send(self, method: str, path: str, query: Mapping[str, str], body: Object | None) -> httpx.Response:
        writes = method in ("PATCH", "DELETE")
        if self.may_write is not None and writes:
            self.may_write()
        headers = {"Accept": "application/json"}
        for setting in self._configuration.auth_settings().values():  # here, because a pod's token is renewed
            headers[setting["key"]] = setting["value"]
        if body is not None:
            # JSON is YAML.
            headers["Content-Type"] = "application/apply-patch+yaml" if method == "PATCH" else "application/json"
        content = None if body is None else json.dumps(body)
        times = WRITE_TIMES if writes else CALL_SECONDS
        response = self._client.request(method, path, params=query, content=content, headers=headers, timeout=times)
        return response.raise_for_status()


def _tls(configuration: client.Configuration) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, configuration.key_file)
    if not configuration.verify_ssl:  # the kubeconfig has insecure-skip-tls-verify
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _passes(error: BaseException) -> bool:
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code in BUSY
    return isinstance(error, httpx.TransportError)


def _translated(response: httpx.Response, what: str, namespace: str) -> RolloutError:
    """The server's own message, which names fields and managers, under what it means here."""
    try:
        content = response.json()
    except ValueError:
        content = {}
    status = content if isinstance(content, dict) else {}
    message = str(status.get("message") or response.reason_phrase)
    place = f"{what} in {namespace}"
    if response.status_code == httpx.codes.CONFLICT:
        causes = (status.get("details") or {}).get("causes") or []
        fields = "; ".join(f"{cause.get('field')}: {cause.get('message')}" for cause in causes)
        return Conflicting(f"{place}: {fields or message}; take the fields over, or leave them to their owner")
    if response.status_code == httpx.codes.NOT_FOUND:
        return NotThere(f"{place}: 404: {message}")
    if response.status_code in REFUSED:
        return Refused(f"{place}: {response.status_code}: {message}")
    return RolloutError(f"{place}: {response.status_code}: {message}")
