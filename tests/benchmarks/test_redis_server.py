import socket

import pytest
import redis

from benchmarks.redis_server import RedisServer
from polytask.errors import ServingError


def connect(server):
    return redis.Redis(port=server.port, socket_timeout=5)


def test_data_is_lost_with_a_restart_unless_it_is_kept(tmp_path):
    for keep_data, left in ((False, None), (True, b"yes")):
        with RedisServer(tmp_path / str(keep_data), keep_data=keep_data) as server:
            with connect(server) as client:
                client.set("there", "yes")
            server.restart()
            with connect(server) as client:
                assert client.get("there") == left
        with pytest.raises(OSError), socket.create_connection(("127.0.0.1", server.port), timeout=1):
            pass


def test_a_taken_port_is_refused(tmp_path):
    with RedisServer(tmp_path / "one") as server, pytest.raises(ServingError, match=str(server.port)):
        RedisServer(tmp_path / "two", port=server.port)
