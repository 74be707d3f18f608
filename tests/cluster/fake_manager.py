"""A program with the options of KServe's manager whose webhook marks every object: for the tests of the switch."""

import argparse
import base64
import json
import os
import ssl
from http.server import ThreadingHTTPServer
from pathlib import Path

from tests.json_server import JsonHandler


class Webhook(JsonHandler):
    def do_POST(self) -> None:
        review = json.loads(self.body())
        patch = [
            {"op": "add", "path": "/metadata/labels", "value": {"seen-by": self.path.partition("?")[0].strip("/")}}
        ]
        encoded = base64.b64encode(json.dumps(patch).encode()).decode()
        response = {"uid": review["request"]["uid"], "allowed": True, "patchType": "JSONPatch", "patch": encoded}
        self.send_json(200, {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})


def main() -> None:
    parser = argparse.ArgumentParser()
    for option in ("--kubeconfig", "--webhook-port", "--metrics-addr", "--health-probe-addr"):
        parser.add_argument(option, required=True)
    given = parser.parse_args()
    folder = Path(os.environ["TMPDIR"]) / "k8s-webhook-server" / "serving-certs"
    server = ThreadingHTTPServer(("127.0.0.1", int(given.webhook_port)), Webhook)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
