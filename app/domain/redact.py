"""Secrets in text, by class: what a secret looks like in each, and its removal.

Called by logs, evidence, HTTP problems and messages, before a text is shown or kept. Every expression runs on RE2 and
every reader walks forward, so that a stranger's text costs time in proportion to its length. Never decides what is
logged and never looks outside the text.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import re2

from app.domain import secret_names as names
from app.domain.disguise import undisguised
from app.domain.effort import Effort, Spent, TooDear, spend, work_bounded
from app.domain.json import decoded
from app.domain.log_prefix import without_prefixes
from app.domain.secret_classes import CLASSES, SecretClass, Span
from app.domain.secret_quotes import READ
from app.domain.secret_references import hides_all
from app.domain.secret_words import any_no_object
from app.domain.text import bounded, visible

__all__ = [
    "CLASSES",
    "MAX_TEXT",
    "REDACTED",
    "Effort",
    "TooDear",
    "annotation",
    "in_one_line",
    "redact",
    "redact_lines",
    "redact_value",
    "work_bounded",
]

REDACTED = "[redacted]"
_MARKS = ("[FILTERED]", "[REDACTED]", "[Filtered]", "[HIDDEN]", "[MASKED]")
"""What frameworks write in the place of a value."""
MAX_TEXT = 16_000
"""Characters of one text that are kept; a traceback fits, a body of megabytes does not."""
_SLACK, _LEAST_SLACK = 1_000, 200
"""Characters behind the cut that are looked at too: they may tell that what stands before it is a secret. Of what is kept only shortly as many as
are kept, so that a long text costs no more than what is shown of it."""
_WINDOW = 12_000
_CONTEXT = 4_000
"""Characters of the lines of a log that are looked at in one go, and of the lines before them that are looked at once more."""


_EDITS_FOR_ONE = 16  # signs that read otherwise
_LOOKED_THROUGH, _READ_FOR_ONE = 1_024, 256  # characters: of a whole text, and those that readers read
_READ_OF_ONE, _READ_ANYWAY = 24, 8_192
"""How much the readers of a class may read in a text, for each of its characters and whatever its length. No text of a program comes near
it; of one that has them read on and on for nothing, the rest is hidden."""
_LOOKS = 3  # what is taken away can bring forth what another class finds


_OFTEN = 512
"""Characters of a text that comes again and again: a summary, a link to a runbook or a graph."""
_MAX_HARMLESS = 2_048
_HARMLESS: set[str] = set()
"""Such texts in which nothing was found: senders repeat their alerts, and a look costs more than all else of an alert. Never one with
a secret, which would stay in memory."""


def redact(text: str, effort: Effort | None = None, longest: int = MAX_TEXT) -> str:
    """`text` with every recognised secret replaced by `[redacted]`; names, hosts and users stay readable.

    Rather hides too much than too little; plain counts such as `max_tokens=4096` stay. Of a longer text the first
    `longest` characters stay (MAX_TEXT at most), so that a stranger's text costs a bounded time: it is searched a little further
    than it is kept, and cut afterwards (`bounded`). Half a surrogate pair becomes its escape.
    """
    if not text:
        return text
    longest = min(longest, MAX_TEXT)
    if text in _HARMLESS and len(text) <= longest and not (effort and effort.spent()):
        return text
    slack = min(_SLACK, max(_LEAST_SLACK, longest))
    seen = _encodable(text[: longest + slack])
    try:
        shown = _without_secrets(seen, effort)
    except Spent:
        return REDACTED
    if shown == text and len(text) <= _OFTEN:
        _remember(text)
    if len(text) <= longest + slack:
        return shown if len(shown) <= longest else bounded(shown, longest)
    return bounded(shown, max(0, min(longest, len(shown) - slack)))


def _remember(text: str) -> None:
    if len(_HARMLESS) >= _MAX_HARMLESS:
        _HARMLESS.clear()
    _HARMLESS.add(text)


def in_one_line(text: str, longest: int = MAX_TEXT) -> str:
    """What a stranger says, as one line and redacted: the first `longest` characters of it."""
    return redact(" ".join(text.split()), longest=longest)


def _without_secrets(text: str, effort: Effort | None) -> str:
    for _ in range(_LOOKS):
        less = _without(text, _found(text, effort))
        if less == text:
            break
        text = less
    return text


def redact_lines(lines: Sequence[str]) -> list[str]:
    """As many lines of one log, without the secrets that are recognised when they are read together: the name of a value may stand on a
    line before it. A value of several lines leaves empty ones. Reads window by window, each with the lines before it, so that
    the time is in proportion to the length; a line is cut at MAX_TEXT characters. A record of JSON stays one."""
    raw = [_encodable(line if len(line) <= MAX_TEXT else redact(line)).replace("\n", " ") for line in lines]
    shown = raw
    for _ in range(_LOOKS):
        try:
            less = _looked_at(shown)
        except Spent:
            return [REDACTED] * len(raw)
        if less == shown:
            break
        shown = less
    return [
        line if line == before else _as_record(before, line) for before, line in zip(raw, shown, strict=True)
    ]


def _looked_at(lines: list[str]) -> list[str]:
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line) + 1)
    text, found, at = "\n".join(lines), list[Span](), 0
    while at < len(lines):
        first, last = max(0, at - 1), at + 1
        while first and starts[at] - starts[first - 1] <= _CONTEXT:
            first -= 1
        while last < len(lines) and starts[last + 1] - starts[at] <= _WINDOW:
            last += 1
        begin = starts[first]
        found += ((begin + s, begin + e) for s, e in _found(text[begin : starts[last] - 1], None))
        at = last
    return _in_lines(text, _merged(found)).split("\n") if found else lines


def _in_lines(text: str, spans: Iterable[Span]) -> str:
    """Without the spans, with as many lines."""
    kept: list[str] = []
    at = 0
    for start, end in spans:
        ends = text.count("\n", start, end)
        rest = text[end : end + 1].strip("\n") if ends else ""
        kept += text[at:start], REDACTED if start < end else "", "\n" * ends, REDACTED if rest else ""
        at = end
    return "".join([*kept, text[at:]])


def _as_record(before: str, shown: str) -> str:
    """A record of JSON whose redacted text is none any more, as `redact_value` gives it, and without what the lines around it told of."""
    record = _record(before)
    if record is None or _record(shown) is not None:
        return shown
    return redact(json.dumps(_still(_without_numbers(redact_value(record)), shown), ensure_ascii=False))


def _without_numbers(value: Any, name: str = "") -> Any:
    """Without the numbers under a secret's name."""
    if isinstance(value, dict):
        return {key: _without_numbers(inner, str(key)) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without_numbers(inner, name) for inner in value]
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return REDACTED if number and names.is_secret_name(name) else value


def _still(value: Any, shown: str) -> Any:
    """Of these texts only those whose words are all shown."""
    if isinstance(value, dict):
        return {key: _still(inner, shown) for key, inner in value.items()}
    if isinstance(value, list):
        return [_still(inner, shown) for inner in value]
    if not isinstance(value, str):
        return value
    words = json.dumps(value, ensure_ascii=False)[1:-1].replace("\\n", " ").replace(REDACTED, " ").split()
    return value if all(word in shown for word in words) else REDACTED


def _record(line: str) -> Any:
    try:
        return decoded(line) if line.startswith("{") else None
    except ValueError:
        return None


def _found(text: str, effort: Effort | None) -> list[Span]:
    """Where the secrets stand that all classes find in the text and in its reading: each looks at the text as it is, so that what one
    hides of a value leaves nothing that another would have found. The text is never exchanged for its reading: what is escaped is
    evidence, and an escaped quote or `&` is no end of a value."""
    spend(effort, 1 + len(text) // _LOOKED_THROUGH)
    found = _read_otherwise(text, effort)
    if (plain := without_prefixes(text)) is not None:
        spend(effort, 1 + plain.text.count("\n") // _EDITS_FOR_ONE)
        found += (part for span in _read_otherwise(plain.text, effort) for part in plain.spans(*span))
    return _merged(found)


def _read_otherwise(text: str, effort: Effort | None) -> list[Span]:
    """What is found in the text and in its reading without disguises."""
    read = undisguised(text)
    found: list[Span] = []
    for number in _present(text) & _ALL:
        found += _spans(CLASSES[number], text, effort)
    if read is not None:
        spend(effort, read.edits // _EDITS_FOR_ONE)
        for number in _present(read.text) & _ALL:
            found += (read.place(*span) for span in _spans(CLASSES[number], read.text, effort))
    return found


def _merged(spans: Iterable[Span]) -> list[Span]:
    merged: list[Span] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        elif start < end:
            merged.append((start, end))
    return merged


def _set_of_all() -> Any:
    options = re2.Options()
    options.max_mem = _SET_MEMORY
    found = re2.Set.SearchSet(options)  # type: ignore[no-untyped-call]
    for kind in CLASSES:
        found.Add(kind.pattern.pattern)
    found.Add("")
    found.Compile()
    return found


_SET_MEMORY = 8 * 1024 * 1024
_ALL = frozenset(range(len(CLASSES)))
_SET = _set_of_all()


def _present(text: str) -> frozenset[int]:
    """The numbers of the classes whose expression is found in `text`, all in one look: most texts have none or one.

    A set of expressions says nothing when it has no memory left; the empty one, which is found in every text, tells that.
    """
    found = frozenset(_SET.Match(text) or ())
    return found if len(CLASSES) in found else _ALL


def annotation(name: str, text: str, longest: int, effort: Effort | None = None) -> str:
    """What a sender says for people under `name`, without what looks like a secret, at most `longest` characters: templates
    of alerts put log lines and URLs there. Nothing is decided by it."""
    if text and (
        hides_all(name, text) or (names.holds_names(name) and any_no_object(text[: longest + _SLACK]))
    ):
        return REDACTED
    return redact(text, effort, longest)[:longest]


def _encodable(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def _spans(kind: SecretClass, text: str, effort: Effort | None = None) -> Iterable[Span]:
    end, before = 0, READ.work
    most = before + _READ_ANYWAY + _READ_OF_ONE * len(text)
    for match in kind.pattern.finditer(text):
        spend(effort)
        if match.start() < end:
            continue  # inside a value that is gone already
        found = _located(kind, match, text)
        spend(effort, (READ.work - before) // _READ_FOR_ONE)
        before = READ.work
        if before > most:
            yield max(end, match.start()), len(text)
            return
        for span in found if isinstance(found, list) else (found,) if found else ():
            if span[1] > span[0] >= end and not _is_hidden(text, span):
                spend(effort, 0 if span is found else 1)
                yield span
            end = max(end, span[1])


def _located(kind: SecretClass, match: Any, text: str) -> Span | list[Span] | None:
    """What the class says of a match. It is asked about the text near the match first: what is no secret by that is not read further, so that
    a reader which declines costs a bounded time, and one that finds a value goes on behind it."""
    cut = match.end() + _NEAR
    if kind.far or cut >= len(text):
        return kind.locate(match, text)
    found = kind.locate(match, text[:cut])
    if not found or (isinstance(found, tuple) and found[1] < cut - _AT_THE_CUT):
        return found
    return kind.locate(match, text) or found


_NEAR, _AT_THE_CUT = 2_400, 64


def _is_hidden(text: str, span: Span) -> bool:
    """Whether a value is gone already, in a text that was redacted before."""
    said = text[span[0] : span[0] + 64].lstrip("\"'\\")
    mark = next((mark for mark in (REDACTED, *_MARKS) if said.startswith(mark)), None)
    return mark is not None and not said[len(mark) :][:1].isalnum()


def _without(text: str, spans: Iterable[Span]) -> str:
    kept: list[str] = []
    at = 0
    for start, end in spans:
        kept += text[at:start], REDACTED
        at = end
    return "".join([*kept, text[at:]]) if kept else text


def _shown_key(key: Any, among: str) -> Any:
    if not isinstance(key, str) or (names.is_plain_name(key) and not among):
        return key
    return REDACTED if among and any_no_object(key) else visible(redact(key))


def redact_value(value: Any, name: str = "") -> Any:
    """`value` with secrets removed at any depth, from names too; under a name that speaks of a secret all is hidden, among names of Secrets what is none."""
    if name and hides_all(name, value):
        return REDACTED
    among = name if names.holds_names(name) else ""
    if isinstance(value, str):
        return REDACTED if among and any_no_object(value) else visible(redact(value))
    if isinstance(value, Mapping):
        return {
            _shown_key(k, among): redact_value(v, names.name_of_member(value, k, among))
            for k, v in value.items()
        }
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return [
            redact_value(v, names.name_of_argument(b, v) or among)
            for b, v in zip(["", *value], value, strict=False)
        ]
    return value
