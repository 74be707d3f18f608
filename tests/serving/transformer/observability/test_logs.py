"""Log lines, in a process of their own: configuring logs changes the whole process, and pytest's capture with it."""

import json
import subprocess
import sys
from typing import Any

import pytest

from serving.transformer.observability.logs import request_id

SCRIPT = """
import logging
from serving.transformer.observability.call_record import CallRecord
from serving.transformer.observability.logs import configure_logs, log_call, log_refusal

configure_logs({level!r})
record = CallRecord("the-id", "77", 2, ("item",), {{"cold_start": 1}})
record.seconds["text"] = 0.0123
log_call(record)
log_refusal(record, ValueError("user 10, query: a scary ghost story"))
kserve = logging.getLogger("kserve")
kserve.info("grpc method: %s", "/inference.GRPCInferenceService/ModelInfer")
class Refused(Exception):
    reason = "user 10"
try:
    raise Refused("user 10")
except Refused as error:
    kserve.error("Error processing inference request: %s", error, exc_info=True)
kserve.info("Starting gRPC server")
logging.getLogger("uvicorn.access").info("GET /v2/health/ready")
try:
    1 / 0
except ZeroDivisionError:
    logging.getLogger("uvicorn.error").error("broken", exc_info=True)
"""


def lines(level: str) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(level=level)], capture_output=True, text=True, timeout=60, check=True
    )
    return [json.loads(line) for line in done.stderr.splitlines()]


def test_every_line_is_json_and_none_quotes_a_caller():
    call, started, broken = lines("INFO")
    moment = call.pop("timestamp")
    assert moment.endswith("Z")
    assert call.pop("total_ms") >= 0
    assert call == {
        "event": "call",
        "level": "info",
        "logger": "polytask.serving",
        "request_id": "the-id",
        "code": "OK",
        "model_version": "77",
        "batch": 2,
        "tasks": ["item"],
        "flags": {"cold_start": 1},
        "features_ms": 0.0,
        "text_ms": 12.3,
        "predictor_ms": 0.0,
        "post_ms": 0.0,
    }
    assert (started["logger"], started["event"]) == ("kserve", "Starting gRPC server")
    assert broken["event"] == "broken"
    assert "ZeroDivisionError" in broken["exception"]


def test_the_reason_of_a_refusal_needs_the_debug_level():
    refused = [line for line in lines("DEBUG") if line["event"] == "refused"]
    assert [(line["level"], line["reason"]) for line in refused] == [("debug", "user 10, query: a scary ghost story")]


@pytest.mark.parametrize("bad", ["", "two words", 'quote"', "x" * 129, "line\nbreak"])
def test_the_header_wins_and_an_id_that_is_no_word_is_replaced(bad: str):
    assert request_id({"x-request-id": "a-1"}, "b") == "a-1"
    assert request_id({"x-request-id": bad}, "b") == "b"
    assert len(request_id({}, bad)) == 36
