"""Which errors mean that a feature store or a registry is unavailable, and not that what it was given is wrong.

The difference decides who is affected: an unavailable store fails every request, a value that a client library cannot
encode fails the one request that holds it. The classes are compared by name: of the packages, only those of the
configured store are installed.
"""

# Module of a class -> names of classes. Their subclasses count too.
UNAVAILABLE = {
    "builtins": ("OSError",),  # ConnectionError, TimeoutError (asyncio's too), socket.gaierror, requests' errors
    "redis.exceptions": (
        "ConnectionError",  # authentication, loading and too many connections included
        "TimeoutError",
        "ClusterError",
        "RedisClusterException",
        "AskError",
        "TryAgainError",
        "OutOfMemoryError",
        "ReadOnlyError",
        "NoPermissionError",
    ),
    "sqlite3": ("OperationalError",),  # locked, missing or unreadable file, disk I/O
    "psycopg": ("OperationalError", "InterfaceError"),  # psycopg_pool.PoolTimeout included
    "sqlalchemy.exc": ("OperationalError", "InterfaceError", "TimeoutError"),
    "httpx": ("TransportError",),
    "botocore.exceptions": ("HTTPClientError", "ConnectionError"),
}
GRPC_UNAVAILABLE = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED")


def is_unavailable(error: BaseException) -> bool:
    """Whether an error of a client library is about its connection, a time-out, or the state of its server."""
    kinds = type(error).__mro__
    if any(kind.__name__ in UNAVAILABLE.get(kind.__module__, ()) for kind in kinds):
        return True
    # A damaged file is DatabaseError itself; its subclasses are about the values of one query.
    if type(error).__module__ == "sqlite3" and type(error).__name__ == "DatabaseError":
        return True
    return _grpc_code(error) in GRPC_UNAVAILABLE


def reason(error: BaseException) -> str:
    """An error of a client library in one line: SQLAlchemy's and gRPC's have several."""
    code = _grpc_code(error)
    details = getattr(error, "details", None)
    if code is not None and callable(details):
        return f"{code}: {' '.join(str(details()).split())}"
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _grpc_code(error: BaseException) -> str | None:
    """The name of a gRPC error's status, None for any other error."""
    if not any((kind.__module__, kind.__name__) == ("grpc", "RpcError") for kind in type(error).__mro__):
        return None
    code = getattr(error, "code", None)
    return getattr(code(), "name", None) if callable(code) else None
