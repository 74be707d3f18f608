"""How much one client may use: bytes, counts and seconds, with their defaults and their command line options."""

import argparse
from dataclasses import dataclass

from polytask.scenario.schema import Scenario
from serving.transformer.api.filters import MAX_FILTER_CHARACTERS, MAX_FILTERS
from serving.transformer.api.parse import KEY_BYTES, MAX_CONTEXT_CHARACTERS, MAX_QUERY_CHARACTERS
from serving.triton.model_config import MAX_BATCH_SIZE

BODY_BYTES = 2**20
# One character as JSON has at most 12 bytes: two \uXXXX escapes.
CHARACTER_BYTES = 12
INTEGER_BYTES = 22  # 19 digits, a sign, and a comma with a space
# Names, datatypes and shapes of all inputs, task names and weights.
FRAME_BYTES = 16 * 2**10
FRAME_VALUES = 2000

# A request has some ten inputs; with these bounds a message of a few MB cannot be a million tensors.
MAX_INPUTS = 64
MAX_OUTPUTS = 256
MAX_PARAMETERS = 64
MAX_ID_BYTES = 256
# Of gRPC's health service and of reflection, whose calls last as long as their clients want.
MAX_WATCHERS = 64
REFLECTION_SECONDS = 60.0


@dataclass(frozen=True)
class Limits:
    """Bounds of one server process. `body_bytes` holds for a REST body, before and after decompression, and for a gRPC
    message; `bodies_bytes` for all REST bodies together that are being read or processed.
    """

    body_bytes: int = BODY_BYTES
    message_bytes: int | None = None  # of gRPC alone, where the SDK's own option names one
    key_bytes: int = KEY_BYTES
    bodies_bytes: int = 64 * 2**20
    json_values: int = 2**18
    body_seconds: float = 10.0
    header_seconds: float = 10.0
    header_bytes: int = 64 * 2**10
    write_seconds: float = 10.0
    connections: int = 512
    # Above `connections` so many more are accepted, for probes alone.
    spare_connections: int = 32
    # Of gRPC: calls of all connections together, those of them whose message has not arrived, and calls of one
    # connection.
    rpcs: int = 640
    arriving: int = 256
    streams: int = 256


def full_request_bytes(scenario: Scenario, rows: int, key_bytes: int = KEY_BYTES) -> int:
    """The bytes of a JSON request of `rows` rows in which every input is as large as it may be."""
    features = scenario.features
    character = CHARACTER_BYTES
    text = character * (MAX_QUERY_CHARACTERS + len(features.context) * (MAX_CONTEXT_CHARACTERS + 64))
    user = _key_bytes(scenario.entities.users.key_type, key_bytes)
    items = 0
    if scenario.has_items:
        key = _key_bytes(scenario.items.key_type, key_bytes)
        items = key * (features.exclude_length + features.disliked_length)
    row = text + user + items + 3 * INTEGER_BYTES  # timestamp, k, slate
    return rows * row + character * MAX_FILTERS * MAX_FILTER_CHARACTERS + FRAME_BYTES


def full_request_values(scenario: Scenario, rows: int) -> int:
    """The values of a JSON request of `rows` rows in which every input is full and its data are nested lists."""
    features = scenario.features
    items = features.exclude_length + features.disliked_length if scenario.has_items else 0
    return 2 * rows * (items + len(features.context) + 8) + FRAME_VALUES


def add_limit_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of all servers that `limits_of` reads."""
    parser.add_argument(
        "--max_body_bytes",
        type=int,
        default=BODY_BYTES,
        help="Largest REST body or gRPC message; default: 1 MiB. 128 rows whose inputs are all full may take more.",
    )
    parser.add_argument("--max_key_bytes", type=int, default=KEY_BYTES, help="Longest string id, as UTF-8.")
    parser.add_argument("--max_connections", type=int, default=512, help="How many REST connections may be open.")
    # One limit for both ports, unless the SDK's own option for gRPC is given.
    parser.set_defaults(grpc_max_receive_message_length=None)


def limits_of(arguments: argparse.Namespace, scenario: Scenario, rows: int = MAX_BATCH_SIZE) -> Limits:
    """The limits that the command line and the scenario give, for requests of at most `rows` rows."""
    key_bytes: int = arguments.max_key_bytes
    body_bytes: int = arguments.max_body_bytes
    calls = arguments.max_concurrency + arguments.max_queue
    return Limits(
        body_bytes=body_bytes,
        message_bytes=arguments.grpc_max_receive_message_length,
        key_bytes=key_bytes,
        bodies_bytes=max(64 * 2**20, 4 * body_bytes),
        json_values=full_request_values(scenario, rows),
        connections=arguments.max_connections,
        # All that may wait for their message, be in flight or queued, watch and use reflection at once.
        rpcs=2 * calls + 2 * MAX_WATCHERS,
        arriving=calls,
        streams=max(calls, 16),
    )


def check_limits(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """End with a usage error where a limit leaves nothing."""
    for name, least in (("max_body_bytes", 1024), ("max_key_bytes", 1), ("max_connections", 1)):
        value = getattr(arguments, name)
        if value is not None and value < least:
            parser.error(f"--{name}: {value}, expected at least {least}")


def _key_bytes(key_type: str, key_bytes: int) -> int:
    return INTEGER_BYTES if key_type == "integer" else key_bytes + 4  # quotes, a comma and a space
