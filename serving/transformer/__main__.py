"""Starts the transformer: parse, build, serve. KServe's arguments, and --bundle and --feature_store."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from kserve import model_server

from polytask.errors import PolytaskError
from serving.transformer.admission import Admission
from serving.transformer.bundle import load_bundle
from serving.transformer.deployed import Deployed, deployed_bundles
from serving.transformer.features import FeatureReader
from serving.transformer.garbage import spare_the_collector
from serving.transformer.known_users import add_argument, check_known_users
from serving.transformer.limits import add_limit_arguments, check_limits, limits_of
from serving.transformer.listening import check_certificate
from serving.transformer.logs import configure_logs
from serving.transformer.metrics import Metrics
from serving.transformer.model import RecommenderModel
from serving.transformer.optional_features import FEATURE_SHARE, FeaturePolicy
from serving.transformer.predictor import GrpcPredictor
from serving.transformer.recommend import Recommender
from serving.transformer.release import Release, Releases, next_release
from serving.transformer.server import make_server
from serving.transformer.start import REGISTRY_SECONDS, first_read, wait_for_registry
from serving.transformer.traces import start_traces


def parse() -> argparse.Namespace:
    """The SDK's own arguments, which KServe injects, and ours."""
    parser = argparse.ArgumentParser(prog="serving.transformer", description=__doc__, parents=[model_server.parser])
    parser.set_defaults(model_name="recommender")
    parser.add_argument(
        "--bundle", required=True, help="Folder of the exported bundle (contract.json); with checksums also NEW,OLD."
    )
    parser.add_argument(
        "--contract_sha256", help="Checksum that the bundle's contract must have, one per bundle; default: any."
    )
    parser.add_argument("--feature_store", type=Path, required=True, help="Folder that holds feature_store.yaml.")
    parser.add_argument("--deadline_seconds", type=float, default=2.0, help="Time a whole request may take.")
    parser.add_argument("--text_cache", type=int, default=20_000, help="How many text vectors are kept.")
    parser.add_argument(
        "--texts_ahead", type=int, default=1000, help="How many common texts are encoded at start, in the background."
    )
    parser.add_argument(
        "--feature_refresh_seconds", type=float, default=60.0, help="How often the feature registry is read anew."
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
        "--registry_seconds",
        type=float,
        default=REGISTRY_SECONDS,
        help="How long the start waits for a feature registry that is unavailable.",
    )
    parser.add_argument("--host", default="", help="Address to listen on; default: all, as in a cluster.")
    parser.add_argument("--log_level", default="INFO", choices=("DEBUG", "INFO", "WARNING", "ERROR"))
    parser.add_argument(
        "--traces", action="store_true", help="Send OpenTelemetry traces over OTLP, as the OTEL_* environment says."
    )
    parser.add_argument("--max_concurrency", type=int, default=64, help="How many calls are worked on at once.")
    parser.add_argument("--max_queue", type=int, default=192, help="How many more calls may wait for their turn.")
    parser.add_argument(
        "--release",
        type=Path,
        help="Enables `load` of the repository API, for every caller; default: disabled. JSON file that names "
        "bundle and predictor_host of the next release to load.",
    )
    add_limit_arguments(parser)
    add_argument(parser)
    arguments = parser.parse_args()
    check_certificate(parser, arguments)
    check_limits(parser, arguments)
    if arguments.release is not None and arguments.contract_sha256 is not None:
        parser.error("--release and --contract_sha256: both are given; expected at most one")
    if not arguments.predictor_host or arguments.predictor_protocol != "grpc-v2":
        parser.error("--predictor_host and --predictor_protocol=grpc-v2 are required")
    if arguments.deadline_seconds <= 0 or arguments.text_cache < 1 or arguments.texts_ahead < 0:
        parser.error("--deadline_seconds must be above 0, --text_cache at least 1 and --texts_ahead at least 0")
    if arguments.feature_refresh_seconds <= 0 or arguments.registry_seconds <= 0:
        parser.error("--feature_refresh_seconds and --registry_seconds must be above 0")
    if not 0 < arguments.feature_share < 1:
        parser.error(f"--feature_share: {arguments.feature_share:g} is out of range; expected above 0 and below 1")
    if arguments.max_concurrency < 1 or arguments.max_queue < 0:
        parser.error("--max_concurrency must be at least 1 and --max_queue at least 0")
    return arguments


def main() -> None:
    """Run until SIGINT or SIGTERM. Ends with one line and exit code 1 when the parts do not fit together."""
    arguments = parse()
    configure_logs(arguments.log_level)
    try:
        if arguments.traces:
            start_traces()
        metrics = Metrics()
        bundles = deployed_bundles(arguments.bundle, arguments.contract_sha256)
        first = wait_for_registry(
            lambda: [open_release(arguments, metrics, bundle, arguments.predictor_host) for bundle in bundles],
            arguments.registry_seconds,
        )
    except PolytaskError as error:
        sys.exit(f"error: {error}")
    check_known_users(first, arguments)
    first_read(first[0].probe_features)
    seconds = arguments.deadline_seconds
    metrics.serve(first[0].bundle.contract)
    admission = Admission(arguments.max_concurrency, arguments.max_queue)
    metrics.watch(admission)

    def open_next() -> Iterator[Release]:
        yield open_release(arguments, metrics, *next_release(arguments.release))

    releases = Releases(first, open_next, seconds)
    model = RecommenderModel(arguments.model_name, releases, metrics, admission, seconds)
    server = make_server(
        model,
        admission,
        arguments.http_port,
        arguments.grpc_port,
        seconds,
        limits_of(arguments, first[0].bundle.contract.scenario),
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
    features.keep_fresh(arguments.feature_refresh_seconds, lambda end: metrics.feature_refreshes.labels(end).inc())
    return Release(bundle, features, predictor, recommender, texts_ahead=arguments.texts_ahead)


if __name__ == "__main__":
    main()
