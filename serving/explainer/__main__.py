"""Starts the explainer: parse, build, serve. KServe's arguments, and --bundle and --feature_store."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import kserve.model_server

from polytask.errors import PolytaskError
from serving.explainer.explain import Explainer
from serving.explainer.metrics import ExplainerMetrics
from serving.explainer.model import ExplainerModel, ExplainerRelease
from serving.explainer.parse import MAX_INSTANCES
from serving.transformer.admission import Admission
from serving.transformer.bundle import load_bundle
from serving.transformer.deployed import Deployed, deployed_bundles
from serving.transformer.features import FeatureReader
from serving.transformer.known_users import add_argument, check_known_users
from serving.transformer.limits import add_limit_arguments, check_limits, limits_of
from serving.transformer.listening import check_certificate
from serving.transformer.logs import configure_logs
from serving.transformer.predictor import GrpcPredictor
from serving.transformer.release import Releases, next_release
from serving.transformer.server import make_server
from serving.transformer.start import REGISTRY_SECONDS, first_read, wait_for_registry

FEATURE_REFRESH_SECONDS = 60.0


def parse() -> argparse.Namespace:
    """The SDK's own arguments, which KServe injects, and ours."""
    parser = argparse.ArgumentParser(
        prog="serving.explainer", description=__doc__, parents=[kserve.model_server.parser]
    )
    parser.set_defaults(model_name="recommender")
    parser.add_argument(
        "--bundle", required=True, help="Folder of the exported bundle (contract.json); with checksums also NEW,OLD."
    )
    parser.add_argument(
        "--contract_sha256", help="Checksum that the bundle's contract must have, one per bundle; default: any."
    )
    parser.add_argument("--feature_store", type=Path, required=True, help="Folder that holds feature_store.yaml.")
    parser.add_argument("--deadline_seconds", type=float, default=5.0, help="Time a whole request may take.")
    parser.add_argument(
        "--registry_seconds",
        type=float,
        default=REGISTRY_SECONDS,
        help="How long the start waits for a feature registry that is unavailable.",
    )
    parser.add_argument("--host", default="", help="Address to listen on; default: all, as in a cluster.")
    parser.add_argument("--log_level", default="INFO", choices=("DEBUG", "INFO", "WARNING", "ERROR"))
    parser.add_argument("--max_concurrency", type=int, default=4, help="How many calls are worked on at once.")
    parser.add_argument("--max_queue", type=int, default=16, help="How many more calls may wait for their turn.")
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
    # KServe tells an explainer where the predictor is, and not how to talk to it: Triton is asked over gRPC.
    if not arguments.predictor_host:
        parser.error("--predictor_host is required")
    if arguments.registry_seconds <= 0:
        parser.error("--registry_seconds must be above 0")
    if arguments.deadline_seconds <= 0 or arguments.max_concurrency < 1 or arguments.max_queue < 0:
        parser.error("--deadline_seconds must be above 0, --max_concurrency at least 1, --max_queue at least 0")
    return arguments


def main() -> None:
    """Run until SIGINT or SIGTERM. Ends with one line and exit code 1 when the parts do not fit together."""
    arguments = parse()
    configure_logs(arguments.log_level)
    metrics = ExplainerMetrics()
    try:
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
    admission = Admission(arguments.max_concurrency, arguments.max_queue)
    metrics.watch(admission)

    def open_next() -> Iterator[ExplainerRelease]:
        yield open_release(arguments, metrics, *next_release(arguments.release))

    releases = Releases(first, open_next, seconds)
    model = ExplainerModel(arguments.model_name, releases, metrics, admission, seconds, arguments.max_key_bytes)
    limits = limits_of(arguments, first[0].bundle.contract.scenario, MAX_INSTANCES)
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
