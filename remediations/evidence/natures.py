"""What an error is about: the program itself, something else, or nothing that its words tell.

Used by `remediations.evidence.error_lines` and `remediations.evidence.logs`; the words it judges by are tables (`error_words`, `error_signs`). Never reads a log. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from app.domain.accusing import Sign
from app.domain.text import bounded
from remediations.evidence import error_signs as signs
from remediations.evidence import error_words as words
from remediations.evidence.error_words import ErrorKind, Nature
from remediations.evidence.used_up import FULL_GC, LONG_QUERY, SLOW_QUERY, TOOK

_LONGEST_TEXT = 4_000
"""Characters of what any pattern sees: wrapped errors name their cause at the end."""

_MAX_LEVELS = 6


# What a line is about. A number counts as a status only where one stands, a word only as a whole word that nobody quotes as a name, and
# the type of an exception comes before its words.


def own_answer(line: str) -> int | None:
    """The status that our own server gave, where the line is one of its access log; None for any other line."""
    text = bounded(line, _LONGEST_TEXT)
    for pattern in words.ACCESS:
        if found := pattern.search(text):
            away = "://" in found["target"] and not found.groupdict().get("origin")
            away = away and not found[0].startswith("Request finished ")
            client = away or words.URL.search(text[: found.start()]) or "outbound|" in text
            return None if client else int(found["status"])
    if words.ASKED.search(text) and words.PATH.search(text) and (told := words.FIELD.search(text)):
        return int(told["status"])
    return None


def kind_of(text: str) -> ErrorKind:
    """What the type tells that the text begins with, else the first one that it names with a message behind it."""
    if lead := words.LEADING.match(text):
        parts = re.split(r"[.:$\\/ ]+", lead[0])[-2:]  # a nested class belongs to its outer one
        kind = next((words.KINDS[p.lower()] for p in reversed(parts) if p.lower() in words.KINDS), None)
        if kind is not None:
            return kind
    found = (words.KINDS.get(m["name"].lower()) for m in words.WRAPPED.finditer(text))
    return next((kind for kind in found if kind is not None), ErrorKind.UNKNOWN)


def _of_a_client(line: str) -> bool:
    """Does a library that asks somebody else raise it, as its package or its closing words tell?"""
    found = words.CLIENTS.search(line)
    lead = words.LEADING.match(line)
    return found is not None and (lead is None or found.start() < lead.end() or " when calling " in found[0])


def _unquoted(text: str, *, phrases: bool) -> str:
    """Without quoted names; with `phrases` also without quoted sentences of a few words that no field or call gives."""

    def without(found: re.Match[str]) -> str:
        inner, given = found["inner"], found["before"] or ""
        if words.ERRNO.fullmatch(inner) or words.FIELD_OF_CODE.search(
            text[max(found.start() - 20, 0) : found.start() + len(given)]
        ):
            return f"{given} {inner} "
        name = " " not in inner.strip()
        short = len(inner.split()) <= 3 and not given
        return f"{given}<name>" if name or (phrases and short) else f"{given} {inner} "

    return words.QUOTED.sub(without, text)


@dataclass(frozen=True, slots=True)
class _Parts:
    """One error, read. `hard` is its message without names and places, `soft` also without quoted phrases; `status` the one that it
    tells of, 0 for none; `remote`: of a request of ours to somebody else."""

    kind: ErrorKind
    hard: str
    soft: str
    status: int
    remote: bool


def _parts(type_: str, text: str) -> _Parts:
    whole = words.ELIXIR.sub(r"\g<name>: ", bounded(f"{type_}: {text}" if type_ else text, _LONGEST_TEXT))
    kind = kind_of(whole)
    if kind in (ErrorKind.CODE, ErrorKind.VALUE) and _of_a_client(whole):
        kind = ErrorKind.CLIENT
    plain = words.SOURCE.sub(" ", words.URL.sub(" <url> ", whole))
    hard = _unquoted(plain, phrases=False)
    remote = kind is ErrorKind.CLIENT or bool(words.URL.search(whole) or words.REMOTE.search(plain))
    found = next((m for p in words.STATUS if (m := p.search(plain))), None)
    found = found or (words.IN_BRACKETS.search(plain) if remote else None)
    return _Parts(kind, hard, _unquoted(plain, phrases=True), int(found["status"]) if found else 0, remote)


_HARD: Final = (
    (Nature.RATE_LIMIT, words.LIMITED),
    (Nature.LOGIN, words.LOGIN),
    (Nature.PLACE, words.PLACE),
    (Nature.DEPENDENCY, words.DEPENDENCY),
    (Nature.ANSWER, words.ANSWER),
)
_BY_KIND: Final = {
    ErrorKind.DEPENDENCY: Nature.DEPENDENCY,
    ErrorKind.ANSWER: Nature.ANSWER,
    ErrorKind.RATE_LIMIT: Nature.RATE_LIMIT,
    ErrorKind.LOGIN: Nature.LOGIN,
    ErrorKind.DATABASE: Nature.DEPENDENCY,
}
_OF_A_CALL: Final = re.compile(
    r"\bfetch failed\b|\bfailed to fetch\b|\bE(?:CONN\w+|TIMEDOUT|NOTFOUND|AI_AGAIN)\b"
)


def nature_of(type_: str, text: str) -> Nature:
    """The nature of one error: `type_` is its exception's name, empty where it has none."""
    if (own := own_answer(text)) is not None:
        return _own(own)
    parts = _parts(type_, text)
    if words.GAVE_ERROR.search(parts.hard):
        return Nature.DEPENDENCY
    if parts.kind is ErrorKind.CODE:
        return Nature.DEPENDENCY if _OF_A_CALL.search(parts.hard) else Nature.CODE
    if parts.kind in (ErrorKind.RATE_LIMIT, ErrorKind.LOGIN):
        return _BY_KIND[parts.kind]
    if _own_queue(parts):
        return Nature.CAPACITY
    if words.SCHEMA.search(parts.hard):
        return Nature.CODE
    if parts.kind is not ErrorKind.UNKNOWN and signs.MISSING.search(parts.hard):
        return Nature.CODE
    if (hard := _hard(parts)) is not None:
        # What waits in our own queue comes too late.
        return Nature.CAPACITY if hard is Nature.ANSWER and _soft(parts) is Nature.CAPACITY else hard
    if parts.kind is ErrorKind.VALUE:
        return Nature.CODE
    return _by_status(parts) or _BY_KIND.get(parts.kind) or _soft(parts)


def _own_queue(parts: _Parts) -> bool:
    """Does it say that our own queue or workers are full? Then that is it, whatever its exception is called: most raise one for a timeout."""
    if words.OWN_FULL.search(parts.hard):
        return True
    late = parts.kind is ErrorKind.ANSWER and not parts.remote and _hard(parts) in (None, Nature.ANSWER)
    return late and words.OWN_QUEUE.search(parts.soft) is not None


def judged(texts: Iterable[str]) -> tuple[Sign, Nature]:
    """Whom one error accuses, and what it says about its cause. `texts` are its words and those of the exceptions around it, the one where it
    began first; one in one line with what lies below it counts as both. The first that accuses somebody decides; where it only tells what follows
    when somebody gave nothing, one that accuses others."""
    whole = [bounded(text, _LONGEST_TEXT) for text in texts][:_MAX_LEVELS]
    follows: tuple[Sign, Nature] | None = None
    for level in _levels(whole):
        sign, nature = _judged(level)
        if sign is Sign.OTHERS or (sign is Sign.OWN and follows is None and not is_consequence(level)):
            return sign, nature
        follows = follows or ((sign, nature) if sign is Sign.OWN else None)
    if follows is not None:
        return follows
    of_server = own_answer(whole[0]) if whole else None
    if of_server is not None:
        return (Sign.OTHERS if of_server in (502, 504) else Sign.NONE), _own(of_server)
    return Sign.NONE, _judged(whole[0])[1] if whole else Nature.CODE


def _levels(texts: Iterable[str]) -> Iterator[str]:
    """Each exception by itself, up to the first line of an access log."""
    for text in texts:
        if own_answer(text) is not None:
            return
        yield from reversed(signs.INNER.split(text)[-_MAX_LEVELS:])


def is_consequence(text: str) -> bool:
    """Is that an error about something that is not there, which follows as well when somebody else gave nothing?"""
    return signs.CONSEQUENCE.search(bounded(text, _LONGEST_TEXT)) is not None


def blames_others(texts: Iterable[str]) -> bool:
    """Does one of these say that somebody else failed, or answered with what cannot be read?"""
    whole = [bounded(text, _LONGEST_TEXT) for text in texts][:_MAX_LEVELS]
    return any(signs.UNREADABLE.search(text) for text in whole) or judged(whole)[0] is Sign.OTHERS


def _judged(line: str) -> tuple[Sign, Nature]:
    nature = nature_of("", line)
    if nature in (Nature.DEPENDENCY, Nature.ANSWER) and (ours := _at_our_end(line)) is not None:
        return ours
    return (Sign.OTHERS, nature) if nature is not Nature.CODE else (_of_the_program(line), nature)


def _at_our_end(line: str) -> tuple[Sign, Nature] | None:
    """What words of a connection say where they name no other side: the pod itself, which is its own fault, or where it is late what it has to
    do; or a client that went away, which accuses nobody."""
    if signs.ITSELF.search(line) and not (signs.ANOTHER_SIDE.search(line) or signs.TELEMETRY.search(line)):
        late = signs.NOT_IN_TIME.search(line) is not None
        return (Sign.NONE, Nature.CAPACITY) if late else (Sign.OWN, Nature.CODE)
    if signs.HUNG_UP.search(line):
        return Sign.NONE, Nature.CODE
    if signs.BROKEN_PIPE.search(line) and not signs.OF_A_PEER.search(line):
        rest = nature_of("", signs.BROKEN_PIPE.regex.sub(" ", line).strip(" :[]"))
        return (Sign.NONE, Nature.CODE) if rest is Nature.CODE else None
    return None


def _of_the_program(line: str) -> Sign:
    """Whether a line that speaks of nothing else has a sign of the program's own fault."""
    if signs.PLACE_ONLY.fullmatch(line.strip()):
        return Sign.OWN
    if _of_a_client(line):
        return Sign.NONE
    parts = _parts("", line)
    named = parts.kind in (ErrorKind.CODE, ErrorKind.VALUE) and _type(line) not in signs.WRAPS
    if signs.BROKEN.search(line) and not signs.UNREADABLE.search(line):
        return Sign.OWN
    if (
        words.DATA.search(line)
        or signs.OF_ANOTHER.search(line)
        or (parts.kind is not ErrorKind.CODE and words.URL.search(line))
    ):
        return Sign.NONE
    if named or words.SCHEMA.search(parts.hard):
        return Sign.OWN
    return Sign.OWN if any(pattern.search(line) for pattern in signs.ALL) else Sign.NONE


def _type(line: str) -> str:
    lead = words.LEADING.match(line)
    return lead["name"].lower() if lead else ""


def _hard(parts: _Parts) -> Nature | None:
    """By words that are plain whoever says them; a phrase in quotes counts only where it tells of a connection."""
    plain = next((nature for nature, pattern in _HARD if pattern.search(parts.soft)), None)
    return plain or (Nature.DEPENDENCY if words.DEPENDENCY.search(parts.hard) else None)


def _own(status: int) -> Nature:
    """What our own server's status says: a gateway's tells of what is behind it."""
    if status in (502, 504):
        return Nature.ANSWER
    return Nature.CAPACITY if status in (429, 503) else Nature.CODE


def _by_status(parts: _Parts) -> Nature | None:
    match parts.status:
        case 429:
            return Nature.RATE_LIMIT if parts.remote else Nature.CAPACITY
        case 401 | 403:
            return Nature.LOGIN
        case 502 | 504:
            return Nature.ANSWER
        case 503:
            return Nature.ANSWER if parts.remote else Nature.CAPACITY
        case status if status >= 500 and parts.remote:
            return Nature.ANSWER
        case _:
            return None


def _soft(parts: _Parts) -> Nature:
    found = None if words.NO_LOAD.search(parts.soft) else words.CAPACITY.search(parts.soft)
    if found is None:
        return Nature.CODE
    if not parts.remote:
        return Nature.CAPACITY
    return Nature.RATE_LIMIT if "requests" in found[0].lower() else Nature.ANSWER


def share_of(nature: Nature, natures: Mapping[Nature, int], unclear: int) -> float:
    """Part of the errors that are of this nature: of those that accuse somebody, where these are at least a tenth, for one failure is often
    told by two or three lines of which one says why; else of all."""
    errors = sum(natures.values())
    clear = errors - unclear
    if not clear or clear < errors / 10:
        return natures.get(nature, 0) / errors if errors else 0.0
    return (natures.get(nature, 0) - (unclear if nature is Nature.CODE else 0)) / clear


_STEM = re.compile(r"[A-Za-z]{4,60}")
_OF_ANY = frozenset(
    [
        "conn",
        "info",
        "warn",
        "time",
        "with",
        "from",
        "after",
        "refu",
        "fail",
        "erro",
        "unab",
        "coul",
        "succ",
        "now",
        "agai",
        "atte",
    ]
)
"""Beginnings of words that tell nothing of what did not work."""
_TRIED = re.compile(r"\b(?:retr|attempt|tr(?:y|ied|ies)\b)", re.IGNORECASE)


def _about(text: str) -> frozenset[str]:
    stems = frozenset(m[0][:4].lower() for m in _STEM.finditer(text)) - _OF_ANY
    return stems | {"<tried>"} if _TRIED.search(text) else stems


def is_noise(text: str) -> bool:
    """Is that what programs warn of every day, or trouble that the line itself says to be over?"""
    over = signs.RECOVERED.search(text)
    last = None if over is None else signs.TROUBLE.search(text, over.end())
    return signs.NOISE.search(text) is not None or (over is not None and last is None)


def may_tell(line: str) -> bool:
    """Can this line of a log say that something did not work, or that it does again? A line that is indented belongs to another."""
    return not line[:1].isspace() and signs.EITHER.search(bounded(line, 500)) is not None


def slow_query(line: str) -> bool:
    """Does a program say here, in whatever level, that its database took long (from `_SLOW_FROM` ms), or that it tidies up its whole heap?"""
    if not SLOW_QUERY.search(line):
        return FULL_GC.search(line) is not None
    told = max(map(_milliseconds, TOOK.finditer(line)), default=_SLOW_FROM) >= _SLOW_FROM
    return told or LONG_QUERY.search(line) is not None


def _milliseconds(took: re.Match[str]) -> float:
    value = float((took["told"] or took["long"]).replace(",", ""))
    return value * (1 if took["of"] or (took["unit"] or "s")[0] in "mM" else 1000)


_SLOW_FROM = 2000.0
_VARIES = re.compile(r"(?<![\w-])(?![45]\d\d(?![\w-]))[\w-]{0,64}\d[\w-]{0,64}")


def shape_of(text: str) -> str:
    """A text without what differs in each line that says the same, for most lines of a log repeat. A number that may be a status stays."""
    return _VARIES.sub("#", text)


@dataclass(frozen=True, slots=True)
class Said:
    """What a line says of something that did not work: that it does again, or that it still does not; and about what."""

    recovered: bool
    trouble: bool
    about: frozenset[str]


def _said(line: str) -> Said:
    recovered, troubled = signs.RECOVERED.search(line), signs.TROUBLE.search(line)
    noise = (recovered or troubled) is not None and is_noise(line)
    over = recovered is not None and noise
    trouble = troubled is not None and not noise
    return Said(over, trouble, _about(line) if over or trouble else frozenset())


def unsettled(texts: Sequence[str], known: dict[str, Said] | None = None) -> list[int]:
    """Which of these lines, the newest first, say that something did not work, and no later one says that it does again. `known` is what was
    judged before, by shape, for other lines of the same program."""
    found = list[int]()
    settled = frozenset[str]()
    judged_before = {} if known is None else known
    for place, text in enumerate(texts):
        line = bounded(text, _LONGEST_TEXT)
        shape = shape_of(line)
        said = judged_before.get(shape)
        if said is None:
            said = judged_before[shape] = _said(line)
        if said.recovered:
            settled |= said.about
        elif said.trouble and not said.about & settled:
            found.append(place)
    return found


def absent_names(text: str, namespace: str) -> Iterator[str]:
    """Names of Services of this namespace that the text says to be unknown: a bare one, or one of the cluster's own domain."""
    if not signs.UNKNOWN_NAME.search(text):
        return
    for found in signs.LOOKED_UP.finditer(text):
        name, _, rest = found["host"].partition(".")
        space, _, domain = rest.partition(".")
        if not rest or (space == namespace and domain.partition(".")[0] in ("", "svc")):
            yield name
