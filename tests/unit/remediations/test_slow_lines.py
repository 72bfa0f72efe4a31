"""A line that tells how long a statement took is a slow query from two seconds on, in the words of each framework."""

from __future__ import annotations

import pytest

from remediations.evidence.natures import slow_query


@pytest.mark.parametrize(
    ("line", "slow"),
    [
        ('DEBUG -- :   Order Load (8123.4ms)  SELECT "orders".* FROM "orders"', True),
        ("Executed DbCommand (8,123ms) [Parameters=[], CommandType='Text']", True),
        ("# Query_time: 8.123  Lock_time: 0.000 Rows_sent: 1", True),
        ("LOG:  duration: 8123.4 ms  statement: select 1", True),
        ("slow query: SELECT took 3.5 s", True),
        ("   Order Load (3.4ms)  SELECT 1", False),
        ("Executed DbCommand (12ms) [Parameters=[]]", False),
        ("# Query_time: 0.8  Lock_time: 0.000", False),
        ("Load (8123.4ms) of the page", False),
    ],
)
def test_a_slow_query_is_told_by_its_time(line: str, slow: bool) -> None:
    assert slow_query(line) is slow
