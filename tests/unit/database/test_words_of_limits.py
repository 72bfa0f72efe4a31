"""What the server ends by a setting of its own is told with that setting: to try again would not help."""

from __future__ import annotations

import psycopg
import pytest

from app.database.connect import kind

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
