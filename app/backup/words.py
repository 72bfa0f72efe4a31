"""What a failed pg_dump or pg_restore may be quoted with: its own sentence, and of the server's text only forms that hold no row.

Called by `app.backup.pipes`. What a server says beside the error (DETAIL, CONTEXT, the statement) repeats rows, and so does the message of
many an error. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from app.domain.redact import in_one_line

_LONGEST: Final = 320
_PROGRAM: Final = re.compile(r"pg_\w+: ")
_PASSING: Final = re.compile(r"pg_\w+: (?:while |from |warning: |hint: |last )")
_SEVERITY: Final = re.compile(r"\b[^\W\d_]{3,}:  (?P<text>.*)")
"""libpq writes the severity, in any language, a colon and two blanks before what the server says."""
_N: Final = r'"[^"]*"'
_FORMS: Final = tuple(
    re.compile(form)
    for form in (
        rf"(?:new row for )?(?:partition of )?relation {_N} violates [a-z -]*constraint(?: {_N})?",
        rf"(?:duplicate|conflicting) key value violates [a-z -]+ constraint {_N}",
        rf"(?:insert or update|update or delete) on table {_N} violates [a-z -]+ constraint {_N}",
        rf"null value in column {_N}(?: of relation {_N})? violates not-null constraint",
        rf"permission denied (?:for|to) [\w .]+(?:{_N})?",
        rf"must be (?:owner|member|superuser|able|admin)\b[a-zA-Z ]*(?:{_N})?",
        rf"[a-z -]+ {_N} (?:of relation {_N} )?(?:does not exist|already exists|is not available)",
        rf"could not create unique index {_N}",
        r"(?:invalid input syntax|value too long) for type [\w ()]+",
        r"[\w /]+ out of range",
        r"invalid byte sequence for encoding",
        r"(?:canceling statement|terminating connection) due to [\w -]+",
        r"the database system is [\w ]+",
        r"out of (?:shared )?memory|deadlock detected|password authentication failed|no pg_hba\.conf entry",
        r"remaining connection slots are reserved|sorry, too many clients already|too many connections for",
        rf"could not \w+ file {_N}: No space left on device",
        rf"unrecognized configuration parameter {_N}",
        r"cannot execute [A-Z ]+ in a read-only transaction",
        r"cannot import a snapshot from a different database",
        rf"could not obtain lock on relation {_N}",
        rf"could not (?:open extension control|access|open|read|write|create|fsync|stat) file {_N}: [A-Z][a-z /-]+",
        rf"could not (?:read|write) blocks? \d[\d.]* in file {_N}",
        r"invalid page in block \d+ of relation [\w/]+",
        r"(?:missing|unexpected) chunk number \d+ (?:\([^)]*\) )?for toast value \d+ in pg_toast_\d+",
        r"cache lookup failed for [a-z ]+ \d+",
        r"invalid memory alloc request size \d+",
        r"new encoding \(\w+\) is incompatible with the encoding of the template database \(\w+\)",
        r"character with byte sequence",
        rf"cannot insert a non-DEFAULT value into column {_N}",
        rf"database {_N} is not currently accepting connections",
    )
)
_WITH_A_WAY: Final = {
    re.compile(rf"query would be affected by row-level security policy for table {_N}"): (
        "the login would see only some of its rows: give it BYPASSRLS, or take FORCE ROW LEVEL SECURITY from the table"
    ),
}
"""Forms that hold no row, with what they mean and what to do."""
_KEPT_BACK: Final = "an error whose text is not told, for it may hold rows"


def without_rows(text: str) -> str:
    """What a program wrote to its standard error, in one short sentence; empty for nothing."""
    lines = [line for line in text.splitlines() if line.strip()]
    own = [line for line in lines if _PROGRAM.match(line) and not _PASSING.match(line)] or lines[:1]
    if not own:
        return ""
    head, said = own[0], next(_said(own), None)
    if (severity := _SEVERITY.search(head)) is not None:
        head = head[: severity.start("text")]
    elif said is not None:
        head += ": "
    return in_one_line(f"{head}{said or ''}", _LONGEST)


def _said(lines: list[str]) -> Iterator[str]:
    """What the server said, as far as it is told."""
    for line in lines:
        if (severity := _SEVERITY.search(line)) is not None:
            yield _told(severity["text"])


def _told(text: str) -> str:
    for form, way in _WITH_A_WAY.items():
        if found := form.match(text):
            return f"{found[0]}; {way}"
    known = next((m for form in _FORMS if (m := form.match(text))), None)
    return known[0].strip() if known else _KEPT_BACK
