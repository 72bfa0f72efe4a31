"""A limit of the login's role or of its database, told by a real PostgreSQL that has connections free."""

from __future__ import annotations

import psycopg
import pytest

from app.domain.database import CLOSED, LIMITED
from app.domain.errors import ProbeUnavailable
from tests.contract.database.sides import LOGIN, RealSide, look


async def test_a_limit_of_role_or_database_is_not_one_of_the_server(real: RealSide) -> None:
    await real.start()
    database = f'DATABASE "{real.at.database}"'
    limits = (
        (f"ROLE {LOGIN} CONNECTION LIMIT 0", LIMITED, "CONNECTION LIMIT of the role"),
        (
            f"ROLE {LOGIN} CONNECTION LIMIT -1; ALTER {database} CONNECTION LIMIT 0",
            LIMITED,
            "of the database",
        ),
        (f"{database} ALLOW_CONNECTIONS false", CLOSED, "ALLOW_CONNECTIONS false"),
    )
    with psycopg.connect(f"{real.url.rpartition('/')[0]}/postgres", autocommit=True) as conn:
        try:
            for limit, code, words in limits:
                conn.execute(f"ALTER {limit}".encode())
                with pytest.raises(ProbeUnavailable, match=words) as raised:
                    await look(real)
                assert raised.value.code == code
        finally:
            conn.execute(
                f"ALTER ROLE {LOGIN} CONNECTION LIMIT -1; ALTER {database} ALLOW_CONNECTIONS true".encode()
            )
