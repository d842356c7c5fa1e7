"""Logs are events with fields: one JSON object a line on stderr, with the correlation id of the request behind it."""

import contextlib
import itertools
import logging
import secrets
import sys
from contextvars import ContextVar
from typing import Any, TextIO, cast

import structlog

CORRELATION_HEADER = "X-Correlation-ID"
"""Carries one operator's act through every daemon."""

correlation_id: ContextVar[str] = ContextVar("correlation_id", default="")
"""Of the request that is being served; empty outside of one."""


# Locals stay out of the log: a passphrase may be among them.
_TRACEBACKS = structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False))


def new_correlation_id() -> str:
    """Return a fresh id for an act that starts here."""
    return f"{_PROCESS}-{next(_ACTS):x}"


_PROCESS = secrets.token_hex(5)
_ACTS = itertools.count(1)


def _add_correlation_id(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    if current := correlation_id.get():
        event.setdefault("correlation_id", current)
    return event


class _Stream:
    """Standard error, as a log needs it: a full disk or a reader that left costs the line, not the work it tells of."""

    def write(self, text: str) -> None:
        with contextlib.suppress(
            OSError, ValueError, AttributeError
        ):  # ValueError: closed; AttributeError: none at all
            sys.stderr.write(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError, AttributeError):
            sys.stderr.flush()


class _ToStructlog(logging.Handler):
    """Hands records of libraries (uvicorn, asyncio, aiohttp) to the same stream, as events named after their logger."""

    def emit(self, record: logging.LogRecord) -> None:
        fields: dict[str, Any] = {"message": record.getMessage()}
        if record.exc_info:
            fields["exc_info"] = record.exc_info
        get_logger().log(record.levelno, record.name, **fields)


def configure(service: str, level: str = "info") -> None:
    """Send this process's logs to stderr as JSON, from `level` up; `service` stands on every line."""
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            _add_correlation_id,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _TRACEBACKS,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(file=cast("TextIO", _Stream())),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service)
    logging.basicConfig(handlers=[_ToStructlog()], level=max(number, logging.WARNING), force=True)


def get_logger() -> structlog.typing.FilteringBoundLogger:
    """Return the logger: `log.info("job.broadcast", job=…, txid=…)`."""
    return cast("structlog.typing.FilteringBoundLogger", structlog.get_logger())
