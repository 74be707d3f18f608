"""Starts the explainer: parse, build, serve. KServe's arguments, and --bundle and --feature_store."""

import argparse
import sys
from functools import partial

from polytask.errors import PolytaskError
from serving.explainer.explain import Explainer
from serving.explainer.metrics import ExplainerMetrics
from serving.explainer.model import ExplainerModel, ExplainerRelease
from serving.explainer.parse import MAX_INSTANCES
from serving.transformer.bundle import load_bundle
from serving.transformer.concurrency.admission import Admission
from serving.transformer.deployed import Deployed
from serving.transformer.features.reader import FeatureReader
from serving.transformer.observability.logs import configure_logs
from serving.transformer.predictor.client import GrpcPredictor
from serving.transformer.server.arguments import check_arguments, server_parser
from serving.transformer.server.limits import limits_of
from serving.transformer.server.server import make_server
from serving.transformer.server.start import start_releases

FEATURE_REFRESH_SECONDS = 60.0


def parse() -> argparse.Namespace:
    """The arguments of both servers, with defaults for calls that run the model many times."""
    parser = server_parser("serving.explainer", __doc__, deadline_seconds=5.0, max_concurrency=4, max_queue=16)
    arguments = parser.parse_args()
    # KServe passes an explainer the predictor's address alone; the protocol is Triton's gRPC.
    check_arguments(parser, arguments)
    return arguments


def main() -> None:
    """Run until SIGINT or SIGTERM. Ends with one line and exit code 1 when the parts do not fit together."""
    arguments = parse()
    configure_logs(arguments.log_level)
    metrics = ExplainerMetrics()
    try:
        releases = start_releases(arguments, partial(open_release, arguments, metrics))
    except PolytaskError as error:
        sys.exit(f"error: {error}")
    seconds, contract = arguments.deadline_seconds, releases.all[0].bundle.contract
    admission = Admission(arguments.max_concurrency, arguments.max_queue)
    metrics.watch(admission)
    model = ExplainerModel(arguments.model_name, releases, metrics, admission, seconds, arguments.max_key_bytes)
    limits = limits_of(arguments, contract.scenario, MAX_INSTANCES)
    server = make_server(
        model,
        admission,
        arguments.http_port,
        None,
        seconds,
        limits,
        arguments.host,
        enable_load=arguments.release is not None,
    )
    server.start([model])


def open_release(
    arguments: argparse.Namespace, metrics: ExplainerMetrics, deployed: Deployed, predictor_host: str
) -> ExplainerRelease:
    """A bundle, its feature service and its predictor. Raises ContractError where they do not fit together."""
    bundle = load_bundle(deployed.folder, deployed.contract_sha256)
    features = FeatureReader(arguments.feature_store, bundle.contract.scenario)
    predictor = GrpcPredictor(predictor_host, bundle.contract, arguments.predictor_use_ssl)
    features.keep_fresh(FEATURE_REFRESH_SECONDS, metrics.refreshed)
    return ExplainerRelease(bundle, features, predictor, Explainer(bundle, features, predictor))


if __name__ == "__main__":
    main()
