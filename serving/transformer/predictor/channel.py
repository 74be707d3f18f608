"""A gRPC channel to one pod of the predictor, or to several that share the calls."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import grpc
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub

from serving.transformer.concurrency.admission import RETRY_AFTER_SECONDS
from serving.transformer.concurrency.deadline import Deadline, Unavailable

# After one of these statuses a later or another call may succeed; any other status is an error of ours.
DOWN = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.CANCELLED,
}

OPTIONS = [
    # gRPC's own back-off grows to two minutes: a predictor that came back would not be noticed for as long.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 500),  # what a connection may take, TLS included
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.max_receive_message_length", 64 * 2**20),
    # Pods are reached by their addresses, which no list of exceptions from a proxy names.
    ("grpc.enable_http_proxy", 0),
]

# gRPC spreads the calls, and repeats one that a pod refused or whose connection broke: a prediction changes nothing, so
# that it may be computed twice. A deadline that passed is no such status.
SERVICE_CONFIG = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "methodConfig": [
        {
            "name": [{"service": "inference.GRPCInferenceService"}],
            "retryPolicy": {
                "maxAttempts": 2,
                "initialBackoff": "0.01s",
                "maxBackoff": "0.01s",
                "backoffMultiplier": 1,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ],
}
BALANCED = [
    ("grpc.service_config", json.dumps(SERVICE_CONFIG)),
    # A call of 128 rows with filters is 0.4 MB; above this size, 256 KiB by default, none is repeated.
    ("grpc.per_rpc_retry_buffer_size", 8 * 2**20),
]
# A node that is lost closes no connection. Its calls are repeated elsewhere once a ping gets no response, which
# is 1.5 s after its last message, before their deadline of 2 s. Triton counts pings between which it sent nothing,
# and it responds to a probe each second.
KEEP_ALIVE = [
    ("grpc.keepalive_time_ms", 1000),
    ("grpc.keepalive_timeout_ms", 500),
    ("grpc.http2.ping_timeout_ms", 500),  # the one that counts in gRPC 1.85, where it is 60 s by default
    ("grpc.http2.max_pings_without_data", 0),
]
UNUSED_SECONDS = 30.0
CLOSED = "the connection was closed"


class Channel:
    """Calls to the pods at `addresses` (`address:port`, of one family). Belongs to one event loop.

    `name` is the host name, which TLS verifies and which requests carry as their authority.
    """

    def __init__(self, addresses: Sequence[str], name: str, use_ssl: bool) -> None:
        family = "ipv6" if addresses[0].startswith("[") else "ipv4"
        options = [*OPTIONS, ("grpc.default_authority", name)]
        # One pod alone may be slow for a moment, and there is no other to go to: its calls go as fast as they can.
        if len(addresses) > 1:
            options += [*BALANCED, *KEEP_ALIVE]
        target = f"{family}:{','.join(addresses)}"
        if use_ssl:
            options.append(("grpc.ssl_target_name_override", name))
            self._channel = grpc.aio.secure_channel(target, grpc.ssl_channel_credentials(), options)
        else:
            self._channel = grpc.aio.insecure_channel(target, options)
        self._stub: Any = GRPCInferenceServiceStub(self._channel)
        self._calls = 0
        self._closed = False

    async def call(self, method: str, request: Any, what: str, host: object, deadline: Deadline) -> Any:
        """The response of `what` at `host`.

        Raises Unavailable when the predictor is unavailable or this was closed, DeadlineExceeded when it is too slow.
        """
        if self._closed:
            raise Unavailable(f"{what} at {host}: {CLOSED}")
        self._calls += 1
        try:
            return await getattr(self._stub, method)(request, timeout=deadline.remaining(what))
        except grpc.aio.AioRpcError as error:
            if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
                raise deadline.passed(f"{what} at {host}") from error
            message = f"{what} at {host}: {error.code().name}: {error.details()}"
            if error.code() not in DOWN:
                raise RuntimeError(message) from error
            raise Unavailable(message, RETRY_AFTER_SECONDS if _is_overload(error) else None) from error
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if not self._closed or (task is not None and task.cancelling()):
                raise
            # gRPC ends the calls of a channel that is closed as if their callers had left.
            raise Unavailable(f"{what} at {host}: {CLOSED}") from error
        finally:
            self._calls -= 1

    async def connect(self, deadline: Deadline) -> None:
        """Return once a pod is connected, or at the deadline: calls then wait for the connection themselves."""
        while deadline.left() > 0:
            state = self._channel.get_state(try_to_connect=True)
            if state in (grpc.ChannelConnectivity.READY, grpc.ChannelConnectivity.TRANSIENT_FAILURE):
                return
            try:
                await asyncio.wait_for(self._channel.wait_for_state_change(state), max(0.0, deadline.left()))
            except TimeoutError:
                return

    async def close_unused(self) -> None:
        """Close it when its calls are over, which the deadline of each bounds."""
        deadline = Deadline(UNUSED_SECONDS)
        while self._calls and deadline.left() > 0:
            await asyncio.sleep(0.02)
        await self.close()

    async def close(self) -> None:
        """Close it at once; calls end by Unavailable."""
        self._closed = True
        await self._channel.close()


def _is_overload(error: grpc.aio.AioRpcError) -> bool:
    """Whether Triton refused a call because a queue is full, which it reports as UNAVAILABLE with this text."""
    return error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED or "maximum queue size" in (error.details() or "")
