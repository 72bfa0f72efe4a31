"""Records in logs: which fields of JSON tell the level, the message, the exception, its stack and the time; and heads of lines that tell a
level by a number or a letter.

Used by `remediations.evidence.error_lines`. Knows the fields of pino, bunyan, zap, slog, structlog, ECS, Google, Serilog, .NET, NLog, Monolog, GELF, tracing,
Quarkus, mongod and OpenTelemetry, the last also as OTLP has it; and the heads of syslog, Tornado and Apache. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from app.domain.json import decoded
from app.domain.linear import Linear
from app.domain.text import bounded
from remediations.evidence import error_words as words
from remediations.evidence.error_signs import CAUSE

LONGEST = 16_000  # characters of a JSON line, decoded as a whole
_LONGEST_TEXT = 4_000
_MAX_LEVELS = 8

MESSAGE = ("message", "msg", "event", "error", "exception", "err", "short_message", "body", "textpayload", "@message", "@m", "renderedmessage", "@mt", "messagetemplate", "m")  # fmt: skip
TYPES = ("exc_type", "error.type", "exception.type", "error_type", "exception_class", "exceptiontype")
TRACES = ("exc_info", "exception", "stack", *MESSAGE)
_LEVELS = ("level", "severity", "levelname", "lvl", "log.level", "loglevel", "severity_text", "severitytext", "@l", "l")  # fmt: skip
_NUMBERS = ("severity_number", "severitynumber")
BAD = frozenset(
    {"error", "err", "eror", "critical", "crit", "fatal", "alert", "emergency", "emerg", "panic", "dpanic"}
)
_STATUS = BAD | {"warning", "warn", "notice", "info", "debug", "trace"}
_DETAILS = ("error", "err", "exception", "cause", "error.message", "exception.message", "@x")
_STACKS = ("stack", "stacktrace", "stack_trace", "error.stack_trace", "exception.stacktrace", "errorVerbose", "exc_info", "@x")  # fmt: skip
_TIMES = ("timestamp", "time", "ts", "@timestamp", "asctime", "@t", "t", "timeunixnano")
_HOLDERS = ("fields", "attributes")
"""Fields that hold those of the event itself: Rust's tracing, OpenTelemetry."""
_MONOLOG, _PINO, _OTEL, SYSLOG = 400, 50, 17, 3
"""From which number on a level is an error: Monolog's begin with 100, GELF's are syslog's, where less is worse."""


_LETTERS = frozenset("FEWI") | {f"D{n}" for n in range(1, 6)} | {"D"}
"""How mongod tells a level."""
_BAD_WORD = "(?:err|error|crit|critical|alert|emerg|fatal|panic)"
_CLOCK = r"\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|[+-]\d\d:?\d\d)?"
_DATED = rf"(?:\d{{4}}-\d\d-\d\d[T ]|\d{{6}} ){_CLOCK}"
_SYSLOG_TIME = r"[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d"
_TAG = r"[\w./-]{1,60}(?:\[\d{1,9}\])?: "
HEADS = (
    re.compile(rf"(?:{_DATED} )?\[?[EF] {_DATED}(?P<tornado> [\w.-]{{1,80}}:\d{{1,6}}\])?[ \]]{{1,3}}"),
    re.compile(rf"{_DATED} \[?[EF]\]?[ \t:|]{{1,3}}"),
    re.compile(r"\[[EF]\] "),
    # Syslog without a number: its own word in front of the message, or a facility with the level.
    re.compile(rf"{_SYSLOG_TIME} \S{{1,255}} (?:{_TAG}\[?{_BAD_WORD}[\]:] ?|(?:user|daemon|kern|auth|cron|syslog|local[0-7])\.{_BAD_WORD} {_TAG})"),
    re.compile(r"(?:\[[^\]]{1,60}\] |AH\d{5}: )?\[\w{1,40}:(?:error|crit|alert|emerg)\] (?:\[pid [^\]]{1,40}\] )?"),
)  # fmt: skip
"""Heads that tell the level of an error by a letter, or by a word of syslog's or Apache's."""
STAMP = re.compile(
    rf"^{_DATED}[ \t]{{1,3}}(?=\*\* \(?[A-Z]|=[A-Z]{{3,10}} REPORT=|Fatal error: |thread '|<\d{{1,3}}>|\[\w{{1,40}}:{_BAD_WORD}\]|{_SYSLOG_TIME} |\[\w{{3}} \w{{3}} \d|\[?\d{{1,4}}[-/:]\w|Exception in thread )"
)
"""The time that a runtime or a supervisor writes in front of such a line: what has none of its own, or has it once more."""
PRIORITY = re.compile(
    rf"<(?P<number>\d{{1,3}})>(?:1 (?:\S{{1,255}} ){{5}}(?:-|\[[^\]]{{0,500}}\]) ?|{_SYSLOG_TIME} (?:\S{{1,255}} )?{_TAG}|)"
)
"""Syslog's head with a number, the rest of which by eight is the level."""
_LOGGED = (
    r"^(?:\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d:\d\d\S{0,20} )?(?:[\w/-]{1,80}\.go:\d{1,6}: |\[[^\]]{1,60}\] )?"
)
_OF_SERVERS = "Unknown|DeadlineExceeded|ResourceExhausted|FailedPrecondition|Aborted|Unimplemented|Internal|Unavailable|DataLoss|Unauthenticated|PermissionDenied"
_PERL = r"Can't |Undefined subroutine|Not an? |Illegal |Attempt to |Died |syntax error |Global symbol |Bareword |DBD::"
"""How Perl begins what it dies of; what it only warns of ends in the same way."""
CROSS = "\u2a2f"
"""Next.js writes it before what failed."""
FAILED = Linear(
    rf"{_LOGGED}(?:Internal Server Error: (?P<django>/.*)|(?P<grpc>rpc error: code = (?:{_OF_SERVERS})\b.*)"
    # What a client asked for wrongly has no name here.
    r"|(?:[A-Z]\w{0,60}::){0,6}(?:Routing|Parse)Error \(.+\):$|(?P<rails>(?:[A-Z]\w{0,60}::){0,6}[A-Z]\w{0,60}(?:Error|Exception) \(.+\):)$"
    rf"| ?{CROSS} (?P<next>.+)|terminate called (?P<cpp>(?:after throwing an instance of|without an active exception).*)"
    r"|(?:pid=\d+ tid=\w+|\d+ TID-\w+)(?: [\w-]+=\S+)* WARN: (?P<sidekiq>(?:[A-Z]\w*::)*[A-Z]\w*: .+)"
    rf"|(?P<perl>(?:{_PERL}).* at \S+ line \d+[.,].*)"
    r"|[\w.-]+: (?P<haskell>(?:Prelude|Data|GHC|Control)\.[\w.!]+: .+)"
    r"|[\w/.-]+\.swift:\d+: (?P<swift>Fatal error: .+)"
    r"|[\w/.-]{1,200}\.rb:\d{1,6}:in [`'].{1,100}': (?P<ruby>.+ \((?:[A-Z]\w{0,60}::){0,6}[A-Z]\w{0,60}\))$)"
)
"""How frameworks say without a level that a request failed: what a group with a name has."""
ERLANG = re.compile(r"=(?:ERROR|CRASH) REPORT=+ [\w :.-]{5,60} =+$")
"""The head of an error of Erlang; what failed, and why, stand on lines below it."""
FAILED_MARKS = ("rror", "xception", ".rb:", CROSS, "terminate called", " WARN: ", " line ", "Prelude.", "Data.", "GHC.", "Control.")  # fmt: skip
"""One of them stands in each such line, and in few others."""


def reported(line: str, before: str) -> str:
    """What an error of Erlang tells once this line of its report is read as well: why, which tells more, or first what failed."""
    why = line.partition("==")[2] if line.startswith("Reason") else ""
    return bounded(why.strip(" >") or before or line, _LONGEST_TEXT)


def record_in(line: str) -> Mapping[str, Any] | None:
    """The record that a line is, also behind a time stamp; None for any other line. Its fields are there by their own names and in small letters, and
    so are those of the event that it holds in a field of its own."""
    try:
        record = decoded(words.STAMPED.sub(r'{"asctime":"\1",', line))
    except ValueError:
        return None
    if not isinstance(record, dict):
        return None
    record = _of_otlp(record) or record
    held = [x for name in _HOLDERS if isinstance(x := _named(record.get(name)), dict)]
    folded = {name.lower(): value for one in (*held, record) for name, value in one.items()}
    return {**folded, **record}


def _of_otlp(record: Mapping[str, Any]) -> dict[str, Any] | None:
    """The record of a batch of OpenTelemetry: the first one that is an error, else the first."""
    found = [
        one
        for resource in _listed(record.get("resourceLogs"))
        for scope in _listed(resource.get("scopeLogs"))
        for one in _listed(scope.get("logRecords"))
    ]
    bad = (one for one in found if is_error({name.lower(): value for name, value in one.items()}))
    return next(bad, found[0] if found else None)


def _listed(value: Any) -> list[dict[str, Any]]:
    return [x for x in value if isinstance(x, dict)] if isinstance(value, list) else []


def _named(value: Any) -> Any:
    """Attributes by their names, also where they are a list of keys and values."""
    if not isinstance(value, list):
        return value
    return {str(x.get("key")): _text(x.get("value")) for x in _listed(value)}


def _text(value: Any) -> Any:
    return value.get("stringValue", value) if isinstance(value, dict) else value


def is_error(record: Mapping[str, Any]) -> bool:
    """Does its level say so, or without a level a field that only an error has?"""
    level: Any = next((record[f] for f in _LEVELS if f in record), None)
    if level is None and isinstance(told := record.get("status"), str) and told.lower() in _STATUS:
        level = told  # Datadog's name for it
    log = record.get("log")
    if level is None and isinstance(log, dict):
        level = log.get("level")
    if isinstance(level, dict):
        level = level.get("levelStr") or level.get("name")
    if level is None and (number := next((record[f] for f in _NUMBERS if f in record), None)) is not None:
        told = str(number).removeprefix("SEVERITY_NUMBER_").startswith(("ERROR", "FATAL"))
        return told or (isinstance(number, int) and number >= _OTEL)
    if level is None and ("@mt" in record or "@m" in record):
        return False  # Serilog leaves out the level of what only informs
    if level is None and "c" in record and (letter := str(record.get("s", ""))) in _LETTERS:
        return letter in "EF"
    if isinstance(level, int | float):
        if "short_message" in record:
            return level <= SYSLOG
        return level >= (_MONOLOG if level >= 100 else _PINO)
    return str(level).lower() in BAD or (level is None and bool(detail_of(record)))


def time_of(record: Mapping[str, Any], read: Callable[[str], datetime | None]) -> datetime | None:
    """When it was written, as text, which `read` reads, or as seconds or milliseconds since 1970."""
    given = (record.get(name) for name in _TIMES)
    for value in (x.get("$date") if isinstance(x, dict) else x for x in given):
        at = (read(value) if isinstance(value, str) else None) or _stamp(value)
        if at is not None:
            return at
    return None


def text_of(record: Mapping[str, Any], fields: Sequence[str]) -> str:
    """The first of these fields that is a text."""
    values = (_text(record.get(f)) for f in fields)
    return next((v for v in values if isinstance(v, str) and v), "")


def causes_of(record: Mapping[str, Any], depth: int = 0) -> Iterator[str]:
    """What a record says of the causes of its error, the outermost first: lines of a stack trace, and errors inside of errors."""
    for name in dict.fromkeys((*_DETAILS, *_STACKS)):
        value = record.get(name)
        if isinstance(value, dict) and depth < _MAX_LEVELS:
            yield from (bounded(x, _LONGEST_TEXT) for x in (text_of(value, ("message", "msg")),) if x)
            yield from causes_of(value, depth + 1)
        if isinstance(value, str):
            lines = value[:LONGEST].splitlines()
            head = [bounded(lines[0], _LONGEST_TEXT)] if lines and (depth or name in _STACKS) else []
            yield from head
            found = (words.CAUSED.match(line) or CAUSE.match(line) for line in lines)
            yield from (bounded(m[0].strip(), _LONGEST_TEXT) for m in found if m)


def detail_of(record: Mapping[str, Any]) -> str:
    """What the error's own field says, behind a message such as "request failed"."""
    for name in _DETAILS:
        value = record.get(name)
        if isinstance(value, dict):
            value = value.get("message") or value.get("msg")
        if isinstance(value, str) and value.strip():
            return value.strip().splitlines()[0] if words.TRACE not in value else ""
    return ""


def _stamp(value: Any) -> datetime | None:
    if isinstance(value, int | float) and 1e9 <= value < 1e13:
        return datetime.fromtimestamp(value / 1000 if value >= 1e11 else value, UTC)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) == 19:
        return datetime.fromtimestamp(int(value) / 1e9, UTC)
    return None
