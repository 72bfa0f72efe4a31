"""Reading error lines: which lines of a log report an error, of what type, and what makes two of them the same.

Used by `remediations.evidence.logs`. Understands JSON and logfmt lines with a level, lines with a level word, klog's
`E0304`, Python tracebacks, Java stack traces and Go panics. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from app.domain.json import decoded
from app.domain.text import bounded

TOKENS = ("ERROR", "CRITICAL", "FATAL", "SEVERE", "[error]", "[crit]")
"""Words that mark an error line (runbook, High Error Rate: `grep ERROR`)."""
_LONGEST_RECORD = 4_000  # characters of a JSON line, decoded as a whole
_LONGEST_TEXT = 500  # characters of what any pattern sees; 300 are shown at most
_LONGEST_KEY = 160

_PLAIN = frozenset({"Error", "error", "fatal"})
_BAD_LEVELS = frozenset({"error", "err", "critical", "crit", "fatal", "alert", "emergency", "emerg", "panic"})
_LEVEL_FIELDS = ("level", "severity", "levelname", "lvl", "log.level", "loglevel")
_MESSAGE_FIELDS = ("message", "msg", "event", "error", "exception", "err")
_DETAIL_FIELDS = ("error", "err", "exception", "cause", "error.message", "exception.message")
_TYPE_FIELDS = ("exc_type", "error.type", "exception.type", "error_type", "exception_class")
_TRACE_FIELDS = ("exc_info", "exception", "stack", *_MESSAGE_FIELDS)
_TIME_FIELDS = ("timestamp", "time", "ts", "@timestamp", "asctime")

_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|[+-]\d\d:?\d\d)?")
_LOGFMT = re.compile(r"(?:^|\s)(?:level|lvl|severity)=\"?([A-Za-z]+)")
_LOGFMT_MESSAGE = re.compile(r"(?:^|\s)(?:msg|message|err|error)=(?:\"((?:[^\"\\]|\\.)*)\"|(\S+))")
_BARE = re.compile(
    r"^(?:\[?\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d:\d\d\S*\s+)?(?:\([^)]{1,60}\) )?(?:Uncaught |Unhandled )?"
    r"(?P<name>(?:[A-Za-z_]\w*\.){0,8}[A-Z]\w{0,60}(?:Error|Exception)|Error|error|fatal)"
    r"(?: \[\w{1,40}\])?: (?P<text>\S.*)"
)
"""A line that only names its error, as Node, gRPC and command line tools write it: `Error: 14 UNAVAILABLE: ...`."""
_KLOG = re.compile(r"^[EF]\d{4} \d\d:\d\d:\d\d\.\d+ +\d+ [^\]]{1,80}\] ")
_TYPE = re.compile(
    r"(?<![\w/.])(?:[A-Za-z_]\w*\.)*(?P<name>[A-Z]\w{0,60}(?:Error|Exception|Timeout|Failure|Refused|Fault)|"
    r"(?:Key|System|Generator|Keyboard)(?:Interrupt|Exit))\b(?:\s*\([\w.]{1,80}\))?(?P<rest>:\s*(?P<text>.*))?"
)
_RAISED = re.compile(r"^(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:: .*)?$")
_TRACE = "Traceback (most recent call last):"
_CHAINED = ("During handling of the above exception", "The above exception was the direct cause")
_THROWN = re.compile(r"^Exception in thread \"[^\"]*\" (?P<text>.*)")
_PANIC = re.compile(r"^panic: (?P<text>.*)")


class Nature(StrEnum):
    """What an error says about its cause, as far as its words tell."""

    CODE = "code"
    DEPENDENCY = "dependency"
    CAPACITY = "capacity"
    RATE_LIMIT = "rate_limit"


_NATURES: tuple[tuple[Nature, re.Pattern[str]], ...] = (
    # A provider that limits us is asked even more often by more pods (runbook, API Rate Limiting).
    (
        Nature.RATE_LIMIT,
        re.compile(
            r"rate.?limit|quota exceeded|insufficient_quota|client error '429|\b429\b.* for url",
            re.IGNORECASE,
        ),
    ),
    (
        Nature.DEPENDENCY,
        re.compile(
            r"connection (?:refused|reset|timed out|timeout|aborted|closed)|could not connect|cannot connect"
            r"|econn(?:refused|reset|aborted)|name or service not known|no such host|could not (?:resolve|translate)"
            r"|too many (?:clients|connections)|queuepool limit|server closed the connection|no route to host"
            r"|\b14 unavailable\b|code = unavailable|no connection established|broken pipe|server misbehaving"
            r"|temporary failure in name resolution|eai_again|\bdial (?:tcp|udp)\b|tls handshake timeout|\bx509: |certificate has expired"
            r"|(?:operational|interface|connection|busyloading)error\b",
            re.IGNORECASE,
        ),
    ),
    (
        Nature.CAPACITY,
        re.compile(
            r"\b(?:429|503|504)\b|too many requests|service unavailable|overload|queue (?:is )?full|saturat"
            r"|backpressure|no (?:free|available) worker|worker timeout|deadline exceeded|resource exhausted"
            r"|thread pool .*exhaust|load shed",
            re.IGNORECASE,
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class ErrorLine:
    """One reported error: `type` is the exception's name or the level word, `text` what it says, `at` if it tells."""

    type: str
    text: str
    at: datetime | None
    named: bool = False
    """`type` is an exception's name and not only a level word."""

    @property
    def key(self) -> str:
        """Equal for errors that differ only in ids, numbers, addresses and times."""
        text = normalise(self.text)
        return (f"{self.type}: {text}" if self.named and text else text or self.type)[:_LONGEST_KEY]

    @property
    def nature(self) -> Nature:
        """What it says about its cause."""
        words = f"{self.type}: {self.text}"
        return next((nature for nature, pattern in _NATURES if pattern.search(words)), Nature.CODE)


def errors_in(lines: Iterable[str], tokens: Sequence[str] = TOKENS) -> Iterator[ErrorLine]:
    """The errors that these lines of one container report; a traceback belongs to the error line before it."""
    reader = _Reader(tokens)
    for line in lines:
        yield from reader.feed(line[:_LONGEST_RECORD].rstrip())
    if reader.pending:
        yield reader.pending


class _Reader:
    """Holds back the last error until it is clear that no traceback of it follows."""

    def __init__(self, tokens: Sequence[str]) -> None:
        self.pending: ErrorLine | None = None
        self._word = re.compile(rf"(?<![\w-])(?:{'|'.join(re.escape(t) for t in tokens)})(?![\w-])")
        self._in_trace = False
        self._traced = False

    def feed(self, line: str) -> Iterator[ErrorLine]:
        """Take one line; gives the error before it once that is complete."""
        if not line.startswith("{"):
            line = bounded(line, _LONGEST_TEXT)
        if line.strip() == _TRACE:
            self._in_trace = True
            return
        if not line or line[0] in " \t":
            return
        if self._in_trace and _RAISED.match(line):
            self._in_trace = False
            yield from self._raise(line)
            return
        self._in_trace = False
        if line.startswith(_CHAINED):
            self._traced = False  # the next traceback tells more of the same error
            return
        error = _read(line, self._word)
        if error is not None and error.text.endswith(_TRACE):
            return  # a logger that prefixes each line of a traceback: the line with the exception follows
        yield from self._turn(error)

    def _raise(self, line: str) -> Iterator[ErrorLine]:
        if self._traced:
            yield from self._turn(None)
        self.pending = _raised(line, self.pending)
        self._traced = True

    def _turn(self, error: ErrorLine | None) -> Iterator[ErrorLine]:
        if self.pending:
            yield self.pending
        self.pending, self._traced = error, False


def _raised(line: str, before: ErrorLine | None) -> ErrorLine:
    """The last line of a traceback; an error that already has its exception's name keeps it."""
    if before is not None and before.named:
        return before
    name, _, text = line.partition(": ")
    return ErrorLine(name.rpartition(".")[2], text, before.at if before else None, named=True)


def _read(line: str, word: re.Pattern[str]) -> ErrorLine | None:
    if line.startswith("{") and (record := _json(line)) is not None:
        return _from_json(record)
    line = bounded(line, _LONGEST_TEXT)
    for pattern in (_THROWN, _PANIC):
        if found := pattern.match(line):
            return _typed("panic" if pattern is _PANIC else "Exception", found["text"], None)
    at = _time(line)
    if level := _LOGFMT.search(line):
        if level[1].lower() not in _BAD_LEVELS:
            return None
        said = dict.fromkeys(m[1] or m[2] or "" for m in _LOGFMT_MESSAGE.finditer(line))
        return _typed("ERROR", ": ".join(filter(None, said)) or line, at)
    if klog := _KLOG.match(line):
        return _typed("ERROR", line[klog.end() :], at)
    if found := word.search(line):
        return _typed(found[0], line[found.end() :].lstrip(" \t]:|-"), at)
    if bare := _BARE.match(line):
        name = bare["name"].rpartition(".")[2]
        return ErrorLine(name, bare["text"], at, named=name not in _PLAIN)
    return None


def _json(line: str) -> Mapping[str, Any] | None:
    try:
        record = decoded(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _from_json(record: Mapping[str, Any]) -> ErrorLine | None:
    level: Any = next((record[f] for f in _LEVEL_FIELDS if f in record), None)
    log = record.get("log")
    if level is None and isinstance(log, dict):
        level = log.get("level")
    bad = level >= 50 if isinstance(level, int | float) else str(level).lower() in _BAD_LEVELS
    detail = _detail(record)
    if not bad and not (level is None and detail):
        return None
    at = next((t for f in _TIME_FIELDS if (t := _stamp(record.get(f))) is not None), None)
    text = _text(record, _MESSAGE_FIELDS)
    if detail and detail not in text and _TRACE not in text and _TRACE not in detail:
        text = f"{text}: {detail}" if text else detail
    kind = _text(record, _TYPE_FIELDS)
    if kind:
        kind = kind.rpartition(".")[2][:_LONGEST_KEY]
        return ErrorLine(kind, bounded(text, _LONGEST_TEXT), at, named=True)
    trace = next((x for f in _TRACE_FIELDS if _TRACE in (x := _text(record, (f,)))), "")
    last = bounded(trace.strip().splitlines()[-1], _LONGEST_TEXT) if trace else ""
    found = _typed("ERROR", text.partition(_TRACE)[0].rstrip(), at)
    return replace(_raised(last, found), at=found.at) if last and _RAISED.match(last) else found


def _detail(record: Mapping[str, Any]) -> str:
    """What the error's own field says, behind a message such as "request failed"."""
    for field in _DETAIL_FIELDS:
        value = record.get(field)
        if isinstance(value, dict):
            value = value.get("message") or value.get("msg")
        if isinstance(value, str) and value.strip():
            return value.strip().splitlines()[0] if _TRACE not in value else ""
    return ""


def _typed(word: str, text: str, at: datetime | None) -> ErrorLine:
    """With the exception's name as the type where the text names one; then the text starts after it."""
    text = bounded(text, _LONGEST_TEXT)
    best = next((m for m in _TYPE.finditer(text) if m["rest"]), None) or _TYPE.search(text)
    if best is None:
        return ErrorLine(word, text, at)
    name = best["name"]
    return ErrorLine(
        name, (best["text"] if best["rest"] else text.replace(best[0], "").strip()), at, named=True
    )


def _text(record: Mapping[str, Any], fields: Sequence[str]) -> str:
    values = (record.get(f) for f in fields)
    return next((v for v in values if isinstance(v, str) and v), "")


def _stamp(value: Any) -> datetime | None:
    """A time as text, or as seconds or milliseconds since 1970."""
    if isinstance(value, int | float) and 1e9 <= value < 1e13:
        return datetime.fromtimestamp(value / 1000 if value >= 1e11 else value, UTC)
    return _time(value) if isinstance(value, str) else None


def _time(text: str) -> datetime | None:
    found = _TIME.search(text[:80])
    if found is None:
        return None
    try:
        at = datetime.fromisoformat(found[0].replace(",", "."))
    except ValueError:
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def first_time(text: str) -> datetime | None:
    """The time of the first of a log's first lines that tells one."""
    for line in text[:_LONGEST_RECORD].splitlines()[:10]:
        if line.startswith("{") and (record := _json(line)) is not None:
            at = next((t for f in _TIME_FIELDS if (t := _stamp(record.get(f))) is not None), None)
        else:
            at = _time(line)
        if at is not None:
            return at
    return None


_VARYING: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", re.IGNORECASE),
        "<uuid>",
    ),
    (_TIME, "<time>"),
    (re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}\.[\w.-]{1,190}"), "<email>"),
    (re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}(?::\d{1,5})?\b"), "<ip>"),
    (re.compile(r"\[?\b(?:[0-9a-f]{1,4}:){3,7}:?[0-9a-f]{0,4}\]?(?::\d{1,5})?", re.IGNORECASE), "<ip>"),
    (re.compile(r"\b0x[0-9a-f]+\b", re.IGNORECASE), "<hex>"),
    (re.compile(r"\b(?=[0-9a-f]*\d)(?=[0-9]*[a-f])[0-9a-f]{8,}\b", re.IGNORECASE), "<hex>"),
    # Any other word of letters with at least two digits in it, e.g. a request's or a pod's generated part.
    (re.compile(r"\b(?=[a-z]*\d[a-z]*\d)(?=\d*[a-z])[a-z0-9]{5,}\b", re.IGNORECASE), "<id>"),
)
_NUMBER = re.compile(
    r"(?P<status>\b(?:status|http|code|error|response|answered)(?:[ _]code)?\W{1,3}'?[1-5]\d\d\b(?!\.\d))|\d+(?:\.\d+)?",
    re.IGNORECASE,
)


def normalise(text: str) -> str:
    """`text` with what varies from one occurrence to the next replaced; HTTP status codes stay, they tell types apart."""
    line = " ".join(bounded(text, _LONGEST_TEXT).split())
    for pattern, name in _VARYING:
        line = pattern.sub(name, line)
    return _NUMBER.sub(lambda m: m[0] if m["status"] else "<n>", line)
