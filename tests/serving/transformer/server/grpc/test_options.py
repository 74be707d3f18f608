"""The gRPC server bears what ordinary clients do, and bounds what one may use."""

from dataclasses import replace

from serving.transformer.server.grpc.options import server_options
from serving.transformer.server.limits import Limits

LIMITS = Limits(2**20)


def test_clients_may_ping_idle_connections_each_10_s():
    options = dict(server_options(LIMITS, {}))
    assert options["grpc.http2.min_ping_interval_without_data_ms"] < 10_000
    assert options["grpc.http2.min_recv_ping_interval_without_data_ms"] < 10_000
    assert options["grpc.keepalive_permit_without_calls"] == 1


def test_the_size_of_messages_is_that_of_bodies_unless_it_is_given():
    assert dict(server_options(LIMITS, {}))["grpc.max_receive_message_length"] == 2**20
    # The SDK's own parser has a default, which is not what was given.
    sdk = {"grpc_max_receive_message_length": 8 * 2**20, "grpc_max_send_message_length": 5 * 2**20}
    options = dict(server_options(LIMITS, sdk))
    assert options["grpc.max_receive_message_length"] == 2**20
    assert options["grpc.max_send_message_length"] == 5 * 2**20
    assert dict(server_options(replace(LIMITS, message_bytes=7), sdk))["grpc.max_receive_message_length"] == 7


def test_connections_and_calls_end():
    options = dict(server_options(LIMITS, {}))
    assert options["grpc.max_concurrent_streams"] == LIMITS.streams
    assert 0 < options["grpc.max_connection_idle_ms"] < options["grpc.max_connection_age_ms"]
