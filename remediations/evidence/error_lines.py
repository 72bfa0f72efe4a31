"""Reading error lines: which lines of a log report an error, of what type, what makes two of them the same, and what they are about.

Used by `remediations.evidence.logs` and `remediations.causes.blame`; the words it judges by are tables (`error_words`). Understands JSON and logfmt lines with a level, lines with a level word, klog's
`E0304`, syslog's priorities, Python tracebacks, Java stack traces, panics of Go and Rust, and frameworks' own words. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Any

from app.domain.accusing import Sign
from app.domain.text import bounded
from remediations.evidence import error_records as records
from remediations.evidence import error_words as words
from remediations.evidence.error_signs import CAUSE, CAUSES, LEVEL, NUMBERED
from remediations.evidence.error_words import Nature
from remediations.evidence.natures import is_consequence, judged
from remediations.evidence.usage import short

TOKENS = ("ERROR", "CRITICAL", "FATAL", "SEVERE", "[error]", "[crit]", "[critical]", "[fatal]", "[alert]", "[emerg]")  # fmt: skip
"""Words that mark an error line (runbook, High Error Rate: `grep ERROR`)."""
_LONGEST_TEXT, _LONGEST_SAME = 4_000, 500  # characters that patterns see, and by which errors are told apart
_LONGEST_KEY, _MAX_LEVELS = 160, 8
_CONTEXT, _BEHIND = 16_000, 8  # characters before an error, and lines after it, that may name what it tells

_PACKAGE = re.compile(r"(?<!\w)(?:\w{1,60}(?:::|\\|\.)){1,12}$")
_PLAIN = frozenset({"Error", "error", "fatal"})


@dataclass(frozen=True, slots=True)
class ErrorLine:
    """One reported error: `type` is the exception's name or the level word, `text` what it says, `at` if it tells."""

    type: str
    text: str
    at: datetime | None
    named: bool = False
    """`type` is an exception's name and not only a level word."""
    chain: tuple[str, ...] = field(default=(), compare=False)
    """The other exceptions that are told with it, the nearest to where it began first."""
    plain: bool = False
    """No error: a line that says nothing of a level, or of a lower one."""
    package: str = field(default="", compare=False)
    """What stands before the exception's name, with the dot; it tells whose type that is."""

    @property
    def key(self) -> str:
        """Equal for errors that differ only in ids, numbers, addresses and times."""
        text = normalise(self.text)
        return (f"{self.type}: {text}" if self.named and text else text or self.type)[:_LONGEST_KEY]

    @property
    def judged(self) -> tuple[Sign, Nature]:
        """Whom it accuses, and what it says about its cause: where it began, else the nearest around that which does."""
        own = f"{self.package}{self.type}: {self.text}" if self.named else self.text
        return judged((own, *self.chain))

    @property
    def follows(self) -> bool:
        """It only tells that something is not there, which somebody else may have to give."""
        return is_consequence(self.words)

    @property
    def words(self) -> str:
        """Its type and its text, as they were written."""
        return f"{self.type}: {self.text}" if self.named and self.text else self.text or self.type


@dataclass(frozen=True, slots=True)
class Beginning:
    """Between which moments the most frequent error began: `after` is the last one known to be without it, `by` the first one
    known to have it. None where the logs do not tell."""

    after: datetime | None = None
    by: datetime | None = None


def errors_in(lines: Iterable[str], tokens: Sequence[str] = TOKENS) -> Iterator[ErrorLine]:
    """The errors that these lines of one container report; a traceback belongs to the error line before it."""
    return (entry for entry in entries_in(lines, tokens) if not entry.plain)


def entries_in(lines: Iterable[str], tokens: Sequence[str] = TOKENS) -> Iterator[ErrorLine]:
    """The errors, and as `plain` the other lines between them that are no part of an error."""
    reader = _Reader(tokens)
    for line in lines:
        yield from reader.feed(line[: records.LONGEST].rstrip())
    if reader.pending:
        yield reader.pending


class _Lines:
    """The lines of a log, as they are asked for; what was read so far without a copy of it."""

    def __init__(self, text: str) -> None:
        self._lines = text.splitlines()
        self._read = 0

    def __iter__(self) -> Iterator[str]:
        for line in self._lines:
            self._read += 1
            yield line
        self._read += 1

    def around(self) -> Callable[[], tuple[Sequence[str], Sequence[str]]]:
        """What was read up to now, but for the line that told that the error before it was complete, some 16,000 characters of it at most; and
        a few of the lines from that one on."""
        return partial(self._around, self._read - 1)

    def _around(self, end: int) -> tuple[Sequence[str], Sequence[str]]:
        first, size = end, 0
        while first > 0 and size < _CONTEXT:
            first -= 1
            size += len(self._lines[first])
        return self._lines[first:end], self._lines[end : end + _BEHIND]


def errors_with_lines(
    text: str, tokens: Sequence[str]
) -> Iterator[tuple[ErrorLine, Callable[[], tuple[Sequence[str], Sequence[str]]]]]:
    """The errors of a log, each with the lines that were read up to its end and some behind it, when they are asked for."""
    lines = _Lines(text)
    for error in errors_in(lines, tokens):
        yield error, lines.around()


class _Reader:
    """Holds back the last error until it is clear that no traceback and no cause of it follows."""

    def __init__(self, tokens: Sequence[str]) -> None:
        self.pending: ErrorLine | None = None
        # Levels in brackets are padded by loggers that write in columns.
        each = "|".join(re.escape(t).replace(r"\]", r" *\]") for t in tokens)
        self._word = re.compile(rf"(?<![\w-])(?:{each})(?![\w-])")
        self._headed = False
        self._in_trace = False
        self._margin, self._elixir, self._erlang = "", False, False
        self._traced = self._chained = self._listed = False

    def feed(self, line: str) -> Iterator[ErrorLine]:
        """Take one line; gives the error before it once that is complete."""
        if not line.startswith("{"):
            line = words.COLOUR.sub("", bounded(line, _LONGEST_TEXT))
        if line.strip() == words.TRACE:
            self._in_trace, self._margin = True, line[: -len(words.TRACE)]
            return
        line = self._within(line)
        if not line or self._belongs(line):
            return
        if self._in_trace and words.RAISED.match(line):
            self._in_trace = False
            yield from self._raise(line)
            return
        self._in_trace = False
        if line.startswith(words.CHAINED):
            self._traced, self._chained = False, True  # the next traceback tells more of the same error
            return
        error = _read(line, self._word)
        if error is not None and error.text.endswith(words.TRACE):
            return  # a logger that prefixes each line of a traceback: the line with the exception follows
        yield from self._turn(error)
        self._headed = error is not None and words.DOTNET.match(line) is not None
        self._elixir = error is not None and words.ELIXIR.match(line) is not None
        self._erlang = error is not None and records.ERLANG.match(records.STAMP.sub("", line)) is not None
        if error is None:
            yield ErrorLine("", line, None, plain=True)

    def _within(self, line: str) -> str:
        """A line of a traceback that stands indented as a whole, as Tornado writes it, without that indent."""
        if line and not line.startswith(self._margin):
            self._margin = ""
        return line[len(self._margin) :]

    def _belongs(self, line: str) -> bool:
        """Is this line a part of the error before it: a frame, or one of its causes?"""
        if cause := words.CAUSED.match(line):
            self._below(cause["text"] or "", cause["name"])
            return True
        if self.pending and words.PANICKED.fullmatch(self.pending.text) and not words.ANOTHER.search(line):
            if not words.ASKING.match(line):
                self.pending = _typed("panic", line, self.pending.at)
            return True
        if self._erlang and self.pending and (told := records.STAMP.sub("", line)).startswith("** "):
            self.pending = replace(self.pending, text=records.reported(told[3:], self.pending.text))
            return True
        if CAUSES.fullmatch(line):
            self._listed = True
            return True
        indented = line[0] in " \t" and not line.startswith(
            (" panic: ", f" {records.CROSS} ")
        )  # chi, Next.js
        if raised := words.ELIXIR.match(line.lstrip()):
            below = indented or (
                self.pending is not None and not self._elixir
            )  # of two alike neither is the cause
            if below:
                self._below(line.lstrip()[raised.end() :], raised["name"].rpartition(".")[2])
            self._elixir = not indented
            return below
        if indented and (self._in_trace or (self._headed and self._under_head(line.strip()))):
            return True
        found = (NUMBERED.match(line) if self._listed else None) or CAUSE.match(line)
        if found is not None and (indented or self.pending is not None):
            self._below(found["text"])
        return indented or (found is not None and self.pending is not None)

    def _under_head(self, text: str) -> bool:
        """Is this what a head of .NET has below it: its message, then its exception?"""
        pending = self.pending
        if pending is None or text.startswith(("=> ", "at ", "-")):  # scopes, frames, and what CAUSE reads
            return False
        if pending.text == "":
            self.pending = replace(_typed(pending.type, text, pending.at), chain=pending.chain)
            return True
        if words.DOTNET_THROWN.match(text) and not pending.named:
            self.pending = replace(_typed(pending.type, text, pending.at), chain=(pending.words,))
            return True
        return False

    def _below(self, text: str, name: str = "") -> None:
        """What lies below an exception is where it began, and the others are told with it."""
        above = (self.pending.words, *self.pending.chain) if self.pending else ()
        at = self.pending.at if self.pending else None
        found = ErrorLine(name, text, at, named=True) if name else _typed("ERROR", text, at)
        if text.startswith("{:error,"):
            found = ErrorLine("ERROR", text, at)  # a value, in which a type is only a part
        self.pending = replace(found, chain=above[:_MAX_LEVELS])

    def _raise(self, line: str) -> Iterator[ErrorLine]:
        before = self.pending
        again = (
            before is not None
            and before.named
            and not self._chained
            and not line.split(":", maxsplit=1)[0].endswith(before.type)
        )
        if self._traced or again:
            yield from self._turn(None)
        self.pending = _raised(line, self.pending)
        self._traced, self._chained = True, False

    def _turn(self, error: ErrorLine | None) -> Iterator[ErrorLine]:
        if self.pending:
            yield self.pending
        self.pending, self._traced, self._chained, self._listed = error, False, False, False


def _raised(line: str, before: ErrorLine | None) -> ErrorLine:
    """The last line of a traceback; an error that already has its exception's name keeps it."""
    if before is not None and before.named:
        return replace(before, chain=(*before.chain, line)[:_MAX_LEVELS])
    name, _, text = line.partition(": ")
    above = (before.words, *before.chain) if before else ()
    package, dot, own = name.rpartition(".")
    at = before.at if before else None
    return ErrorLine(own, text, at, named=True, chain=above[:_MAX_LEVELS], package=package + dot)


def _read(line: str, word: re.Pattern[str]) -> ErrorLine | None:
    if "{" in line[:48] and (record := records.record_in(line)) is not None:
        return _from_json(record)
    whole = bounded(line, _LONGEST_TEXT)
    line, at = words.PHP_TIME.sub("", records.STAMP.sub("", whole)), _time(whole)
    if records.ERLANG.match(line):
        return ErrorLine("ERROR", "", at)
    if found := words.THROWN.match(line):
        return _typed("Exception", found["text"] or line, at)
    if ("anic" in line or "PANIC" in line) and (found := words.PANIC.match(line)):
        return _typed("panic", found["text"] or line, at)
    if level := words.LOGFMT.search(line):
        if level[1].lower() not in records.BAD:
            return None
        said = dict.fromkeys(m[1] or m[2] or "" for m in words.LOGFMT_MESSAGE.finditer(line))
        return _typed("ERROR", ": ".join(filter(None, said)) or line, at)
    if klog := words.KLOG.match(line):
        return _typed("ERROR", line[klog.end() :], at)
    if found := word.search(line):
        return _typed(found[0], line[found.end() :].lstrip(" \t]:|-"), at)
    if head := words.DOTNET.match(line):
        return _typed("fail", head["text"], at) if head["text"] else ErrorLine("fail", "", at)
    if level := words.LEVEL_AT.match(line):
        return _typed("ERROR", line[level.end() :], at)
    if bare := words.BARE.match(line):
        name = re.split(r"[.\\]", bare["name"])[-1]
        package = bare["name"].removesuffix(name)
        return ErrorLine(name, bare["text"], at, named=name not in _PLAIN, package=package)
    failed = records.FAILED.match(line) if any(m in line for m in records.FAILED_MARKS) else None
    if failed is not None and any(failed.groups()):
        return _typed("ERROR", next(filter(None, failed.groups())), at)
    if php := words.PHP.match(line):
        return _typed("PHP", php["text"], at)
    if raised := words.ELIXIR.match(line):
        return ErrorLine(raised["name"].rpartition(".")[2], line[raised.end() :], at, named=True)
    if number := records.PRIORITY.match(line):
        bad = int(number["number"]) % 8 <= records.SYSLOG
        return _typed("ERROR", line[number.end() :], at) if bad else None
    head = next(filter(None, (pattern.match(line) for pattern in records.HEADS)), None)
    return None if head is None else _typed("ERROR", line[head.end() :], at)


def said_in(line: str) -> str:
    """What a line of any level says, without its time and its level."""
    if "{" in line[:48] and (record := records.record_in(line)) is not None:
        text, detail = records.text_of(record, records.MESSAGE), records.detail_of(record)
        both = text if not detail or detail in text else f"{text}: {detail}"
        return bounded(both or line, _LONGEST_TEXT)
    line = bounded(line, _LONGEST_TEXT)
    if words.LOGFMT.search(line):
        found = dict.fromkeys(m[1] or m[2] or "" for m in words.LOGFMT_MESSAGE.finditer(line))
        return ": ".join(filter(None, found)) or line
    return LEVEL.sub("", line)


def _from_json(record: Mapping[str, Any]) -> ErrorLine | None:
    if not records.is_error(record):
        return None
    at, detail = records.time_of(record, _time), records.detail_of(record)
    text = records.text_of(record, records.MESSAGE)
    if detail and detail not in text and words.TRACE not in text and words.TRACE not in detail:
        text = f"{text}: {detail}" if text else detail
    kind = records.text_of(record, records.TYPES)
    chain = tuple(records.causes_of(record))[-_MAX_LEVELS:][::-1]
    if kind:
        package, dot, kind = kind[-_LONGEST_KEY:].rpartition(".")
        return ErrorLine(
            kind, bounded(text, _LONGEST_TEXT), at, named=True, chain=chain, package=package + dot
        )
    trace = next((x for f in records.TRACES if words.TRACE in (x := records.text_of(record, (f,)))), "")
    last = bounded(trace.strip().splitlines()[-1], _LONGEST_TEXT) if trace else ""
    found = replace(_typed("ERROR", text.partition(words.TRACE)[0].rstrip(), at), chain=chain)
    return replace(_raised(last, found), at=found.at) if last and words.RAISED.match(last) else found


def _typed(word: str, text: str, at: datetime | None) -> ErrorLine:
    """With the exception's name as the type where the text names one; then the text starts after it."""
    text = bounded(text, _LONGEST_TEXT)
    best = next((m for m in words.TYPE.finditer(text) if m["rest"]), None) or words.TYPE.search(text)
    if best is None:
        return ErrorLine(word, text, at)
    said = best["text"] if best["rest"] else text.replace(best[0], "").strip()
    found = _PACKAGE.search(text[max(0, best.start("name") - _LONGEST_KEY) : best.start("name")])
    return ErrorLine(best["name"], said, at, named=True, package=found[0] if found else "")


def _time(text: str) -> datetime | None:
    found = words.TIME.search(text[:80])
    if found is None:
        return None
    try:
        at = datetime.fromisoformat(found[0].replace(",", "."))
    except ValueError:
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def first_time(text: str) -> datetime | None:
    """The time of the first of a log's first lines that tells one."""
    for line in text[: records.LONGEST].splitlines()[:10]:
        if "{" in line[:48] and (record := records.record_in(line)) is not None:
            at = records.time_of(record, _time)
        else:
            at = _time(line)
        if at is not None:
            return at
    return None


def spanned(text: str) -> float | None:
    """Seconds from the first to the last line of a log; None where they do not tell their times."""
    first = first_time(text)
    ends = (first_time(line) for line in reversed(text[-records.LONGEST :].splitlines()[-10:]))
    last = next((at for at in ends if at is not None), None)
    return None if first is None or last is None else max(1.0, (last - first).total_seconds())


@lru_cache(maxsize=512)  # a log repeats itself, and the next look reads its end again
def normalise(text: str) -> str:
    """`text` with what varies from one occurrence to the next replaced; HTTP status codes stay, they tell types apart."""
    line = " ".join(bounded(text, _LONGEST_SAME).split())
    for pattern, name in words.VARYING:
        line = pattern.sub(name, line)
    return words.NUMBER.sub(lambda m: m[0] if m["status"] else "<n>", line)


def short_of_both(text: str, length: int) -> str:
    """`text` on one line, of a longer one its beginning and its end: a wrapped error tells its cause last."""
    line = " ".join(text.split())
    if len(line) <= length:
        return line
    end = line[-(length // 2) :].partition(" ")[2]
    return f"{short(line, length - len(end) - 1)} {end}"
