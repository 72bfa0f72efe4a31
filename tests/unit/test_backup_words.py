"""What of a program's standard error is told: names and kinds of errors, and never a row."""

from __future__ import annotations

import pytest

from app.backup.words import without_rows
from app.domain.database import NO_ROOM

ROW = "canary-4712 jane@example.org"
ITS = (
    f'DETAIL:  Failing row contains ({ROW}).\nCONTEXT:  COPY t, line 1: "{ROW}"\nCommand was: INSERT {ROW}\n'
)
TOLD = {
    f'pg_restore: error: COPY failed for table "t": ERROR:  new row for relation "t" violates check constraint "c"\n{ITS}': (
        'pg_restore: error: COPY failed for table "t": ERROR: new row for relation "t" violates check constraint "c"'
    ),
    f'pg_restore: error: COPY failed for table "t": ERROR:  invalid input syntax for type integer: "{ROW}"\n': (
        'pg_restore: error: COPY failed for table "t": ERROR: invalid input syntax for type integer'
    ),
    f"pg_restore: error: could not execute query: ERROR:  no such person: {ROW}\n{ITS}": (
        "pg_restore: error: could not execute query: ERROR: an error whose text is not told, for it may hold rows"
    ),
    f'pg_restore: Fehler: COPY fehlgeschlagen: FEHLER:  ungültig: "{ROW}"\nDETAIL:  ({ROW})\n': (
        "pg_restore: Fehler: COPY fehlgeschlagen: FEHLER: an error whose text is not told, for it may hold rows"
    ),
    "pg_restore: while PROCESSING TOC:\npg_restore: from TOC entry 3; 1 EXTENSION x\n"
    'pg_restore: error: could not execute query: ERROR:  permission denied to create extension "x"\nHINT:  no': (
        'pg_restore: error: could not execute query: ERROR: permission denied to create extension "x"'
    ),
    'pg_dump: error: Dumping the contents of table "t" failed: PQgetResult() failed.\n'
    f"pg_dump: detail: Error message from server: ERROR:  permission denied for table t\npg_dump: detail: Command was: {ROW}": (
        'pg_dump: error: Dumping the contents of table "t" failed: PQgetResult() failed.: permission denied for table t'
    ),
    'pg_dump: error: query failed: ERROR:  query would be affected by row-level security policy for table "t"\n'
    f"pg_dump: detail: Query was: COPY {ROW}": (
        'pg_dump: error: query failed: ERROR: query would be affected by row-level security policy for table "t"; the login would see only'
        " some of its rows: give it BYPASSRLS, or take FORCE ROW LEVEL SECURITY from the table"
    ),
    'pg_dump: error: Dumping the contents of table "t" failed: PQgetResult() failed.\n'
    "pg_dump: detail: Error message from server: ERROR:  invalid page in block 7 of relation base/5/16384\n": (
        'pg_dump: error: Dumping the contents of table "t" failed: PQgetResult() failed.: invalid page in block 7 of relation base/5/16384'
    ),
    f"pg_dump: error: query failed: ERROR:  missing chunk number 0 for toast value 16403 in pg_toast_16400\n{ITS}": (
        "pg_dump: error: query failed: ERROR: missing chunk number 0 for toast value 16403 in pg_toast_16400"
    ),
    f'pg_restore: error: could not execute query: ERROR:  character with byte sequence 0xe2 in encoding "UTF8" {ROW}\n': (
        "pg_restore: error: could not execute query: ERROR: character with byte sequence"
    ),
    'pg_dump: error: connection to server at "127.0.0.1", port 5432 failed: FATAL:  too many connections for role "owner"\n': (
        'pg_dump: error: connection to server at "127.0.0.1", port 5432 failed: FATAL: too many connections for role; '
        "its CONNECTION LIMIT has to leave four for a backup, beside those of the application"
    ),
    'pg_dump: error: connection to server at "127.0.0.1", port 5432 failed: FATAL:  too many connections for database "shop"\n': (
        'pg_dump: error: connection to server at "127.0.0.1", port 5432 failed: FATAL: too many connections for database; '
        "its CONNECTION LIMIT has to leave four for a backup, beside those of the application"
    ),
    "pg_restore: error: could not read from input file: end of file\n": (
        "pg_restore: error: could not read from input file: end of file"
    ),
    f'pg_restore: error: COPY failed for table "orders": ERROR:  account "{ROW}" does not exist\n{ITS}': (
        'pg_restore: error: COPY failed for table "orders": ERROR: an error whose text is not told, for it may hold rows'
    ),
    f'pg_restore: error: COPY failed for table "orders": ERROR:  role "{ROW}" does not exist\n{ITS}': (
        'pg_restore: error: COPY failed for table "orders": ERROR: role (its name is not told, for it may be a row\'s) does not exist'
    ),
    'pg_restore: error: could not execute query: ERROR:  role "reader" does not exist\n'
    "Command was: GRANT SELECT ON TABLE public.orders TO reader;\n": (
        'pg_restore: error: could not execute query: ERROR: role "reader" does not exist'
    ),
    f"pg_restore: error: could not execute query: ERROR:  role \"{ROW}\" does not exist\nCommand was: INSERT INTO t VALUES ('{ROW}');\n": (
        "pg_restore: error: could not execute query: ERROR: role (its name is not told, for it may be a row's) does not exist"
    ),
    f"pg_restore: error: could not execute query: ERROR:  {ROW.split(maxsplit=1)[0]} out of range\n": (
        "pg_restore: error: could not execute query: ERROR: an error whose text is not told, for it may hold rows"
    ),
    f"pg_restore: error: could not execute query: ERROR:  permission denied for {ROW.split(maxsplit=1)[0]}\n": (
        "pg_restore: error: could not execute query: ERROR: an error whose text is not told, for it may hold rows"
    ),
    'pg_restore: error: COPY failed for table "t": ERROR:  could not extend file "base/5/6": wrote only 4096 of 8192 bytes at block 77\n'
    "HINT:  Check free disk space.\n": (
        f'{NO_ROOM}: pg_restore: error: COPY failed for table "t": ERROR: could not extend file "base/5/6": wrote only 4096 of 8192 bytes at block 77'
    ),
    'pg_restore: error: connection to server at "127.0.0.1", port 5 failed: FATAL:  could not write init file\n': (
        f'{NO_ROOM}: pg_restore: error: connection to server at "127.0.0.1", port 5 failed: FATAL: could not write init file'
    ),
    'pg_restore: error: COPY failed for table "t": ERROR:  could not write block 9 in file "base/5/6": No space left on device\n': (
        f'{NO_ROOM}: pg_restore: error: COPY failed for table "t": ERROR: could not write block 9 in file "base/5/6": No space left on device'
    ),
    'pg_restore: error: COPY failed for table "t": PANIC:  could not write to file "pg_wal/xlogtemp.99": No space left on device\n': (
        f'{NO_ROOM}: pg_restore: error: COPY failed for table "t": PANIC: could not write to file "pg_wal/xlogtemp.99": No space left on device'
    ),
    "sh: 1: pg_restore: not found\n": "sh: 1: pg_restore: not found",
    "": "",
}


@pytest.mark.parametrize("text", TOLD)
def test_rows_are_in_no_text_of_a_program(text: str) -> None:
    told = without_rows(text)
    assert told == TOLD[text]
    assert "canary" not in told


def test_a_relation_is_named_that_is_known_from_the_manifest() -> None:
    text = 'pg_restore: error: COPY failed for table "t": ERROR:  relation "stock" does not exist'
    assert without_rows(text, {"stock"}).endswith('relation "stock" does not exist')
    assert "stock" not in without_rows(text)
