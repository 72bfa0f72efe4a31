"""A statement of somebody else's is shown without its values, whatever it looks like."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.sql_text import shortened, without_literals

CANARY = "qv7Zr4mW9pLk2"
_FILL = st.lists(
    st.sampled_from(
        ["--", "/*", "*/", "'", '"', "$$", "$f1$", "\\", "\n", ";", "é", "x", " ", "E'", "U&'", "0", "$"]
    ),
    max_size=4,
).map("".join)
_TAG = st.sampled_from(["", "a", "f1", "é", "_9", "q“"])
_STANDARD = st.sampled_from(["", "N", "n", "U&", "u&"])


@pytest.mark.parametrize(
    ("statement", "shown"),
    [
        ("SELECT * FROM t1 WHERE a = 'hunter2' AND b = 12.5", "SELECT * FROM t1 WHERE a = ? AND b = ?"),
        ("SELECT 'it''s hunter2' ,\n  c", "SELECT ? , c"),
        ("SELECT $1, $2", "SELECT $?, $?"),
        ("ALTER ROLE app PASSWORD 'hunter2'", "ALTER ROLE app PASSWORD ?"),
        ("UPDATE a SET p = $q$hunter2$q$ WHERE id = 1", "UPDATE a SET p = ? WHERE id = ?"),
        ("INSERT INTO a VALUES ('hunter2, cut off by the ser", "INSERT INTO a VALUES (?"),
        ("SELECT E'it\\'s hunter2', 'hunter2'", "SELECT ?, ?"),
        ("SELECT 'a\\' , 'hunter2'", "SELECT ?"),
        ("SELECT 1 /* hunter2 */ -- hunter2", "SELECT ?"),
        ("SELECT U&'hunter2', x'AB', 0xFF", "SELECT ?, ?, ?"),
        ('SELECT "Mixed" FROM t', 'SELECT "Mixed" FROM t'),
        (
            "UPDATE t SET a = 'moved -- see ticket',\n b = 'hunter2' WHERE c = 5",
            "UPDATE t SET a = ?, b = ? WHERE c = ?",
        ),
        ("SELECT '/etc/*' /* y */, 'hunter2'", "SELECT ? , ?"),
        ("SELECT 1 /* /* ' */ ' */ , 'hunter2'", "SELECT ? , ?"),
        ("SELECT 1 /* /* */ hunter2", "SELECT ?"),
        ("SELECT 1 -- '\n, 'hunter2'", "SELECT ? , ?"),
        ("SELECT \"a'b--\" , 'hunter2'", 'SELECT "a\'b--" , ?'),
        ("SELECT $f1$hunter2$f1$, $é$ ' $é$, a$b$c", "SELECT ?, ?, a$b$c"),
        ("SELECT $a$ $b$ hunter2 $b$ $a$ FROM t", "SELECT ? FROM t"),
        ("SELECT E'a'\n'b\\'hunter2'", "SELECT ? ?"),
        ("SELECT \"cut off by the server, 'hunter2", "SELECT ?"),
        ("SELECT E'cut off \\", "SELECT ?"),
        ("SET app.api_key TO hunter2", "SET app.api_key TO ?"),
        ('SET LOCAL "app".key = a, hunter2; SELECT b', 'SET LOCAL "app".key = ? ; SELECT b'),
        ("ALTER ROLE app SET app.key TO hunter2", "ALTER ROLE app SET app.key TO ?"),
        ("SET session.tenant = hunter2", "SET session.tenant = ?"),
        ("SET LOCAL local.tenant TO hunter2", "SET LOCAL local.tenant TO ?"),
        ("SET SESSION session.tenant = hunter2", "SET SESSION session.tenant = ?"),
        ('set local."tenant"=hunter2', 'set local."tenant"=?'),
        ("SET session . tenant TO hunter2, hunter2", "SET session . tenant TO ?"),
        ("ALTER ROLE app SET session.tenant = hunter2", "ALTER ROLE app SET session.tenant = ?"),
        ("ALTER ROLE app SET local.tenant TO hunter2", "ALTER ROLE app SET local.tenant TO ?"),
        (
            "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
            "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
        ),
        ("SELECT 0b1011, 0o755, 0X1F, 0B1_0 FROM t", "SELECT ?, ?, ?, ? FROM t"),
        ("ALTER TABLE t ALTER c SET NOT NULL", "ALTER TABLE t ALTER c SET NOT NULL"),
        ("UPDATE t SET a = b", "UPDATE t SET a = b"),
        ("COPY t (a) FROM STDIN;\nhunter2\t1\n\\.\n", "COPY t (a) FROM STDIN;"),
        ("", ""),
    ],
)
def test_a_statement_has_no_literal_left(statement: str, shown: str) -> None:
    assert shortened(statement) == shown
    assert "hunter2" not in shortened(statement)


def test_a_statement_is_short() -> None:
    assert len(shortened("SELECT " + "a, " * 5_000)) < 200


def _plain(prefix: str, text: str) -> str:
    doubled = text.replace("'", "''")
    return f"{prefix}'{doubled}'"


def _escaped(text: str) -> str:
    return "E'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _dollar(tag: str, text: str) -> str:
    plain = text.replace("$", "")
    return f"${tag}${plain}${tag}$"


@st.composite
def _literals(draw: st.DrawFn) -> str:
    text = draw(_FILL) + CANARY + draw(_FILL)
    kind = draw(st.sampled_from(["plain", "escaped", "dollar"]))
    if kind == "plain":
        return _plain(draw(_STANDARD), text)
    return _escaped(text) if kind == "escaped" else _dollar(draw(_TAG), text)


_COMMENT = st.recursive(
    st.sampled_from(["", "'", "''", '"', "$$", "--", "\n", "E'\\"]),
    lambda inner: st.lists(inner.map(lambda text: f"/*{text}*/"), max_size=3).map("'".join),
    max_leaves=4,
).map(lambda text: f"/* {text} */")
_LINE = _FILL.map(lambda text: f"--{text.replace(chr(10), '')}\n")
_QUOTED = _FILL.map(lambda text: '"a' + text.replace('"', '""') + '"')
_OTHER = st.one_of(
    _COMMENT,
    _LINE,
    _QUOTED,
    st.sampled_from(["1.5e3", "0x1F", "$1", "a$b$", "B'01'", "X'1f'", "t1", "->>", "E", "1e"]),
)


@given(
    st.lists(st.one_of(_literals(), _OTHER), min_size=1, max_size=8),
    st.sampled_from([" ", ", ", "\n", " || "]),
)
def test_no_value_of_a_statement_survives_whatever_stands_around_it(parts: list[str], between: str) -> None:
    assert CANARY not in without_literals(f"SELECT {between.join(parts)}")


@given(st.lists(st.one_of(_literals(), _OTHER), min_size=1, max_size=8), st.data())
def test_no_part_of_a_value_survives_where_the_server_cuts_the_statement(
    parts: list[str], data: st.DataObject
) -> None:
    statement = f"SELECT {' , '.join(parts)}"
    shown = without_literals(statement[: data.draw(st.integers(0, len(statement)))])
    assert not any(CANARY[n : n + 4] in shown for n in range(len(CANARY) - 3))


@given(st.text(alphabet=string.printable + "é\u2028", max_size=60))
def test_any_text_is_read_to_its_end(text: str) -> None:
    assert len(without_literals(text)) <= len(text) + 1
