"""Roles with as few rights as the documentation gives them: the service runs, and cannot touch what it has said."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from app.domain.errors import RemediatorError
from app.domain.outcome import IncidentState
from app.store import audit, incidents, outbox, retention
from app.store.database import Store
from app.store.migrate import upgrade
from tests.contract.stores import CountingIds, HandClock, open_incident

DATABASE = Path(__file__).parents[2] / "docs" / "database.md"
DOCS = Path(__file__).parents[2] / "docs" / "operations.md"


def documented() -> tuple[str, str, str]:
    """The statements of the documentation: roles, the engine's schema, rights."""
    roles, engine, rights = re.findall(r"```sql\n(.*?)```", DOCS.read_text("utf-8"), re.DOTALL)
    return roles, engine, rights


@pytest.fixture
def urls(empty_postgres: str) -> dict[str, str]:
    """The database's URL as each role, set up as documented."""
    admin = make_url(empty_postgres)
    urls = {
        role: admin.set(username=f"remediator_{role}").render_as_string(hide_password=False)
        for role in ("migrate", "run", "read")
    }
    roles, engine, rights = documented()
    with psycopg.connect(empty_postgres, autocommit=True) as conn:
        known = {row[0] for row in conn.execute("SELECT rolname FROM pg_roles")}
        for statement in (roles + engine).split(";"):
            text = statement.strip().replace('"DATABASE"', f'"{admin.database}"')
            made = re.match(r"CREATE ROLE (\w+)", text)
            if text and not (made and made[1] in known):
                conn.execute(text.encode())
    upgrade(urls["migrate"])
    with psycopg.connect(urls["migrate"], autocommit=True) as conn:
        conn.execute(rights.encode())
    return urls


async def test_the_role_that_runs_does_all_of_its_work_and_cannot_touch_the_trail(
    urls: dict[str, str], clock: HandClock
) -> None:
    store = Store.open(urls["run"], clock=clock, ids=CountingIds())
    try:
        incident = await open_incident(store)
        await store.write(lambda tx: outbox.put(tx, "m", incident, "fired", {}))
        await store.write(lambda tx: outbox.sent(tx, "m", "C", "1"))
        await store.write(lambda tx: incidents.move(tx, incident, IncidentState.FIXED))
        await store.probe_write()
        for sql in (
            "UPDATE audit SET actor = 'bob'",
            "DELETE FROM audit",
            "TRUNCATE audit",
            "ALTER TABLE audit DISABLE TRIGGER ALL",
            "DROP TRIGGER audit_no_delete ON audit",
            "SELECT audit_cut(1, 2)",  # no gap says that they went
            "UPDATE alembic_version SET version_num = '0001'",
        ):
            with pytest.raises(RemediatorError):
                await store.write(lambda tx, sql=sql: tx.conn.exec_driver_sql(sql))  # type: ignore[misc]
        clock.forward(days=31)
        pruned = await store.write(lambda tx: retention.prune(tx, tx.now - timedelta(days=30), 100))
        assert pruned.audit > 0
        assert (await store.read(audit.verify)).ok
    finally:
        store.close()


async def test_the_role_that_reads_verifies_and_writes_nothing(
    urls: dict[str, str], clock: HandClock
) -> None:
    Store.open(urls["run"], clock=clock, ids=CountingIds()).close()
    store = Store.open(urls["read"], clock=clock, ids=CountingIds(), migrate=False)
    try:
        assert (await store.read(audit.verify)).ok
        with pytest.raises(RemediatorError):
            await open_incident(store)
    finally:
        store.close()


def test_the_role_for_databases_that_rules_name_can_be_made_as_documented(empty_postgres: str) -> None:
    (block,) = re.findall(r"```sql\n(.*?)```", DATABASE.read_text("utf-8"), re.DOTALL)
    with psycopg.connect(empty_postgres) as conn:
        conn.execute(block.encode())
        found = conn.execute(
            "SELECT r.rolname FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.roleid"
            " WHERE m.member = 'remediator'::regrole"
        ).fetchall()
        conn.rollback()  # roles are the whole server's
    assert {name for (name,) in found} == {"pg_read_all_stats", "pg_signal_backend"}
