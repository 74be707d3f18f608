"""Where the servers listen: KServe's listen on all addresses, and have no option for another one."""

import argparse
from functools import partial
from typing import Any

import kserve.model_server
from kserve import ModelServer

from serving.transformer.server.grpc.call_server import CallServer
from serving.transformer.server.limits import Limits
from serving.transformer.server.rest.connections import bounded_connections


def check_certificate(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """End with a usage error where a certificate has no key: the SDK would serve plain text."""
    if bool(arguments.ssl_certfile) != bool(arguments.ssl_keyfile):
        parser.error("--ssl_certfile and --ssl_keyfile: one is missing; expected both or neither")


class BoundModelServer(ModelServer):
    """KServe's server on the addresses of `host`; '' means all, which is what a cluster wants."""

    def __init__(self, *, limits: Limits, host: str = "", **options: Any) -> None:
        super().__init__(**options)
        self._host = host
        self._limits = limits
        # The SDK takes no gRPC server of ours: this name is the seam it has.
        certificate = (self.ssl_certfile, self.ssl_keyfile) if self.ssl_certfile and self.ssl_keyfile else None
        kserve.model_server.GRPCServer = partial(CallServer, host=host, certificate=certificate, limits=limits)

    def bind_rest(self) -> None:
        """Choose address and limits of the HTTP server, which is made by now and does not listen yet."""
        self._rest_server.config.http = bounded_connections(self._limits)
        self._rest_server.config.ws = "none"
        if self._host:
            self._rest_server.config.host = self._host
