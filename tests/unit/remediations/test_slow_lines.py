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
        ("LOG:  duration: 8123.4 ms  plan:", True),
        ("slow query: SELECT took 3.5 s", True),
        ("(8.123) SELECT * FROM orders WHERE at > now() - interval '1 second'; args=()", True),
        ("INFO -- :   \x1b[1m\x1b[36mOrder Load (8123.4ms)\x1b[0m  \x1b[1m\x1b[34mSELECT 1", True),
        ("DEBUG -- :   \x1b[1m\x1b[35m (2123.4ms)\x1b[0m  \x1b[1m\x1b[34mSELECT 1", True),
        ("INFO -- : (8.123456s) SELECT * FROM items", True),
        ("[8123.456ms] [rows:1] SELECT * FROM orders", True),
        ("\x1b[33m[8123.456ms] \x1b[33m[rows:-]\x1b[35m SELECT * FROM orders", True),
        ('[debug] QUERY OK source="orders" db=8123.4ms queue=0.1ms idle=9.1ms', True),
        ("HHH000117: HQL: select o from Order o, time: 8123ms, rows: 1", True),
        ("    8123456789 nanoseconds spent executing 3 JDBC statements;", True),
        ("1710000000000|8123|statement|connection 0|url jdbc:postgresql://db/shop|SELECT 1", True),
        ("Name:DATA_SOURCE, Time:8123, Success:True, Type:Prepared", True),
        ("DEBUG LoggerListener - Query executed           : Total: 8.123s", True),
        ("   Order Load (3.4ms)  SELECT 1", False),
        ("Executed DbCommand (12ms) [Parameters=[]]", False),
        ("# Query_time: 0.8  Lock_time: 0.000", False),
        ("Load (8123.4ms) of the page", False),
        ("(1.999) SELECT * FROM orders; args=()", False),
        ("served in (8.123) seconds", False),
        ("INFO -- : (0.912345s) SELECT * FROM items", False),
        ("[999.456ms] [rows:1] SELECT * FROM orders", False),
        ('[debug] QUERY OK source="orders" db=812.4ms queue=0.1ms', False),
        ("connected to redis db=5432", False),
        ("HHH000117: HQL: select o from Order o, time: 812ms, rows: 1", False),
        ("    812345678 nanoseconds spent executing 3 JDBC statements;", False),
        ("1710000000000|812|statement|connection 0|url jdbc:postgresql://db/shop|SELECT 1", False),
        ("Name:DATA_SOURCE, Time:812, Success:True, Type:Prepared", False),
    ],
)
def test_a_slow_query_is_told_by_its_time(line: str, slow: bool) -> None:
    assert slow_query(line) is slow
