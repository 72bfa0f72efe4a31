"""What a failed pg_dump or pg_restore may be quoted with: its own sentence, and of the server's text only forms that hold no row.

Called by `app.backup.pipes`. What a server says beside the error (DETAIL, CONTEXT, the statement) repeats rows, and so does the message of
many an error. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Final

from app.domain.database import NO_ROOM
from app.domain.redact import in_one_line

_LONGEST: Final = 320
_PROGRAM: Final = re.compile(r"pg_\w+: ")
_PASSING: Final = re.compile(r"pg_\w+: (?:while |from |warning: |hint: |last )")
_SEVERITY: Final = re.compile(r"\b[^\W\d_]{3,}:  (?P<text>.*)")
"""libpq writes the severity, in any language, a colon and two blanks before what the server says."""
_N: Final = r'"[^"]*"'
_NOUN: Final = (
    r"(?:(?:event )?trigger|(?:materialized )?view|(?:data )?type|operator(?: class| family)?|foreign-data wrapper|"
    r"text search (?:configuration|dictionary|parser|template)|access method|statistics object|relation|table|index|sequence|column|"
    r"constraint|rule|policy|role|schema|function|procedure|aggregate|extension|database|tablespace|language|collation|publication|"
    r"subscription|server|conversion|large object)"
)
"""What PostgreSQL itself says that there is or is not; functions of a database say the same of anything else."""
_TYPE: Final = (
    r"(?:smallint|integer|bigint|numeric|real|double precision|boolean|uuid|jsonb?|xml|bytea|date|interval|inet|cidr|macaddr|money|oid|"
    r"time(?:stamp)?(?: with(?:out)? time zone)?|(?:character|bit)(?: varying)?(?:\(\d+\))?)"
)
_PATH: Final = (
    r'"(?:\.?/?(?:base|global|pg_\w+)/[\w./-]+|\$libdir/[\w.-]+|/[\w./+-]+/(?:extension|lib)/[\w.-]+)"'
)
"""A file of the server's own."""
_NAMED: Final = re.compile(
    rf"(?P<noun>{_NOUN}) (?P<name>{_N})(?: of relation (?P<of>{_N}))? (?P<what>does not exist|already exists|is not available)"
)
"""Natural words, which functions of a database say of values too: `role "..." does not exist` may be of a row. A name is told that is known."""
_FORMS: Final = tuple(
    re.compile(form)
    for form in (
        rf"(?:new row for )?(?:partition of )?relation {_N} violates [a-z -]*constraint(?: {_N})?",
        rf"(?:duplicate|conflicting) key value violates [a-z -]+ constraint {_N}",
        rf"(?:insert or update|update or delete) on table {_N} violates [a-z -]+ constraint {_N}",
        rf"null value in column {_N}(?: of relation {_N})? violates not-null constraint",
        rf"permission denied for {_NOUN} \w+",
        rf"permission denied to (?:create|alter|drop|change|set|grant|reassign)\b[ a-z]*{_NOUN}(?: {_N})?",
        rf"permission denied to set (?:role|parameter|session authorization)(?: {_N})?",
        rf"must be owner of {_NOUN}|must be (?:member of|able to SET ROLE|superuser|admin)\b",
        rf"could not create unique index {_N}",
        rf"(?:invalid input syntax|value too long) for type {_TYPE}",
        rf"(?:{_TYPE}|value) out of range",
        r"invalid byte sequence for encoding",
        r"(?:canceling statement|terminating connection) due to (?:statement|lock|idle-in-transaction|idle-session|transaction) timeout",
        r"(?:canceling statement|terminating connection) due to (?:user request|administrator command|conflict with recovery)",
        r"terminating connection because of crash of another server process",
        r"the database system is (?:starting up|shutting down|in recovery mode|not (?:yet )?accepting connections)",
        r"out of (?:shared )?memory|deadlock detected|password authentication failed|no pg_hba\.conf entry",
        r"remaining connection slots are reserved|sorry, too many clients already",
        rf"unrecognized configuration parameter {_N}",
        r"cannot execute [A-Z ]+ in a read-only transaction",
        r"cannot import a snapshot from a different database",
        rf"could not obtain lock on relation {_N}",
        rf"could not (?:open extension control|access|open|read|write|create|fsync|stat) file {_PATH}: [A-Z][a-z /-]+",
        rf"could not (?:read|write) blocks? \d[\d.]* in file {_PATH}",
        r"invalid page in block \d+ of relation [\w/]+",
        r"(?:missing|unexpected) chunk number \d+ (?:\([^)]*\) )?for toast value \d+ in pg_toast_\d+",
        rf"cache lookup failed for {_NOUN} \d+",
        r"invalid memory alloc request size \d+",
        r"new encoding \(\w+\) is incompatible with the encoding of the template database \(\w+\)",
        r"character with byte sequence",
        rf"cannot insert a non-DEFAULT value into column {_N}",
        rf"database {_N} is not currently accepting connections",
    )
)
_FULL: Final = re.compile(
    rf"could not (?:\w+|write to|extend) file {_PATH}(?: with FileFallocate\(\))?: No space left on device|"
    rf"could not write block \d+ in file {_PATH}: No space left on device|"
    rf"could not (?:write block \d+ in|extend) file {_PATH}: wrote only \d+ of \d+ bytes(?: at block \d+)?|"
    r"could not write (?:block \d+ of |to )?temporary file: No space left on device|"
    r"could not write init file"  # of a session that begins: PostgreSQL ends it so when the file could not be closed
)
LIMIT: Final = "its CONNECTION LIMIT has to leave four for a backup, beside those of the application"
_WITH_A_WAY: Final = {
    re.compile(rf"query would be affected by row-level security policy for table {_N}"): (
        "the login would see only some of its rows: give it BYPASSRLS, or take FORCE ROW LEVEL SECURITY from the table"
    ),
    re.compile(r"too many connections for (?:role|database)\b"): LIMIT,
}
"""Forms that hold no row, with what they mean and what to do."""
_COMMAND: Final = re.compile(
    r"^(?:pg_\w+: detail: )?Command was: (.*?)(?=^pg_\w+: |\Z)", re.MULTILINE | re.DOTALL
)
_WITH_ROWS: Final = re.compile(r"\s*(?:INSERT|COPY|SELECT|UPDATE|WITH|VALUES|MERGE|EXECUTE)\b", re.IGNORECASE)
_WORD: Final = re.compile(r"[^\W\d]\w*")
_UNTOLD: Final = "(its name is not told, for it may be a row's)"
_KEPT_BACK: Final = "an error whose text is not told, for it may hold rows"


def without_rows(text: str, known: Collection[str] = ()) -> str:
    """What a program wrote to its standard error, in one short sentence; empty for nothing. `known` are names that are no rows; so are those
    in the statement that failed, where that is no statement with rows in it."""
    commands = [m[1] for m in _COMMAND.finditer(text) if not _WITH_ROWS.match(m[1])]
    names = {*known, *(name for command in commands for name in _WORD.findall(command))}
    lines = [line for line in text.splitlines() if line.strip()]
    own = [line for line in lines if _PROGRAM.match(line) and not _PASSING.match(line)] or lines[:1]
    if not own:
        return ""
    head, said = own[0], next(_said(own, names), None)
    if (severity := _SEVERITY.search(head)) is not None:
        head = head[: severity.start("text")]
    elif said is not None:
        head += ": "
    full = f"{NO_ROOM}: " if said is not None and _FULL.match(said) else ""  # first: the rest may be cut
    return in_one_line(f"{full}{head}{said or ''}", _LONGEST)


def _said(lines: list[str], known: Collection[str]) -> Iterator[str]:
    """What the server said, as far as it is told."""
    for line in lines:
        if (severity := _SEVERITY.search(line)) is not None:
            yield _told(severity["text"], known)


def _told(text: str, known: Collection[str]) -> str:
    if found := _NAMED.match(text):
        name, of = _named(found["name"], known), _named(found["of"], known)
        return f"{found['noun']} {name}{f' of relation {of}' if of else ''} {found['what']}"
    for form, way in _WITH_A_WAY.items():
        if quoted := form.match(text):
            return f"{quoted[0]}; {way}"
    told = next((match for form in (_FULL, *_FORMS) if (match := form.match(text))), None)
    return told[0].strip() if told else _KEPT_BACK


def _named(quoted: str | None, known: Collection[str]) -> str:
    """A name, or each part of one with its schema, is known; empty for none."""
    if quoted is None:
        return ""
    name = quoted.strip('"')
    return quoted if name in known or all(part in known for part in name.split(".")) else _UNTOLD
