"""The calls to an API server that the tests and their controllers make."""

import json
import re
import ssl
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx

Object = dict[str, Any]
SECONDS = 30.0
CLUSTER_WIDE = {
    *("Namespace", "Node", "PersistentVolume", "StorageClass", "CustomResourceDefinition", "ClusterRole"),
    *("ClusterServingRuntime", "ClusterStorageContainer", "ClusterRoleBinding", "MutatingWebhookConfiguration"),
}


class ApiError(Exception):
    """The server refuses a call."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class Api:
    """An API server, by a client certificate or by a token."""

    def __init__(self, url: str, authority: Path, certificate: Path | None = None, token: str = "") -> None:
        context = ssl.create_default_context(cafile=str(authority))
        if certificate is not None:
            context.load_cert_chain(certificate)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._client = httpx.Client(base_url=url, verify=context, timeout=SECONDS, headers=headers, trust_env=False)

    def close(self) -> None:
        self._client.close()

    def call(self, method: str, path: str, body: Any = None, **query: str) -> Object:
        """Send one request and return the response. Raises ApiError."""
        headers = {"Content-Type": "application/json"}
        if method == "PATCH":
            apply = "fieldManager" in query
            headers["Content-Type"] = "application/apply-patch+yaml" if apply else "application/merge-patch+json"
        content = None if body is None else json.dumps(body)
        response = self._client.request(method, path, content=content, headers=headers, params=query)
        if response.is_error:
            try:
                message = str(response.json().get("message"))
            except ValueError:
                message = response.text[:500]
            raise ApiError(response.status_code, message)
        answer: Object = response.json()
        return answer

    def get(self, api_version: str, kind: str, name: str, namespace: str = "") -> Object | None:
        """The object, None where there is none."""
        try:
            return self.call("GET", place(api_version, kind, namespace, name))
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def items(
        self, api_version: str, kind: str, namespace: str = "", labels: Mapping[str, str] | None = None
    ) -> list[Object]:
        """All objects of a kind, of one namespace or of all. They carry their kind, which lists leave out."""
        query = {"labelSelector": ",".join(f"{key}={value}" for key, value in labels.items())} if labels else {}
        found = self.call("GET", place(api_version, kind, namespace), **query).get("items") or []
        return [{"apiVersion": api_version, "kind": kind, **item} for item in found]

    def apply(self, document: Mapping[str, Any], manager: str, subresource: str = "") -> Object:
        """Apply server-side, taking fields over."""
        metadata = document["metadata"]
        path = place(document["apiVersion"], document["kind"], metadata.get("namespace", ""), metadata["name"])
        if subresource:
            path += f"/{subresource}"
        return self.call("PATCH", path, dict(document), fieldManager=manager, force="true", fieldValidation="Strict")

    def delete(self, document: Mapping[str, Any]) -> None:
        """Delete an object; one that is not there is no error."""
        metadata = document["metadata"]
        path = place(document["apiVersion"], document["kind"], metadata.get("namespace", ""), metadata["name"])
        try:
            self.call("DELETE", path, {"propagationPolicy": "Background"})
        except ApiError as error:
            if error.status != 404:
                raise


def place(api_version: str, kind: str, namespace: str = "", name: str = "") -> str:
    """The path of a kind's objects, or of one of them."""
    root = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
    plural = re.sub(r"([^aeiou])y$", r"\1ie", kind.lower()) + ("es" if kind.endswith(("s", "x")) else "s")
    inside = f"/namespaces/{namespace}" if namespace and kind not in CLUSTER_WIDE else ""
    return f"{root}{inside}/{plural}" + (f"/{name}" if name else "")


def wait_for(what: str, found: Callable[[], Any], seconds: float = 60.0, poll_seconds: float = 0.2) -> Any:
    """Return the result of `found` once it is true. Raises AssertionError with its name when the time is up."""
    end = time.monotonic() + seconds
    while True:
        value = found()
        if value:
            return value
        assert time.monotonic() < end, f"not within {seconds:g} s: {what() if callable(what) else what}"
        time.sleep(poll_seconds)
