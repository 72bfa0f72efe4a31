"""What a container said before it ended, and whom that accuses.

Used by `remediations.causes`. Of a log only its end is read, and what leaves here has its secrets removed.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from app.domain.accusing import Sign
from app.domain.cluster import Cluster, LogQuery
from app.domain.redact import redact, redact_lines
from app.domain.text import beside
from app.domain.workload import Pod
from remediations.evidence.error_lines import TOKENS, ErrorLine, entries_in, said_in, short_of_both
from remediations.evidence.error_signs import FRAME, ROUTINE, TELEMETRY, TROUBLE
from remediations.evidence.logs import read_log
from remediations.evidence.natures import blames_others, is_noise, own_answer, unsettled
from remediations.evidence.usage import short

_LONGEST_LINE = 500
_LONGEST_SAID = 4_000
_TAIL = 300
_CUT = 20
"""Lines at the beginning of a log that was cut there: they may be the values of names before, so they are read with the others and not shown."""
_TAIL_BYTES = 64 * 1024
_ENTRIES = 60
_MAX_JUDGED = 24_000
_NEAR = 8
"""Entries from the end within which an error of the program is the one that ended it."""
_MAX_TELLING = 16
_AROUND = 3
"""Lines before and after the one that is shown in which the other side's name may stand: libpq asks in its next line whether the server runs on
that host, and a program says last what it could not do, below the address that did not answer."""
_FILE = r"(?<!\.go|\.js|\.ts|\.py|\.rb|\.rs|\.kt|\.cs)(?<!\.php|\.jsx|\.tsx|\.mjs|\.cjs)(?<!\.java)"
_WHERE = re.compile(
    r"\b(?i:host(?:name)?|server|address|addr|endpoint|broker|upstream)(?: at| on|\s?[:=])? ?[\"'`](?P<named>[A-Za-z0-9][\w.-]{1,120})[\"'`]"
    r"|\b[a-z][a-z0-9+.-]{1,20}://(?:[^\s/@\"']{1,100}@)?(?P<url>[A-Za-z0-9][A-Za-z0-9.-]{1,120})"
    rf"|\((?P<told>[a-z0-9-]{{1,63}}(?:\.[a-z0-9-]{{1,63}}){{1,6}}{_FILE}\.?)(?::\d{{1,5}})?\)"
    r"|(?<![\w.-])(?i:host(?:name)?|server|addr(?:ess)?|endpoint|broker|to|at|with)[\"']?\s?[:=]?\s?[\"']?(?P<beside>[A-Za-z0-9][\w.-]{1,120})"
    r"[\"']?[,;]?(?: on)?\s{0,2}[\"']?(?i:port)[\"']?\s?[:= ]\s?[\"']?\d{2,5}\b"
    rf"|(?<![\w./:-])(?P<address>(?:\d{{1,3}}(?:\.\d{{1,3}}){{3}}|[a-z][a-z0-9-]{{0,62}}(?:\.[a-z0-9-]{{1,63}}){{0,6}}{_FILE}):\d{{2,5}})(?![\w:.])"
)
"""The name of another side: a quoted host, one of a URL, one in brackets, one with a port beside it, or an address with its port; no file with its
line."""
_NAMED = re.compile(r"\b(?i:lookup|resolv\w*|getaddrinfo\b.{0,500}|for host|to host) \S*[a-z]|\.svc\b")
"""Words that name it without a port."""
_OWN_ADDRESS = re.compile(r"\b(?i:listen\w*|serving|started|bound)\b|\b0\.0\.0\.0\b|\[?::\]?:\d")
"""Where the program itself can be reached."""


Aside = Callable[[str], bool]
"""Whether an entry, as it was written, counts for nothing."""


@dataclass(frozen=True, slots=True)
class LastWords:
    """What a container said before it ended, without secrets. `shown` is one line for people. `sign` is whom it accuses: the last words that
    accuse somebody, for a framework closes with a line that says nothing; where these only tell what follows when something is not there, and an
    earlier line accuses others, it is that. `follows`: they tell only that. `telling` are the whole lines from the end back to those, the
    newest first. `errors`: an error is among them, or a line of any level that says that something does not work; `routine`: there is nothing but lines of everyday. `unread`: why nothing could be read. `aside`: what it
    said as well that accuses others and is not counted, with why."""

    shown: str = ""
    sign: Sign = Sign.NONE
    telling: tuple[str, ...] = ()
    errors: bool = False
    routine: bool = False
    unread: str = ""
    follows: bool = False
    aside: str = ""

    def __bool__(self) -> bool:
        """False when it said nothing."""
        return bool(self.shown)

    @property
    def text(self) -> str:
        """All that tells, to be searched."""
        return "\n".join(self.telling)


async def last_words(
    cluster: Cluster,
    pod: Pod,
    container: str,
    tokens: Sequence[str] = TOKENS,
    *,
    without: Aside | None = None,
    ended: bool = True,
) -> LastWords:
    """What a container said before it last ended, else what it says now (runbook, Pod Crash Loop: `kubectl logs --previous`), of the last
    300 lines: a stack trace may have a hundred. `without`: what of it counts for nothing; `ended`: whether its last end belongs to the
    present, as what it said before one that is long over is no last word."""
    fault = ""
    for previous in (True, False) if ended else (False,):
        query = LogQuery(pod.ref.namespace, pod.name, container, previous=previous, tail_lines=_TAIL)
        read = await read_log(cluster, query)
        hear = partial(heard, read.text, tokens, cut=_is_cut(read.text), without=without)
        if said := await beside(len(read.text), hear):
            return said
        fault = read.fault
    return LastWords(unread=fault)


def _is_cut(text: str) -> bool:
    """Whether more lines may have stood before."""
    return text.count("\n") >= _TAIL - 1


def heard(
    text: str, tokens: Sequence[str] = TOKENS, *, cut: bool = False, without: Aside | None = None
) -> LastWords:
    """What the end of a log tells. A termination message may be such an end (terminationMessagePolicy FallbackToLogsOnError). Secrets
    are hidden before a line is told from the others: the name of a value may stand on the line before it. `cut`: lines before these are missing."""
    lines = redact_lines(text[-_TAIL_BYTES:].splitlines())
    if cut or len(text) > _TAIL_BYTES:
        lines = lines[min(_CUT, len(lines) // 2) :]
    read = deque(entries_in(lines, tokens), maxlen=_ENTRIES)
    entries = _within([e for e in reversed(read) if not e.plain or not FRAME.match(e.text)])
    entries = [e for e in entries if without is None or not without("\n".join((e.words, *e.chain)))]
    if not entries:
        return LastWords()
    heard_of = _weighed(entries)
    whole = _concluded(lines, entries, heard_of)
    own = [h for h in heard_of if not _of_telemetry(h.entry)]
    if len(own) == len(heard_of) or all(h.sign is Sign.NONE for h in own):
        return whole
    rest = _concluded(lines, [e for e in entries if not _of_telemetry(e)], own)
    return rest if rest.sign is whole.sign else replace(rest, aside=f'"{whole.shown}"')


def _concluded(lines: Sequence[str], entries: Sequence[ErrorLine], heard_of: Sequence[_Heard]) -> LastWords:
    """What these entries, of which some were heard, tell together."""
    chosen, sign = _telling([(h.entry, h.sign) for h in heard_of if not h.everyday])
    troubled = [h for h in heard_of if h.troubled]
    if sign is Sign.NONE and troubled and all(e.plain for e in chosen):
        chosen, sign = _below_errors(chosen, troubled)
    follows = sign is Sign.OWN and chosen[0].follows
    blamed = next((h.entry for h in heard_of if h.sign is Sign.OTHERS), None)
    if follows and blamed is None:
        blamed = next((e for e in entries if e is not chosen[0] and blames_others((e.words, *e.chain))), None)
    if (sign is Sign.NONE or follows) and blamed:
        chosen, sign = [blamed, *chosen], Sign.OTHERS
    words = [w for e in chosen or entries[:1] for w in (e.words, *e.chain)][:_MAX_TELLING]
    telling = tuple(redact(w, longest=_LONGEST_SAID) for w in words)
    first = chosen[0] if chosen else entries[0]
    shown, where = _shown(first), None
    if sign is Sign.OTHERS and not _WHERE.search(shown) and not _NAMED.search(shown):
        where = _where(lines, first)
    if where:
        shown = f"{shown} (host {where[0]})"
        telling = (*(t for t in telling if t != where[1]), where[1])
    return LastWords(
        shown,
        sign,
        telling,
        errors=bool(troubled) or any(not e.plain for e in chosen),
        routine=not chosen,
        follows=follows,
    )


@dataclass(frozen=True, slots=True)
class _Heard:
    """One entry, judged. `everyday`: it stands below the level of an error, or in an access log; `troubled`: it is no error, and says that
    something does not work."""

    entry: ErrorLine
    sign: Sign
    everyday: bool
    troubled: bool


def _weighed(entries: Sequence[ErrorLine]) -> list[_Heard]:
    """These entries, the newest first, without what is over, or what programs warn of every day."""
    texts = [said_in(e.words) if e.plain and own_answer(e.text) is None else "" for e in entries]
    still = frozenset(unsettled(texts))
    found = list[_Heard]()
    for place, (entry, text) in enumerate(zip(entries, texts, strict=True)):
        everyday = _of_everyday(entry)
        over = text and place not in still and (TROUBLE.search(text) or is_noise(text))
        if over and (everyday or entry.judged[0] is not Sign.OWN):
            continue
        told = replace(entry, text=text) if everyday and place in still else entry
        found.append(_Heard(told, told.judged[0], everyday, place in still))
    return found


def _below_errors(said: Sequence[ErrorLine], troubled: Sequence[_Heard]) -> tuple[list[ErrorLine], Sign]:
    """What these say of trouble comes first, and tells whom it accuses where nothing without a level does: the level only ranks."""
    plain = [h.entry for h in troubled if not h.everyday]
    told, sign = (plain, Sign.NONE) if plain else _telling([(h.entry, h.sign) for h in troubled])
    return [*told, *(e for e in said if e not in told)], sign


def _shown(entry: ErrorLine) -> str:
    """One line of it for people, with the exception around it, which often names the object."""
    said = redact(entry.words)
    around = redact(entry.chain[0]) if entry.chain else ""
    told = not around or around in said or said in around
    return short_of_both(said if told else f"{short(around, 100)}: {said}", 200)


def _where(lines: Sequence[str], shown: ErrorLine) -> tuple[str, str] | None:
    """The other side's name in the nearest line around the newest one of these words, and that line."""
    near = shown.text[:80]
    place = next((n for n in range(len(lines) - 1, -1, -1) if near and near in lines[n]), None)
    if place is None:
        return None
    around = range(max(0, place - _AROUND), min(len(lines), place + _AROUND + 1))
    for n in sorted(around, key=lambda n: abs(n - place)):
        line = lines[n][:_LONGEST_LINE].strip()
        found = {k: v for m in _WHERE.finditer(line) for k, v in m.groupdict().items() if v}
        if name := next((found[k] for k in ("named", "told", "beside", "url", "address") if k in found), ""):
            return (name, line) if not _OWN_ADDRESS.search(line) else None
    return None


def _within(entries: Sequence[ErrorLine]) -> list[ErrorLine]:
    """The newest of them, of so many characters in all: to judge a long line takes a tenth of a second."""
    kept, size = list[ErrorLine](), 0
    for entry in entries:
        size += len(entry.words) + sum(map(len, entry.chain))
        if kept and size > _MAX_JUDGED:
            break
        kept.append(entry)
    return kept


def _telling(entries: Sequence[tuple[ErrorLine, Sign]]) -> tuple[list[ErrorLine], Sign]:
    """From these (newest first) the one that accuses somebody, then what was said after it; where none does, what was said last and all
    errors. The program is accused only by what was said close to the end."""
    said = list[ErrorLine]()
    for place, (entry, sign) in enumerate(entries):
        if place >= _NEAR and entry.plain:
            continue
        if sign is Sign.OTHERS or (sign is Sign.OWN and place < _NEAR):
            return [entry, *said], sign
        if sign is Sign.NONE:
            said.append(entry)
    return said, Sign.NONE


def _of_telemetry(entry: ErrorLine) -> bool:
    """Whether it says that spans, metrics or logs could not be sent: no program ends for that, and many say it as they end."""
    return entry.judged[0] is not Sign.OWN and any(
        TELEMETRY.search(text[:_LONGEST_LINE]) for text in (entry.words, *entry.chain)
    )


def _of_everyday(entry: ErrorLine) -> bool:
    """A line below an error, or of an access log: it tells nothing of an end."""
    return entry.plain and bool(
        ROUTINE.search(entry.text[:_LONGEST_LINE]) or own_answer(entry.text) is not None
    )
