"""Starts the explainer: parse, build, serve. KServe's arguments, and --bundle and --feature_store."""

import argparse
import logging
import sys
from pathlib import Path
from typing import Any

import kserve.model_server
from kserve.protocol.dataplane import DataPlane

from polytask.errors import PolytaskError
from serving.explainer.explain import Explainer
from serving.explainer.model import ExplainerModel
from serving.transformer.admission import Admission, Overloaded
from serving.transformer.bundle import load_bundle
from serving.transformer.deadline import Unavailable
from serving.transformer.features import FeatureReader
from serving.transformer.listening import BoundModelServer
from serving.transformer.logs import configure_logs
from serving.transformer.model import NotAvailable
from serving.transformer.predictor import GrpcPredictor
from serving.transformer.server import not_available, overloaded

GRACE_SECONDS = 10


class ReadyDataPlane(DataPlane):
    """Ready means: the predictor is reached and serves what the contract says."""

    def __init__(self, model: ExplainerModel, registry: Any, deadline_seconds: float) -> None:
        super().__init__(model_registry=registry)
        self._model = model
        self._deadline_seconds = deadline_seconds

    async def ready(self) -> bool:
        """True, or NotAvailable with the reason (503)."""
        await self._model.check_ready(self._deadline_seconds)
        return True


def parse() -> argparse.Namespace:
    """The SDK's own arguments, which KServe injects, and ours."""
    parser = argparse.ArgumentParser(
        prog="serving.explainer", description=__doc__, parents=[kserve.model_server.parser]
    )
    parser.set_defaults(model_name="recommender")
    parser.add_argument("--bundle", type=Path, required=True, help="Folder of the exported bundle (contract.json).")
    parser.add_argument("--feature_store", type=Path, required=True, help="Folder that holds feature_store.yaml.")
    parser.add_argument("--deadline_seconds", type=float, default=5.0, help="Time a whole request may take.")
    parser.add_argument("--host", default="", help="Address to listen on; default: all, as in a cluster.")
    parser.add_argument("--log_level", default="INFO", choices=("DEBUG", "INFO", "WARNING", "ERROR"))
    parser.add_argument("--max_concurrency", type=int, default=4, help="How many calls are worked on at once.")
    parser.add_argument("--max_queue", type=int, default=16, help="How many more calls may wait for their turn.")
    arguments = parser.parse_args()
    # KServe tells an explainer where the predictor is, and not how to talk to it: Triton is asked over gRPC.
    if not arguments.predictor_host:
        parser.error("--predictor_host is required")
    if arguments.deadline_seconds <= 0 or arguments.max_concurrency < 1 or arguments.max_queue < 0:
        parser.error("--deadline_seconds must be above 0, --max_concurrency at least 1, --max_queue at least 0")
    return arguments


def main() -> None:
    """Run until SIGINT or SIGTERM. Ends with one line and exit code 1 when the parts do not fit together."""
    arguments = parse()
    configure_logs(arguments.log_level)
    try:
        bundle = load_bundle(arguments.bundle)
        scenario = bundle.contract.scenario
        features = FeatureReader(arguments.feature_store, scenario)
    except PolytaskError as error:
        sys.exit(f"error: {error}")
    try:
        # The first read loads much; done here, it does not eat the first request's deadline.
        features.read([0 if scenario.entities.users.key_type == "integer" else ""], [0])
    except Unavailable as error:
        logging.getLogger("kserve").warning("starting all the same: %s", error)
    seconds = arguments.deadline_seconds
    predictor = GrpcPredictor(arguments.predictor_host, bundle.contract, arguments.predictor_use_ssl)
    admission = Admission(arguments.max_concurrency, arguments.max_queue)
    explainer = Explainer(bundle, features, predictor)
    model = ExplainerModel(arguments.model_name, bundle, explainer, predictor, admission, seconds)
    server = BoundModelServer(
        host=arguments.host,
        http_port=arguments.http_port,
        enable_grpc=False,
        grace_period=GRACE_SECONDS,
        enable_latency_logging=False,
    )
    server.dataplane = ReadyDataPlane(model, server.registered_models, seconds)
    app = kserve.model_server.app
    app.add_exception_handler(NotAvailable, not_available)
    app.add_exception_handler(Overloaded, overloaded)
    server.start([model])


if __name__ == "__main__":
    main()
