"""Starts the transformer: parse, build, serve. KServe's arguments, and --bundle and --feature_store."""

import argparse
import sys
from functools import partial

from polytask.errors import PolytaskError
from serving.transformer.bundle import load_bundle
from serving.transformer.concurrency.admission import Admission
from serving.transformer.deployed import Deployed
from serving.transformer.features.optional import FEATURE_SHARE, FeaturePolicy
from serving.transformer.features.reader import FeatureReader
from serving.transformer.observability.logs import configure_logs
from serving.transformer.observability.metrics import Metrics
from serving.transformer.observability.traces import start_traces
from serving.transformer.predictor.client import GrpcPredictor
from serving.transformer.recommender import Recommender
from serving.transformer.release import Release
from serving.transformer.server.arguments import check_arguments, server_parser
from serving.transformer.server.garbage_collector import spare_the_collector
from serving.transformer.server.limits import limits_of
from serving.transformer.server.model import RecommenderModel
from serving.transformer.server.server import make_server
from serving.transformer.server.start import start_releases


def parse() -> argparse.Namespace:
    """The arguments of both servers, and those of the transformer."""
    parser = server_parser("serving.transformer", __doc__, deadline_seconds=2.0, max_concurrency=64, max_queue=192)
    parser.add_argument("--text_cache", type=int, default=20_000, help="How many text vectors are kept.")
    parser.add_argument(
        "--texts_ahead", type=int, default=1000, help="How many common texts are encoded at start, in the background."
    )
    parser.add_argument(
        "--feature_refresh_seconds", type=float, default=60.0, help="How often the feature registry is read again."
    )
    parser.add_argument(
        "--feature_share",
        type=float,
        default=FEATURE_SHARE,
        help="Share of a call's time that the feature store may take; then the response is made without features.",
    )
    parser.add_argument(
        "--strict_features",
        choices=("true", "false"),
        default="false",
        help="Whether calls, and readiness, fail while the feature store is unavailable; default: false.",
    )
    parser.add_argument(
        "--traces", action="store_true", help="Send OpenTelemetry traces over OTLP, set by the OTEL_* environment."
    )
    arguments = parser.parse_args()
    check_arguments(parser, arguments)
    if arguments.predictor_protocol != "grpc-v2":
        parser.error(f"--predictor_protocol: {arguments.predictor_protocol!r} is not supported; expected grpc-v2")
    if arguments.text_cache < 1 or arguments.texts_ahead < 0:
        parser.error("--text_cache must be at least 1 and --texts_ahead at least 0")
    if arguments.feature_refresh_seconds <= 0:
        parser.error(f"--feature_refresh_seconds: {arguments.feature_refresh_seconds:g}; expected above 0")
    if not 0 < arguments.feature_share < 1:
        parser.error(f"--feature_share: {arguments.feature_share:g} is out of range; expected above 0 and below 1")
    return arguments


def main() -> None:
    """Run until SIGINT or SIGTERM. Ends with one line and exit code 1 when the parts do not fit together."""
    arguments = parse()
    configure_logs(arguments.log_level)
    try:
        if arguments.traces:
            start_traces()
        metrics = Metrics()
        releases = start_releases(arguments, partial(open_release, arguments, metrics))
    except PolytaskError as error:
        sys.exit(f"error: {error}")
    seconds, contract = arguments.deadline_seconds, releases.all[0].bundle.contract
    metrics.serve(contract)
    admission = Admission(arguments.max_concurrency, arguments.max_queue)
    metrics.watch(admission)
    model = RecommenderModel(arguments.model_name, releases, metrics, admission, seconds)
    server = make_server(
        model,
        admission,
        arguments.http_port,
        arguments.grpc_port,
        seconds,
        limits_of(arguments, contract.scenario),
        arguments.host,
        enable_load=arguments.release is not None,
    )
    spare_the_collector()
    server.start([model])


def open_release(arguments: argparse.Namespace, metrics: Metrics, deployed: Deployed, predictor_host: str) -> Release:
    """A bundle, its feature service and its predictor. Raises ContractError where they do not fit together."""
    bundle = load_bundle(deployed.folder, deployed.contract_sha256)
    features = FeatureReader(arguments.feature_store, bundle.contract.scenario)
    predictor = GrpcPredictor(predictor_host, bundle.contract, arguments.predictor_use_ssl)
    recommender = Recommender(
        bundle,
        features,
        predictor,
        metrics,
        arguments.deadline_seconds,
        arguments.text_cache,
        FeaturePolicy(arguments.feature_share, arguments.strict_features == "true"),
        arguments.max_key_bytes,
    )
    features.keep_fresh(arguments.feature_refresh_seconds, metrics.refreshed)
    return Release(bundle, features, predictor, recommender, texts_ahead=arguments.texts_ahead)


if __name__ == "__main__":
    main()
