"""A statement of somebody else's is shown without its values, whatever it looks like."""

from __future__ import annotations

import pytest

from app.domain.sql_text import shortened


@pytest.mark.parametrize(
    ("statement", "shown"),
    [
        ("SELECT * FROM t1 WHERE a = 'hunter2' AND b = 12.5", "SELECT * FROM t1 WHERE a = ? AND b = ?"),
        ("SELECT 'it''s hunter2' ,\n  c", "SELECT ? , c"),
        ("SELECT $1, $2", "SELECT $?, $?"),
        ("ALTER ROLE app PASSWORD 'hunter2'", "ALTER ROLE app PASSWORD ?"),
        ("UPDATE a SET p = $q$hunter2$q$ WHERE id = 1", "UPDATE a SET p = ?"),
        ("INSERT INTO a VALUES ('hunter2, cut off by the ser", "INSERT INTO a VALUES (?"),
        ("SELECT E'it\\'s hunter2', 'hunter2'", "SELECT E?"),
        ("SELECT 'a\\' , 'hunter2'", "SELECT ?"),
        ("SELECT 1 /* hunter2 */ -- hunter2", "SELECT ?"),
        ("SELECT U&'hunter2', x'AB', 0xFF", "SELECT ?, ?, ?"),
        ('SELECT "Mixed" FROM t', 'SELECT "Mixed" FROM t'),
        ("", ""),
    ],
)
def test_a_statement_has_no_literal_left(statement: str, shown: str) -> None:
    assert shortened(statement) == shown
    assert "hunter2" not in shortened(statement)


def test_a_statement_is_short() -> None:
    assert len(shortened("SELECT " + "a, " * 5_000)) < 200
