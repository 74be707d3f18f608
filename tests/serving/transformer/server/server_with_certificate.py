"""A server with a certificate; `test_server_tls.py` runs this in its own process."""

import sys

from kserve import Model

from serving.transformer.concurrency.admission import Admission
from serving.transformer.server.draining import DrainingServer
from serving.transformer.server.health import Health
from serving.transformer.server.limits import Limits

if __name__ == "__main__":
    http_port, grpc_port = map(int, sys.argv[1:3])
    certificate, key = sys.argv[3:]
    server = DrainingServer(
        *(Admission(1, 1), Health([]), 1.0, lambda: None),
        limits=Limits(2**20),
        host="127.0.0.1",
        http_port=http_port,
        grpc_port=grpc_port,
        ssl_certfile=certificate,
        ssl_keyfile=key,
    )
    model = Model("model")
    model.ready = True
    server.start([model])
