"""Logs as JSON lines, KServe's and uvicorn's included. At info level they hold no user id and no caller's words."""

import logging
import logging.config
import re
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime

import orjson
import structlog
from structlog.typing import Processor

from serving.transformer.observability.call_record import CallRecord

REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")

_log = logging.getLogger("polytask.serving")


def configure_logs(level: str = "INFO") -> None:
    """Write every logger of this process to stderr as JSON lines, from `level` on. KServe then leaves logging alone."""
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    formatter = {
        "()": _JsonLines,
        "foreign_pre_chain": shared,
        "processors": [
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
    }
    logging.captureWarnings(True)
    logged = {"level": level, "handlers": [], "propagate": True}
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"json": formatter},
            "filters": {"call": {"()": _SaidByTheCall}},
            "handlers": {
                "json": {
                    "class": "logging.StreamHandler",
                    "formatter": "json",
                    "filters": ["call"],
                    "stream": "ext://sys.stderr",
                }
            },
            "root": {"handlers": ["json"], "level": level},
            "loggers": {
                **dict.fromkeys(("kserve", "uvicorn", "uvicorn.error"), logged),
                # A line per call, and per probe, with less information than ours.
                **{name: {**logged, "level": "WARNING"} for name in ("kserve.trace", "uvicorn.access", "httpx")},
            },
        }
    )


class _JsonLines(structlog.stdlib.ProcessorFormatter):
    """A record as a JSON line. The one of a call has its `fields` ready: structlog would cost ten times as much."""

    def format(self, record: logging.LogRecord) -> str:
        fields = getattr(record, "fields", None)
        if fields is None:
            return super().format(record)
        moment = datetime.fromtimestamp(record.created, UTC).isoformat().replace("+00:00", "Z")
        named = {"event": record.msg, "level": record.levelname.lower(), "logger": record.name, "timestamp": moment}
        return orjson.dumps({**fields, **named}).decode()


class _SaidByTheCall(logging.Filter):
    """Drops KServe's log lines about a call: our line has more, and the text of a refusal may quote its caller."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name != "kserve":
            return True
        error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
        return not (record.getMessage().startswith("grpc method:") or hasattr(error, "reason"))


def request_id(headers: Mapping[str, str], sent: str | None) -> str:
    """The call's id: header `x-request-id`, the protocol's own, or a new one. One that is no plain word is replaced."""
    for given in (headers.get("x-request-id"), sent):
        if given and REQUEST_ID.fullmatch(given):
            return given
    return str(uuid.uuid4())


def log_call(record: CallRecord) -> None:
    """One line about a call that ended."""
    if not _log.isEnabledFor(logging.INFO):
        return
    fields = {
        "request_id": record.request_id,
        "code": record.code,
        "model_version": record.model_version,
        "batch": record.batch,
        "tasks": record.tasks,
        "flags": record.flags,
        **{f"{name}_ms": round(1000 * seconds, 3) for name, seconds in record.seconds.items()},
        "total_ms": round(1000 * record.elapsed(), 3),
    }
    _log.info("call", extra={"fields": fields})


def log_refusal(record: CallRecord, error: BaseException) -> None:
    """Why a call was refused, at debug level: the reason may quote the caller."""
    _log.debug("refused", extra={"fields": {"request_id": record.request_id, "reason": str(error)}})
