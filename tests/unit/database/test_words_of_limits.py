"""What the server ends or refuses by a setting of its own is told with that setting: to try again, or to restart it, would not help."""

from __future__ import annotations

import psycopg
import pytest

from app.database.connect import kind, said
from app.domain.database import ABSENT, CLOSED, EXHAUSTED, LIMITED

LIMITS = {
    psycopg.errors.IdleInTransactionSessionTimeout: "idle_in_transaction_session_timeout",
    psycopg.errors.IdleSessionTimeout: "idle_session_timeout",
    psycopg.errors.lookup("25P04"): "transaction_timeout",
}


@pytest.mark.parametrize("error", LIMITS)
def test_a_limit_that_ended_a_session_is_named_and_nobody_is_told_to_try_again(
    error: type[psycopg.Error],
) -> None:
    told = kind(error("canary"))
    assert f"its setting {LIMITS[error]}, which is too short" in told
    assert "try again" not in told
    assert "canary" not in told


REFUSED = {
    "sorry, too many clients already": (EXHAUSTED, "no free connection"),
    "remaining connection slots are reserved for roles with the SUPERUSER attribute": (EXHAUSTED, "no free"),
    "remaining connection slots are reserved for non-replication superuser connections": (
        EXHAUSTED,
        "no free",
    ),
    'too many connections for role "canary"': (LIMITED, "CONNECTION LIMIT of the role"),
    'too many connections for database "canary"': (LIMITED, "CONNECTION LIMIT of the database"),
    "no more connections allowed (max_client_conn)": (LIMITED, "max_client_conn"),
    'database "canary" is not currently accepting connections': (CLOSED, "ALLOW_CONNECTIONS false"),
    'database "canary" does not exist': (ABSENT, "no database of this name"),
    'role "canary" does not exist': ("login_refused", "refuses the login"),
    "the database system is not yet accepting connections": ("unreachable", "starting"),
}


@pytest.mark.parametrize("words", REFUSED)
def test_each_limit_has_a_code_of_its_own_and_is_named(words: str) -> None:
    wanted, part = REFUSED[words]
    code, told = said(
        psycopg.OperationalError(f'connection to server at "db", port 5432 failed: FATAL:  {words}')
    )
    assert code == wanted
    assert part in told
    assert "canary" not in told
