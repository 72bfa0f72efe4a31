"""What a logger, a container runtime or a collector writes before each line, and the lines as they read without it.

Used by `app.domain.redact`, because a secret's name and its value may stand on two lines that both bear such a prefix. Knows how
times, levels, threads, loggers, places in the source and records of JSON and logfmt are written, and finds by comparing neighbours what
else all lines of a run begin with. What is read is only searched and never shown. Costs time in proportion to the text. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from app.domain.disguise import without_unseen
from app.domain.linear import Linear
from app.domain.secret_names import is_secret_name

Span = tuple[int, int]

_MONTH = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]{0,6}"
_CLOCK = r"\d{1,2}:\d\d:\d\d(?:[.,:]\d{1,9})?(?: ?[AP]M\b)?"
_ZONE = r"(?: ?(?:Z\b|[A-Z]{3,4}\b(?=[ \t])|[+-]\d\d:?\d\d\b))?"
_LEVEL = (
    r"(?:TRACE|TRC|DEBUG|DBG|INFORMATION|INFO|INF|NOTICE|LOG|WARNING|WARN|WRN|ERROR|ERR|FATAL|FTL|SEVERE|CRITICAL|CRIT|ALERT|EMERG|PANIC"
    r"|FINEST|FINER|FINE|CONFIG|VERBOSE|HINT|DETAIL|CONTEXT|STATEMENT|fail|dbug|trce|crit|warn|info|error|debug|fatal|warning|trace|severe|panic)"
)
_FIRST = re.compile(
    rf"\[?\d{{4}}[-/.]\d\d[-/.]\d\d(?:[T ]{_CLOCK})?{_ZONE}\]?"
    rf"|\[?{_CLOCK}{_ZONE}(?=[\s\]|])\]?|\[?{_MONTH} +\d{{1,2}}(?:,? \d{{4}})?,? {_CLOCK}{_ZONE}\]?"
    rf"|\[?\d{{1,2}}[ /-]{_MONTH}[ /-]\d{{4}}[: ]{_CLOCK}{_ZONE}\]?|1[5-9]\d{{8}}(?:\d{{3}}|\.\d{{1,9}})?(?=[ \t])"
    rf"|[DIWEFTCVA], \[[^\]\n]{{1,80}}\]|[IWEF]\d{{4}} {_CLOCK} +\d{{1,9}} [\w./-]{{1,100}}:\d{{1,6}}\]"
    rf"|{_LEVEL}:[\w.$-]{{1,100}}:(?=\S| )|{_LEVEL}(?=[ \t:|\]-])|<\d{{1,3}}>\d?|std(?:out|err) [FP](?= )"
    r"|\[[^\[\]\n\"'{}]{1,120}\](?=\S|[ \t])|\d{1,9}:[A-Z] (?=\d)"
)
"""How a prefix begins."""
_SERVICE = re.compile(r"[\w./-]{1,80}[ \t]{1,30}\|(?= )")
"""What stands before it where the logs of several containers are one."""
_NEXT = re.compile(
    rf"{_LEVEL}(?=[ \t:|\]-])|\([^()\n\"']{{1,120}}\)(?=[ \t])|:(?=[ \t])|[#*.](?= )|(?P<between>-{{1,3}}|\|)(?= )"
    r"|\d{1,9}#\d{1,9}:|\*\d{1,9}(?= )|\d{1,10}(?=[ \t]{1,8}(?:---|\[|\w{1,40}(?:/\w{1,40})?\.go:))|<[\w.-]{1,60}>(?= )|\w{1,20}\(\d{1,6}\)(?=[ \t])"
    r"|[\w./$-]{1,100}\.(?:go|java|kt|scala|py|js|ts|rb|rs|php|cs|cc?|cpp|exs?):\d{1,6}(?::\d{1,6})?:?(?=[ \t])"
    r"|(?P<logger>(?:[A-Za-z_$][\w-]{0,60}(?:\.|::|/|\$)){1,12}[\w$-]{1,60}(?:\[\d{1,9}\])?|[A-Z][A-Za-z0-9_$]{0,60}(?:\[\d{1,9}\])?)(?::[\w<>$]{1,60}:\d{1,6})?"
    r"(?=[ \t]{1,60}[:|-][ \t]|:[ \t]|[ \t]{1,60}\([\w$]{1,60}\.(?:java|kt|scala|groovy):|\t)|[\w.-]{1,60}\[\d{1,9}\]:?(?=[ \t])|[\w.-]{1,60}@[\w.-]{1,60}(?= )|[\w-]{1,40}\.[A-Z]{3,9}:(?= )"
    r"|[\w.-]{1,60}(?= [\w./-]{1,60}\[\d{1,9}\]:)|[\w.$/-]{1,60}(?=[ \t]{1,8}\[[\w.:/=-]{1,60}\][ \t])|\[[^\[\]\n\"'{}]{1,120}\](?=[ \t])"
)
"""What stands behind its beginning."""
_LEVELS = re.compile(_LEVEL)
_MAX_PREFIXES = 24
_LONGEST = 400
_LEADS = re.compile(r"[:|\]]?(?:[ \t](?=[ \t]{0,60}[:|-] )|[ \t])?")
_MESSAGE = re.compile(
    r"""["'](?:msg|message|@message|log|event|text|body|MESSAGE|short_message|textPayload|line|content|data)["']\s{0,8}:\s{0,8}"(?P<said>(?:[^"\\]++|\\.)*+)["]"""
)
_LOGFMT = re.compile(r"\b(?:level|lvl|severity)=|(?:^|\s)(?:msg|message)=\"")
_SAID = re.compile(
    r"(?<![\w.])(?:msg|message|event)=(?:\"(?P<said>(?:[^\"\\]++|\\.)*+)\"|(?P<word>[^\s\"]+))"
)
_DIGITS = re.compile(r"\d+")
_BEFORE_QUOTE = re.compile(r"[^\"'`\\]*")
_WORD = re.compile(r"(?<!\w)\w*\Z")


_MAY_TELL = Linear(
    r"(?i)pass?w|pass\b|_pass|pwd|psw|psk|secret|to?ke?n|[_.-]?key\b|key[\s,;|\"']|cred|\bauth|login|\buser\s|\bpw|pw[\s,;|\"']|cookie|signature|\bpin\b|code[\s,;|\"']|jwt|\botp\b|\bpat\b|dsn|\bsid\b"
    r"|sess|phrase|mnemonic|kennwort|contrase|senha|wachtwoord|pepper|community|//[^\s/]*:|:\S+@|\S:\S+:\S+:\S+:"
)
"""What one line has in it when something may be found behind its prefix that was not found in the line as it is."""


@dataclass(frozen=True, slots=True)
class Unprefixed:
    """A text without the prefixes of its lines. `places` has for each of its characters where that stands in the text itself."""

    text: str
    places: Sequence[int]

    def spans(self, start: int, end: int) -> Iterator[Span]:
        """Where a part of it stands in the text itself, line by line: the prefixes between stay."""
        while start < end:
            stop = self.text.find("\n", start, end)
            last = stop if stop >= 0 else end
            if last > start:
                yield self.places[start], self.places[last - 1] + 1
            start = last + 1


def without_prefixes(text: str) -> Unprefixed | None:
    """How `text` reads without what stands before each of its lines: what is known for a prefix, and then what the lines of a run have in
    common. None for lines that have none."""
    if "\n" not in text and not _MAY_TELL.search(text):
        return None
    seen = without_unseen(text)
    read, places = (seen.text, seen.places) if seen else (text, range(len(text) + 1))
    kept = list(_kept(read))
    known = any(start or not whole for start, _, whole in kept)
    lines = read.split("\n")
    common = _in_common([line[start:end] for line, (start, end, _) in zip(lines, kept, strict=True)])
    if known or any(line[:shared].strip() for line, shared in zip(lines, common, strict=True)):
        cut = [(start + shared, end) for (start, end, _), shared in zip(kept, common, strict=True)]
        return _reading(read, places, lines, cut)
    return None


def _reading(text: str, places: Sequence[int], lines: Sequence[str], kept: Sequence[Span]) -> Unprefixed:
    parts, where, at = list[str](), list[int](), 0
    for line, (start, end) in zip(lines, kept, strict=True):
        parts.append(line[start:end])
        where += places[at + start : at + end]
        at += len(line) + 1
        where.append(places[min(at - 1, len(text))])
    return Unprefixed("\n".join(parts), where)


def _kept(text: str) -> Iterator[tuple[int, int, bool]]:
    """Of each line where its message begins and ends, and whether that is its end."""
    lines = text.split("\n")
    alone = len(lines) == 1
    for line in lines:
        start, end = _behind_prefix(line, 0, len(line), alone=alone), len(line)
        if said := _record(line, start):
            start, end = _behind_prefix(line, *said, alone=alone), said[1]
        yield start, end, end == len(line)


def _record(line: str, start: int) -> Span | None:
    """The message of a record."""
    if line.startswith("{", start):
        found = _MESSAGE.search(line, start)
    elif _LOGFMT.search(line):
        found = _SAID.search(line)
    else:
        return None
    if found is None:
        return None
    first, last = found.span("said") if found["said"] is not None else found.span("word")
    while line.startswith(("\\n", "\\r"), last - 2) and last - 2 >= first:
        last -= 2
    return first, last


def _behind_prefix(line: str, start: int, end: int, *, alone: bool) -> int:
    """Where the message begins. What would take the whole line is its message, and so is a sign that only stands between two parts of a
    prefix, as the dash of a list does; in a text of one line, which has no list, it belongs to the prefix behind a level or a logger."""
    service = _SERVICE.match(line, start, end) if not start else None
    at = behind = service.end() + 1 if service else start
    levels = named = False
    for number in range(_MAX_PREFIXES):
        found = _FIRST.match(line, at, end) or (_NEXT.match(line, at, end) if number else None)
        if found is None or found.end() - start > _LONGEST or _speaks_of_a_secret(found):
            break
        if _LEVELS.fullmatch(found[0]):
            if levels:
                break  # the message's own
            levels = True
        lead = _LEADS.match(line, found.end(), end)
        at = lead.end() if lead else found.end()
        if not line[at:end].strip():
            break
        between = found.re is _NEXT and found["between"] is not None
        if not between or (alone and named):
            behind = at
        named = not between and (found.re is _NEXT or _LEVELS.fullmatch(found[0]) is not None)
        padded = at
        while line.startswith((" ", "\t"), padded):
            padded += 1
        again = _FIRST.match(line, padded, end) or _NEXT.match(line, padded, end)
        if again is not None and again.end() < end:
            at = padded
    return behind


def _speaks_of_a_secret(part: re.Match[str]) -> bool:
    """Whether it is the name of a secret, or a word such as `Setting:` that says what stands behind it."""
    logger = part["logger"] if part.re is _NEXT else None
    return logger is not None and (is_secret_name(logger) or _LABEL.fullmatch(logger) is not None)


_LABEL = re.compile(
    r"Setting|Property|Field|Option|Variable|Parameter|Param|Argument|Attribute|Flag|Key|Name|Type|Kind|Expected|Value|Given|Got|Received|Actual|Input|Content|Data|Origin|Reason"
)


def _in_common(lines: Sequence[str]) -> list[int]:
    """How much of its beginning each line shares with all lines of its run, numbers aside; a run ends where the lines around it share
    nothing any more. Blanks and dashes alone are how a list is written, unless every line of the text begins with them."""
    shapes = [_DIGITS.sub("0", line[:_LONGEST]) for line in lines]
    runs: list[tuple[int, str]] = []
    begin, size, shared = 0, 0, ""
    for number, shape in enumerate(shapes):
        if not shape.strip():
            continue
        both = _shared(shared, shape) if size else shape
        if not both:
            runs.append((begin, shared if size > 1 else ""))
            begin, size, both = number, 0, shape
        shared, size = both, size + 1
    runs.append((begin, shared if size > 1 else ""))
    found = list[int]()
    for (first, common), after in zip(runs, [*(at for at, _ in runs[1:]), len(lines)], strict=True):
        told = len(runs) == 1 or common.strip(" \t-")
        found += (_length(line, common) if told else 0 for line in lines[first:after])
    return found


def _shared(one: str, other: str) -> str:
    """The beginning that both have, up to the last whole word of it."""
    most = min(len(one), len(other))
    number = next((at for at in range(most) if one[at] != other[at]), most)
    begins = _BEFORE_QUOTE.match(one[:number])[0]  # type: ignore[index]
    last = _WORD.search(begins)
    return begins[: last.start()] if last else begins


def _length(line: str, shape: str) -> int:
    """How long the part of `line` is that has this shape."""
    at = read = 0
    while read < len(shape) and at < len(line):
        digits = _DIGITS.match(line, at)
        at = digits.end() if digits else at + 1
        read += 1
    return at
