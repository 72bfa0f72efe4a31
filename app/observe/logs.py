"""Logs: one structured line per event on stderr, and the removal of secrets from any text.

`configure` is called once by the composition root; everybody else takes a logger from `structlog.get_logger()`.
`redact` is also used for evidence: log lines of applications that are shown in messages, pages and audit records.
Never decides what is logged and never writes a file.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor

from app.domain.text import bounded, visible

REDACTED = "[redacted]"
MAX_TEXT = 16_000
"""Characters of one text that are looked at and kept; a traceback fits, a body of megabytes does not."""

_SECRET_WORD = (
    r"passwords?|passwd|passphrase|secret(?!-?_?(?:key_?)?(?:name|ref)\b)|(?<!unexpected )token(?!-?_?(?:review|izer))"
    r"|api[_-]?key|access[_-]?key|private[_-]?key|signing[_-]?key|routing[_-]?key|encryption[_-]?key"
    r"|credentials?|session[_-]?(?:id|key)|\bpwd|(?<=[_.-])pwd|\bpass(?=[\"'\\\s]*[=:])|(?<=[_.-])pass(?=[\"'\\\s]*[=:])"
)
# The name may go on after the word (`secret_access_key`, `token_v2`). What stands before the word is not matched at
# all, which keeps the search linear in long runs of letters.
_ASSIGNED = rf"(?P<key>(?:{_SECRET_WORD})[\w.-]{{0,40}}(?:\\{{0,16}}[\"'])?\s{{0,4}}(?:=>|[=:])\s{{0,4}})"
# An unquoted value ends at a blank, a quote or a backslash, and at a separator that starts the next `name=`.
_BARE = r"(?:[^\s\"'\\&,;]|[&,;](?!\s{0,16}\\{0,16}[\"']?[\w.-]{1,64}\\{0,16}[\"']?\s{0,16}[=:]))+"
_VALUE = rf"(?:(?P<quote>\\{{0,16}}[\"'])(?:(?!(?P=quote)).|(?<=\\)(?P=quote))*(?P=quote)?|{_BARE})"

_HEADER = re.compile(
    r"(?P<key>\b(?:proxy-)?authorization(?:\\*[\"'])?\s{0,4}[=:]\s{0,4}|\b(?:set-)?cookie(?:\\*[\"'])?\s{0,4}[=:]\s{0,4})"
    r"(?P<quote>\\*[\"'])?[^\"'\\\r\n]+",
    re.IGNORECASE,
)
_PAIR = re.compile(_ASSIGNED + _VALUE, re.IGNORECASE | re.DOTALL)
_FLAG = re.compile(
    rf"(?P<key>(?<!\S)--?[\w-]{{0,40}}(?:{_SECRET_WORD})[\w-]{{0,20}}\s+)(?!-)\S+", re.IGNORECASE
)
_SCHEME = re.compile(r"\b(?P<key>[Bb]earer\s+|Basic\s+(?=[a-z]*[A-Z0-9=])|Token\s+token=)[\w.~+/=-]{8,}")
_USERINFO = re.compile(
    r"(?P<key>\b[a-z][a-z0-9+.-]{0,30}://[^\s:/@\"']{0,256}:)(?!\d+(?:[/?#\s]|$))[^\s\"'\\<>]{0,256}(?=@)",
    re.IGNORECASE,
)
_KNOWN = re.compile(
    r"\bxox[a-z](?:\.xox[a-z])?-[\w-]{8,}|\bxapp-[\w-]{8,}|\bgh[opusr]_\w{20,}|\bgithub_pat_\w{20,}|\bglpat-[\w-]{16,}"
    r"|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|\bAIza[\w-]{30,}|\bsk-[\w-]{16,}|\bhvs\.[\w-]{20,}|\bpypi-[\w-]{16,}|\bnpm_\w{20,}"
    r"|\beyJ[\w-]{8,1000}\.[\w-]{8,4000}\.[\w-]*"
    r"|(?<=hooks\.slack\.com/)(?:services|workflows|triggers|actions)/[\w/-]+"
)
_PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL
)
_SECRET_NAME = re.compile(rf"{_SECRET_WORD}|authorization|cookie|\bdsn\b|\bpass\b", re.IGNORECASE)
_NUMBERS = re.compile(r"tokens?[\w.-]{0,40}(?:\\*[\"'])?\s*[=:]\s*\d{1,9}(?:\.\d+)?(?![\w.-])", re.IGNORECASE)


def redact(text: str) -> str:
    """`text` with every recognised secret replaced by `[redacted]`; names, hosts and users stay readable.

    Recognises assignments (`password=x`, `"apiKey": "x"`, also inside escaped JSON), HTTP authorization and cookies,
    passwords in URLs and DSNs, command-line flags, private keys and well-known token formats. Rather hides too much
    than too little; plain counts such as `max_tokens=4096` stay. Of a longer text the first MAX_TEXT characters stay, so
    that a stranger's text costs a bounded time.
    """
    if not text:
        return text
    text = bounded(text, MAX_TEXT)
    text = _PRIVATE_KEY.sub(REDACTED, text)
    text = _USERINFO.sub(rf"\g<key>{REDACTED}", text)
    text = _HEADER.sub(_keep_quote_open, text)
    text = _SCHEME.sub(rf"\g<key>{REDACTED}", text)
    text = _PAIR.sub(_keep_quotes, text)
    text = _FLAG.sub(rf"\g<key>{REDACTED}", text)
    return _KNOWN.sub(REDACTED, text)


def _keep_quote_open(match: re.Match[str]) -> str:
    return f"{match['key']}{match['quote'] or ''}{REDACTED}"


def _keep_quotes(match: re.Match[str]) -> str:
    if _NUMBERS.fullmatch(match[0]):
        return match[0]
    quote = match["quote"] or ""
    return f"{match['key']}{quote}{REDACTED}{quote}"


def redact_value(value: Any, name: str = "") -> Any:
    """`value` with secrets removed at any depth; everything under a name that speaks of a secret is replaced whole."""
    if name and _SECRET_NAME.search(name) and not isinstance(value, bool | int | float | None):
        return REDACTED
    if isinstance(value, str):
        return visible(redact(value))
    if isinstance(value, Mapping):
        return {k: redact_value(v, str(k)) for k, v in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return [redact_value(v) for v in value]
    return value


def redact_event(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Processor for structlog: the last one before rendering, so that formatted tracebacks are covered too."""
    return {key: value if key in _OWN_KEYS else redact_value(value, key) for key, value in event.items()}


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
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, redact_event, render],
    )


# Loggers that bring their own handlers or talk too much, with the lowest level that is worth a line.
_LIBRARIES: Mapping[str, int] = {
    "uvicorn": logging.INFO,
    "uvicorn.error": logging.INFO,
    "uvicorn.access": logging.WARNING,  # the request log of app.web.requests has more and is redacted
    "dbos": logging.INFO,
    "alembic": logging.INFO,
    "httpx": logging.WARNING,  # logs full URLs with their query
    "httpcore": logging.WARNING,
    "slack_sdk": logging.WARNING,
    "kubernetes": logging.WARNING,
}


def _take_over_libraries(lowest: int) -> None:
    for name, level in _LIBRARIES.items():
        logger = logging.getLogger(name)
        # The workflow library adds a console handler of its own, with propagation off, to a logger that has none.
        logger.handlers[:] = [logging.NullHandler()]
        logger.propagate = True
        logger.setLevel(max(level, lowest))
