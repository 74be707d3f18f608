"""The command line arguments that the transformer and the explainer share: KServe's own, and ours."""

import argparse
from pathlib import Path

from kserve import model_server

from serving.transformer.features.known_users import add_argument
from serving.transformer.server.bind_address import check_certificate
from serving.transformer.server.limits import add_limit_arguments, check_limits
from serving.transformer.server.start import REGISTRY_SECONDS


def server_parser(
    program: str, description: str | None, deadline_seconds: float, max_concurrency: int, max_queue: int
) -> argparse.ArgumentParser:
    """The SDK's arguments, which KServe injects, and ours with these defaults; `check_arguments` validates them."""
    parser = argparse.ArgumentParser(prog=program, description=description, parents=[model_server.parser])
    parser.set_defaults(model_name="recommender")
    parser.add_argument(
        "--bundle", required=True, help="Folder of the exported bundle (contract.json); with checksums also NEW,OLD."
    )
    parser.add_argument(
        "--contract_sha256", help="Checksum that the bundle's contract must have, one per bundle; default: any."
    )
    parser.add_argument("--feature_store", type=Path, required=True, help="Folder that holds feature_store.yaml.")
    parser.add_argument(
        "--deadline_seconds", type=float, default=deadline_seconds, help="Time a whole request may take."
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
        "--max_concurrency", type=int, default=max_concurrency, help="How many calls are worked on at once."
    )
    parser.add_argument("--max_queue", type=int, default=max_queue, help="How many more calls may wait for their turn.")
    parser.add_argument(
        "--release",
        type=Path,
        help="Enables `load` of the repository API, for every caller; default: disabled. JSON file that names "
        "bundle and predictor_host of the next release to load.",
    )
    add_limit_arguments(parser)
    add_argument(parser)
    return parser


def check_arguments(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """End with a usage error where a shared argument is missing or out of range, or two do not fit together."""
    check_certificate(parser, arguments)
    check_limits(parser, arguments)
    if not arguments.predictor_host:
        parser.error("--predictor_host: is missing; expected the address of Triton's gRPC port")
    if arguments.release is not None and arguments.contract_sha256 is not None:
        parser.error("--release and --contract_sha256: both are given; expected at most one")
    for name in ("deadline_seconds", "registry_seconds"):
        if getattr(arguments, name) <= 0:
            parser.error(f"--{name}: {getattr(arguments, name):g} is out of range; expected above 0")
    for name, least in (("max_concurrency", 1), ("max_queue", 0)):
        if getattr(arguments, name) < least:
            parser.error(f"--{name}: {getattr(arguments, name)} is out of range; expected at least {least}")
