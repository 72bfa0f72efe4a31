"""Servers and sessions of every encoding, on a real PostgreSQL: what is text is text, and one stranger's bytes hide nobody else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import psycopg
import pytest

from app.domain.database import Condition, Why
from app.sim.databases import DatabaseClients
from tests.contract.database.sides import CLIENT, LOGIN, RealSide, ids, look, of
from tests.contract.postgres import Postgres, PostgresMissingError
from tests.contract.stores import missing

CANARY = "qzxvalue"


@pytest.fixture(params=["UTF8", "SQL_ASCII"])
async def encoded(
    request: pytest.FixtureRequest, postgres_server: Callable[[], Postgres]
) -> AsyncIterator[RealSide]:
    """A database of this encoding; SQL_ASCII is what `initdb --no-locale` makes."""
    try:
        made = RealSide(postgres_server(), request.param)
    except PostgresMissingError as error:
        missing(str(error), request)
        raise
    yield made
    await made.close()


def leaky() -> DatabaseClients:
    return DatabaseClients(
        user=CLIENT,
        application="leaky",
        state="idle in transaction",
        query=f"SELECT a, '{CANARY}' FROM stock",
    )


async def _yes() -> None:
    return


async def _is_read_as_any_other(side: RealSide) -> None:
    await side.start(leaky())
    await side.pause()
    seen = await look(side)
    (session,) = of(seen, "leaky")
    assert (session.user, session.database, session.state) == (
        CLIENT,
        side.at.database,
        "idle in transaction",
    )
    assert session.query == "SELECT a, ? FROM stock"
    assert CANARY not in repr(seen)
    told = await side.databases.terminate(
        side.cluster, side.at, ids([session]), Condition(Why.IDLE, 0.1), _yes
    )
    assert list(told) == ids([session])


async def test_a_database_of_any_encoding_is_read_alike(encoded: RealSide) -> None:
    await _is_read_as_any_other(encoded)


async def test_a_login_whose_settings_name_no_encoding_is_read_as_any_other(real: RealSide) -> None:
    with psycopg.connect(real.url, autocommit=True) as conn:
        conn.execute(f"ALTER ROLE {LOGIN} SET client_encoding = 'SQL_ASCII'".encode())
    await _is_read_as_any_other(real)


async def test_a_session_with_bytes_of_another_encoding_hides_nobody(encoded: RealSide) -> None:
    await encoded.start(leaky())
    with encoded.stranger("LATIN1", f"SELECT '{CANARY} caf\xe9', 1 AS \"na\xefve\"") as stranger:
        seen = await look(encoded)
        stranger.rollback()
    (session,) = of(seen, "leaky")
    assert session.query == "SELECT a, ? FROM stock"
    assert [s.query for s in seen.sessions if "AS" in s.query and s.user == "tester"] == [
        'SELECT ?, ? AS "na\ufffdve"'
    ]
    assert CANARY not in repr(seen)


async def test_roles_and_databases_named_in_another_encoding_hide_nothing(encoded: RealSide) -> None:
    await encoded.start(leaky())
    with encoded.stranger("LATIN1", "SELECT 1") as stranger:
        stranger.commit()
        stranger.autocommit = True
        stranger.execute('CREATE ROLE "caf\xe9"')
        stranger.execute('CREATE DATABASE "na\xefve" OWNER "caf\xe9" TEMPLATE template0')
        try:
            server = await encoded.databases.copies.look(encoded.cluster, encoded.at, encoded.at.database)
            tables = await encoded.databases.tables.look(encoded.cluster, encoded.at)
            await look(encoded)
        finally:
            stranger.execute('DROP DATABASE "na\xefve"')
            stranger.execute('DROP ROLE "caf\xe9"')
    names = {d.name: d.owner for d in server.databases}
    assert names["na\ufffdve"] == "caf\ufffd"
    assert encoded.at.database in names
    assert [t.id.name for t in tables.tables] == ["stock"]
