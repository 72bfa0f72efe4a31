"""Logs: one structured line per event on stderr, without secrets.

`configure` is called once by the composition root; everybody else takes a logger from `structlog.get_logger()`.
Never decides what is logged and never writes a file.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor

from app.domain.redact import redact_value, work_bounded


def redact_event(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Processor for structlog: the last one before rendering, so that formatted tracebacks are covered too. A line is written by whoever answers
    requests: what of it takes long to look through is hidden."""
    with work_bounded(_MAX_WORK, hides=True):
        return {key: value if key in _OWN_KEYS else redact_value(value, key) for key, value in event.items()}


_MAX_WORK = 2_000
"""Units of work (`app.domain.effort`) on one line: a traceback takes some tens."""
_OWN_KEYS = frozenset({"level", "timestamp", "_record", "_from_structlog"})


def bind(**fields: str) -> AbstractContextManager[None]:
    """Within this block (and the tasks started in it) every log line carries `fields`, e.g. `incident=`, `run=`.

    Empty values are left out.
    """
    return structlog.contextvars.bound_contextvars(**{k: v for k, v in fields.items() if v})


def configure(stream: TextIO | None = None, *, level: str = "INFO", as_json: bool | None = None) -> None:
    """Send all logs, ours and those of libraries, through one redacting formatter to `stream` (default stderr).

    `as_json` None means: JSON lines unless the stream is a terminal. May be called again, e.g. by tests.
    """
    out = stream or sys.stderr
    json_lines = not out.isatty() if as_json is None else as_json
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(_formatter(shared, json_lines=json_lines, colors=out.isatty()))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    _take_over_libraries(root.level)


def _formatter(
    shared: Sequence[Processor], *, json_lines: bool, colors: bool
) -> structlog.stdlib.ProcessorFormatter:
    render: Processor = (
        structlog.processors.JSONRenderer(default=str, ensure_ascii=False)
        if json_lines
        else structlog.dev.ConsoleRenderer(colors=colors)
    )
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            redact_event,
            *([] if json_lines else [_below_its_first_line]),
            render,
        ],
    )


def _below_its_first_line(_logger: object, _name: str, event: EventDict) -> EventDict:
    """What a text of several lines says further down stands apart from the lines of the log: whoever reads along takes none of it for a record
    of its own, whatever a stranger wrote."""
    for name in ("event", "exception", "stack"):
        if "\n" in str(event.get(name, "")):
            event[name] = str(event[name]).replace("\n", "\n    ")
    return event


# Loggers that bring their own handlers or talk too much, with the lowest level that is worth a line.
_LIBRARIES: Mapping[str, int] = {
    "uvicorn": logging.INFO,
    "uvicorn.error": logging.INFO,
    "uvicorn.access": logging.WARNING,  # the request log of app.web.requests has more and is redacted
    "dbos": logging.INFO,
    "alembic": logging.INFO,
    "opentelemetry": logging.ERROR,  # what it drops, and each of its repeats, is no line
    "httpx": logging.WARNING,  # logs full URLs with their query
    "httpcore": logging.WARNING,
    "slack_sdk": logging.WARNING,
    "kubernetes": logging.WARNING,
}


_ADVICE = "No supported WebSocket library"
"""How uvicorn answers an upgrade that was chosen against: any stranger may ask for one, and nobody should follow it."""


def _is_news(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith(_ADVICE)


def _take_over_libraries(lowest: int) -> None:
    for name, level in _LIBRARIES.items():
        logger = logging.getLogger(name)
        # The workflow library adds a console handler of its own, with propagation off, to a logger that has none.
        logger.handlers[:] = [logging.NullHandler()]
        logger.propagate = True
        if name == "uvicorn.error":
            logger.filters[:] = [_is_news]
        logger.setLevel(max(level, lowest))
