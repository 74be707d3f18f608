"""Clients that use up connections: bodies and headers that come byte by byte, idle connections, clients that leave."""

import contextlib
import select
import socket
import struct
import threading
import time

from benchmarks.hostile_calls import INFER

SLOW, IDLE = 20, 50
EVERY_SECONDS = 0.5
CONNECT_SECONDS = 5.0
HEAD = f"POST {INFER} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n".encode()


def hold_connections(address: tuple[str, int], grpc_address: tuple[str, int], end: threading.Event) -> int:
    """Hold slow and idle connections, and reopen those that the servers close, until `end`.

    Returns how many the servers closed.
    """
    closed = 0
    kinds: list[tuple[tuple[str, int], bytes, bytes]] = [
        *[(address, HEAD + b"\r\n", b"{")] * SLOW,  # a body
        *[(address, HEAD, b"x")] * SLOW,  # a header that never ends
        *[(address, b"", b"")] * IDLE,
        *[(grpc_address, b"", b"")] * IDLE,
    ]
    held: list[socket.socket | None] = [None] * len(kinds)
    try:
        while not end.wait(EVERY_SECONDS):
            for place, (where, head, drop) in enumerate(kinds):
                one = held[place]
                if one is not None and _alive(one, drop):
                    continue
                if one is not None:
                    closed += 1
                    one.close()
                held[place] = _opened(where, head)
    finally:
        for one in held:
            if one is not None:
                one.close()
    return closed


def leave_early(address: tuple[str, int], body: bytes, after_seconds: float) -> None:
    """Send a call, or half of it where `after_seconds` is 0, and reset the connection before a response."""
    one = _opened(address, HEAD.replace(b"1000", str(len(body)).encode()) + b"\r\n")
    if one is None:
        return
    with contextlib.closing(one), contextlib.suppress(OSError):
        one.sendall(body[: len(body) // 2] if after_seconds == 0 else body)
        time.sleep(after_seconds)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _opened(where: tuple[str, int], head: bytes) -> socket.socket | None:
    try:
        one = socket.create_connection(where, timeout=CONNECT_SECONDS)
        one.sendall(head)
    except OSError:
        return None
    return one


def _alive(one: socket.socket, drop: bytes) -> bool:
    """Send a drop more. False where the server has closed the connection."""
    try:
        if drop:
            one.sendall(drop)
        readable, _, _ = select.select([one], [], [], 0)
        return not readable or bool(one.recv(4096))
    except OSError:
        return False
