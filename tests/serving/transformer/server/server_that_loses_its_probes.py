"""A server whose probing fails once it serves; `test_draining.py` runs this in its own process."""

import asyncio
import sys

from kserve import Model

from serving.transformer.concurrency.admission import Admission
from serving.transformer.server.draining import DrainingServer
from serving.transformer.server.health import Health
from serving.transformer.server.limits import Limits


class Ends(Health):
    async def watch(self) -> None:
        await asyncio.sleep(0.5)
        raise OSError("no more sockets")


if __name__ == "__main__":
    http_port, grpc_port = map(int, sys.argv[1:])
    server = DrainingServer(
        Admission(1, 1),
        Ends([]),
        1.0,
        lambda: None,
        limits=Limits(2**20),
        host="127.0.0.1",
        http_port=http_port,
        grpc_port=grpc_port,
    )
    model = Model("model")
    model.ready = True
    server.start([model])
