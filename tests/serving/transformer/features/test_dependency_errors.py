"""A connection error fails all requests; an error about one value fails only its request."""

import sqlite3

import grpc
import psycopg
import psycopg_pool
import pytest
import redis.exceptions
import sqlalchemy.exc

from serving.transformer.features.dependency_errors import is_unavailable


class _Status(grpc.RpcError):
    def __init__(self, code: grpc.StatusCode) -> None:
        self._code = code

    def code(self) -> grpc.StatusCode:
        return self._code


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError(),
        TimeoutError(),
        redis.exceptions.ConnectionError("gone"),
        redis.exceptions.TimeoutError("slow"),
        redis.exceptions.AuthenticationError("password"),
        redis.exceptions.BusyLoadingError("loading"),
        redis.exceptions.MasterDownError("failing over"),
        redis.exceptions.OutOfMemoryError("full"),
        sqlite3.OperationalError("database is locked"),
        sqlite3.DatabaseError("file is not a database"),
        psycopg.OperationalError("server closed the connection"),
        psycopg_pool.PoolTimeout("no connection"),
        sqlalchemy.exc.OperationalError("select", {}, Exception("refused")),
        _Status(grpc.StatusCode.UNAVAILABLE),
        _Status(grpc.StatusCode.DEADLINE_EXCEEDED),
    ],
    ids=repr,
)
def test_what_no_request_can_help_is_unavailable(error: Exception):
    assert is_unavailable(error)


@pytest.mark.parametrize(
    "error",
    [
        UnicodeEncodeError("utf-8", "a\ud800", 1, 2, "surrogates not allowed"),
        OverflowError("date value out of range"),
        ValueError("bad value"),
        TypeError("int64_val"),
        redis.exceptions.DataError("invalid input"),
        redis.exceptions.ResponseError("WRONGTYPE"),
        sqlite3.ProgrammingError("binding"),
        sqlite3.InterfaceError("unsupported type"),
        psycopg.DataError("NUL"),
        sqlalchemy.exc.DataError("select", {}, Exception("value")),
        _Status(grpc.StatusCode.INVALID_ARGUMENT),
        RuntimeError("a fault of ours"),
    ],
    ids=repr,
)
def test_what_one_request_may_have_caused_is_not(error: Exception):
    assert not is_unavailable(error)
