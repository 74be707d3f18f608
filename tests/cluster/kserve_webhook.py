"""The webhooks that the API server calls: InferenceServices are validated, and their pods changed."""

import base64
import json
import ssl
import tempfile
import threading
from http.server import ThreadingHTTPServer
from typing import Any

import trustme

from tests.cluster.api import Api, Object
from tests.cluster.kserve_pods import admitted
from tests.cluster.kserve_rules import SERVICE_LABEL
from tests.cluster.kserve_validation import refusal
from tests.json_server import JsonHandler

NAME = "inferenceservice.serving.kserve.io"
NEW_PODS = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}


class Webhook:
    """Serves on a free port and is registered at the API server from `start` to `stop`."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._authority = trustme.CA()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.state = api  # type: ignore[attr-defined]
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate = self._authority.issue_cert("127.0.0.1")
        with tempfile.NamedTemporaryFile(suffix=".pem") as file:
            file.write(certificate.private_key_and_cert_chain_pem.bytes())
            file.flush()
            context.load_cert_chain(file.name)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def start(self) -> None:
        self._thread.start()
        for configuration in (self._of_pods(), self._of_services()):
            self._api.apply(configuration, "kserve")

    def stop(self) -> None:
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join(5)
        self._server.server_close()

    def _called_at(self, path: str) -> dict[str, str]:
        bundle = base64.b64encode(self._authority.cert_pem.bytes()).decode()
        return {"url": f"https://127.0.0.1:{self._server.server_port}/{path}", "caBundle": bundle}

    def _of_services(self) -> Object:
        name = "inferenceservice.kserve-webhook-server.validator"
        rule = {
            "apiGroups": ["serving.kserve.io"],
            "apiVersions": ["v1beta1"],
            "operations": ["CREATE", "UPDATE"],
            "resources": ["inferenceservices"],
        }
        return configuration("Validating", NAME, name, clientConfig=self._called_at("services"), rules=[rule])

    def _of_pods(self) -> Object:
        labelled = {"matchExpressions": [{"key": SERVICE_LABEL, "operator": "Exists"}]}
        name = "inferenceservice.kserve-webhook-server.pod-mutator"
        return configuration(
            "Mutating", NAME, name, clientConfig=self._called_at("pods"), rules=[NEW_PODS], objectSelector=labelled
        )


def configuration(kind: str, name: str, webhook: str, **fields: Any) -> Object:
    """A `Mutating` or `Validating` configuration of one webhook, without which nothing is admitted."""
    common = {"name": webhook, "admissionReviewVersions": ["v1"], "failurePolicy": "Fail", "sideEffects": "None"}
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": f"{kind}WebhookConfiguration",
        "metadata": {"name": name},
        "webhooks": [{**common, "timeoutSeconds": 10, **fields}],
    }


class _Handler(JsonHandler):
    def do_POST(self) -> None:
        request = json.loads(self.body())["request"]
        response: dict[str, Any] = {"uid": request["uid"], "allowed": True}
        if self.path.startswith("/services"):
            message = refusal(request["object"])
            if message is not None:
                response |= {"allowed": False, "status": {"message": message}}
        else:
            response |= self._changes(request)
        review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}
        self.send_json(200, review)

    def _changes(self, request: Any) -> dict[str, Any]:
        try:
            containers = self.state.items("serving.kserve.io/v1alpha1", "ClusterStorageContainer")
            pod = admitted(request["object"], containers)
            patch = [{"op": "replace", "path": f"/{key}", "value": pod[key]} for key in ("metadata", "spec")]
        except LookupError as error:
            return {"allowed": False, "status": {"message": str(error)}}
        return {"patchType": "JSONPatch", "patch": base64.b64encode(json.dumps(patch).encode()).decode()}
