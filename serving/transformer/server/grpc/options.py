"""Settings of the gRPC server: sizes, calls, pings, and how long a connection lasts."""

from collections.abc import Mapping
from typing import Any

from serving.transformer.server.limits import Limits

# Clients and load balancers ping idle connections each 10 s or more; gRPC's own limit is 5 minutes.
LEAST_PING_SECONDS = 5
# A lost peer that did not close its connection is noticed within the sum.
KEEPALIVE_SECONDS = 60
KEEPALIVE_TIMEOUT_SECONDS = 20
# A connection ends after that, its calls have the grace to end: long-lived clients spread over new pods.
IDLE_SECONDS = 15 * 60
AGE_SECONDS = 30 * 60
AGE_GRACE_SECONDS = 30


def server_options(limits: Limits, arguments: Mapping[str, Any]) -> list[tuple[str, int]]:
    """The channel arguments. `arguments` are those of the SDK's command line, which sizes what is sent."""
    options = {
        "grpc.max_receive_message_length": limits.message_bytes or limits.body_bytes,
        "grpc.max_metadata_size": 16 * 2**10,
        "grpc.absolute_max_metadata_size": limits.header_bytes,
        "grpc.max_concurrent_streams": limits.streams,
        "grpc.max_connection_idle_ms": 1000 * IDLE_SECONDS,
        "grpc.max_connection_age_ms": 1000 * AGE_SECONDS,
        "grpc.max_connection_age_grace_ms": 1000 * AGE_GRACE_SECONDS,
        "grpc.keepalive_time_ms": 1000 * KEEPALIVE_SECONDS,
        "grpc.keepalive_timeout_ms": 1000 * KEEPALIVE_TIMEOUT_SECONDS,
        "grpc.http2.ping_timeout_ms": 1000 * KEEPALIVE_TIMEOUT_SECONDS,
        "grpc.keepalive_permit_without_calls": 1,
        "grpc.http2.min_ping_interval_without_data_ms": 1000 * LEAST_PING_SECONDS,
        "grpc.http2.min_recv_ping_interval_without_data_ms": 1000 * LEAST_PING_SECONDS,
    }
    if arguments.get("grpc_max_send_message_length"):
        options["grpc.max_send_message_length"] = arguments["grpc_max_send_message_length"]
    return list(options.items())
