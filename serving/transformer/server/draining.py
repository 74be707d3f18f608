"""KServe's server with an orderly end: unready first, then the accepted calls, then the servers."""

import asyncio
import signal
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import uvloop
from kserve.logging import logger

from serving.transformer.concurrency.admission import Admission
from serving.transformer.server.bind_address import BoundModelServer
from serving.transformer.server.health import Health

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
GRACE_SECONDS = 5


class DrainingServer(BoundModelServer):
    """At SIGTERM or SIGINT new calls are refused and the server is unready; it ends with the accepted calls.

    Every call has a deadline, `call_seconds` at most, so the end comes within that and two graces of the servers.
    """

    def __init__(
        self, admission: Admission, health: Health, call_seconds: float, begin: Callable[[], None], **options: Any
    ) -> None:
        """`begin` is called in the event loop when the servers start; `options` are the SDK's."""
        super().__init__(grace_period=GRACE_SECONDS, **options)
        self._begin = begin
        self._admission = admission
        self._health = health
        self._call_seconds = call_seconds

    def setup_event_loop(self) -> None:
        """Uvloop for what `asyncio.run` starts; the SDK's own function prepares a loop that is not used."""
        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())

    def register_signal_handler(self) -> None:
        """Nothing: `_serve` takes the signals, in the event loop."""

    async def _serve(self) -> None:
        self.bind_rest()
        # The HTTP server would take the signals for itself and stop at once.
        http = self._rest_server._server
        http.capture_signals = nullcontext
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in STOP_SIGNALS:
            loop.add_signal_handler(number, stop.set)
        servers = asyncio.gather(*self.servers)
        watching = asyncio.ensure_future(self._health.watch())
        stopping = asyncio.ensure_future(stop.wait())
        self._begin()
        # Whichever ends first: a server that cannot start raises here.
        ends: set[asyncio.Future[Any]] = {servers, watching, stopping}
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if stop.is_set():
            logger.info("Draining: new calls are refused")
            if not await self._admission.drain(self._call_seconds + 1):
                logger.warning("Some calls did not end in time")
        lost = watching.done()
        watching.cancel()
        stopping.cancel()
        http.should_exit = True
        if self._grpc_server is not None:
            await self._grpc_server.stop()
        await servers
        if lost:  # probes must run for ever: the process must not end as if somebody had stopped it
            logger.error("Predictor and feature store are no longer probed")
            await watching
