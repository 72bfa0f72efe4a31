"""Roles with as few rights as the documentation gives them: the service runs, and cannot touch what it has said."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url
from structlog.testing import capture_logs

from app.doctor.database import rights
from app.domain.errors import BadInput, RemediatorError, StoreUnavailable
from app.domain.events import EventKind
from app.domain.outcome import IncidentState
from app.engine.context import RunContext
from app.engine.durable import DurableEngine
from app.store import audit, incidents, outbox, retention, trail
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
        await store.write(lambda tx: tx.put("m", incident, "fired", {}))
        await store.write(lambda tx: outbox.sent(tx, "m", "C", "1"))
        await store.write(lambda tx: incidents.move(tx, incident, IncidentState.FIXED))
        await store.probe_write()
        for sql in (
            "UPDATE audit SET actor = 'bob'",
            "DELETE FROM audit",
            "TRUNCATE audit",
            "ALTER TABLE audit DISABLE TRIGGER ALL",
            "DROP TRIGGER audit_no_delete ON audit",
            "SELECT audit_cut(1, 2)",  # their incident is still here
            "UPDATE alembic_version SET version_num = '0001'",
        ):
            with pytest.raises(RemediatorError):
                await store.write(lambda tx, sql=sql: tx.conn.exec_driver_sql(sql))  # type: ignore[misc]
        clock.forward(days=31)
        pruned = await store.write(lambda tx: retention.prune(tx, tx.now - timedelta(days=30), 100))
        assert pruned.audit > 0
        assert (await store.read(trail.verify)).ok
    finally:
        store.close()


async def test_the_role_that_reads_verifies_and_writes_nothing(
    urls: dict[str, str], clock: HandClock
) -> None:
    Store.open(urls["run"], clock=clock, ids=CountingIds()).close()
    store = Store.open(urls["read"], clock=clock, ids=CountingIds(), migrate=False)
    try:
        assert (await store.read(trail.verify)).ok
        with pytest.raises(RemediatorError):
            await open_incident(store)
    finally:
        store.close()


CHAIN = "UPDATE audit_chain SET "
FORGED = "INSERT INTO audit SELECT {}, at, kind, incident_id, run_id, 'mallory', data, hash, page FROM audit WHERE seq = 1"
ENDS = {
    "the anchor moved": f"{CHAIN}anchor_seq = 1000000",
    "the anchor's hash changed": f"{CHAIN}anchor_hash = 'f'",
    "the head moved back": f"{CHAIN}seq = 1, hash = (SELECT hash FROM audit WHERE seq = 1)",
    "the chain reset": f"{CHAIN}seq = 0, hash = repeat('0', 64)",
    "the head moved past the last record": f"{CHAIN}seq = seq + 1",
    "another hash of the head": f"{CHAIN}hash = repeat('0', 64)",
    "the chain deleted": "DELETE FROM audit_chain",
    "another chain": "INSERT INTO audit_chain SELECT 2, seq, hash, anchor_seq, anchor_hash FROM audit_chain",
    "a gap made up": "INSERT INTO audit_gaps SELECT 2, 2, hash FROM audit WHERE seq = 2",
    "young records cut": "SELECT audit_cut(1, 2)",
    "the newest record cut": "SELECT audit_cut(1, (SELECT max(seq) FROM audit))",
    "nothing cut": "SELECT audit_cut(2, 1)",
    "a record before the first": FORGED.format(0),
    "a function of its own": "CREATE OR REPLACE FUNCTION audit_check_gaps() RETURNS trigger LANGUAGE sql AS 'SELECT 1'",
}
SHADOW = "CREATE TEMP TABLE audit_chain AS SELECT 1 AS id, -1000::bigint AS seq, 1000::bigint AS anchor_seq"
GENEROUS = """GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO remediator_run;
REVOKE UPDATE, DELETE, TRUNCATE ON audit FROM remediator_run"""
"""What was documented before the triggers of the chain: whoever has not run the statements anew since then."""


def _refused(conn: psycopg.Connection, sql: str) -> None:
    with pytest.raises((psycopg.errors.RestrictViolation, psycopg.errors.InsufficientPrivilege)):
        conn.execute(sql.encode())


@pytest.mark.parametrize("rights", ["", GENEROUS], ids=["as documented", "by the triggers alone"])
async def test_the_role_that_runs_moves_neither_head_nor_anchor_nor_gaps(
    urls: dict[str, str], clock: HandClock, rights: str
) -> None:
    """A removal by `UPDATE audit_chain` and `audit_cut`, or a chain reset and written anew, was told as a whole trail."""
    clock.time = datetime.now(UTC)  # the database's own clock says how old a record is
    with psycopg.connect(urls["migrate"], autocommit=True) as conn:
        conn.execute(rights.encode())
    store = Store.open(urls["run"], clock=clock, ids=CountingIds())
    incident = await open_incident(store)
    await store.write(lambda tx: incidents.move(tx, incident, IncidentState.FIXED))
    await store.write(lambda tx: tx.conn.exec_driver_sql("DELETE FROM incidents"))
    known = await store.read(trail.head)
    with psycopg.connect(urls["run"], autocommit=True) as conn:
        for sql in ENDS.values():
            _refused(conn, sql)
        conn.execute(SHADOW.encode())
        for sql in ENDS.values():
            if "audit_chain" not in sql:  # that would be its own table
                _refused(conn, sql)
    report = await store.read(lambda conn: trail.verify(conn, known=known))
    assert (report.ok, report.removed, report.last_seq) == (True, 0, known.seq)
    await store.probe_write()
    await open_incident(store, "after")
    assert (await store.read(trail.verify)).ok
    store.close()


async def test_a_cut_joins_its_gaps_and_keeps_what_an_incident_needs(
    urls: dict[str, str], clock: HandClock
) -> None:
    """The function keeps the gaps as the trail's own arithmetic does, whatever the order of the cuts."""
    store = Store.open(urls["run"], clock=clock, ids=CountingIds())
    for n in range(12):
        await store.write(lambda tx, n=n: tx.audit(EventKind.CLICKED, actor=str(n)))  # type: ignore[misc]

    async def cut(first: int, last: int) -> list[tuple[int, int]]:
        await store.write(lambda tx: tx.conn.exec_driver_sql(f"SELECT audit_cut({first}, {last})"))
        return [(gap.first, gap.last) for gap in await store.read(trail.gaps)]

    assert await cut(4, 5) == [(4, 5)]
    assert await cut(8, 8) == [(4, 5), (8, 8)]
    assert await cut(6, 6) == [(4, 6), (8, 8)]
    assert await cut(7, 7) == [(4, 8)]
    assert await cut(1, 2) == [(1, 2), (4, 8)]
    assert await cut(3, 3) == [(1, 8)]
    assert await cut(1, 8) == [(1, 8)]
    assert await cut(9, 10) == [(1, 10)]
    report = await store.read(trail.verify)
    assert "no record of a removal tells of it" in report.problem
    await store.write(lambda tx: tx.audit(EventKind.PRUNED, data=trail.told(tx.conn)))
    report = await store.read(trail.verify)
    assert (report.ok, report.removed, report.first_seq) == (True, 10, 11)
    incident = await open_incident(store)
    (seq,) = await store.read(lambda conn: [next(audit.each_of_incident(conn, incident)).seq])
    with pytest.raises(RemediatorError, match="append-only"):
        await cut(seq, seq)
    store.close()


async def test_the_role_that_reads_sees_no_values_and_no_key(urls: dict[str, str], clock: HandClock) -> None:
    Store.open(urls["run"], clock=clock, ids=CountingIds()).close()
    with psycopg.connect(urls["read"], autocommit=True) as conn:
        for table in ("pre_images", "installation"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                conn.execute(f"SELECT * FROM {table}".encode())
    store = Store.open(urls["read"], clock=clock, ids=CountingIds(), migrate=False)
    assert (await store.read(trail.verify)).ok
    with pytest.raises(StoreUnavailable) as refused:
        _ = store.vault.key
    assert refused.value.code == "no_digest_key"
    store.close()


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ("ALTER TABLE audit_chain DISABLE TRIGGER audit_chain_ends", "audit_chain_ends"),
        ("DROP TRIGGER audit_gaps_by_cut ON audit_gaps", "audit_gaps_by_cut"),
        ("ALTER FUNCTION audit_check_insert() RESET search_path", "audit_no_insert"),
        ("ALTER FUNCTION audit_cut(bigint, bigint) SET search_path = pg_temp", "audit_cut"),
        (
            "CREATE OR REPLACE FUNCTION audit_cut(first bigint, last bigint) RETURNS void LANGUAGE sql AS 'SELECT 1'",
            "audit_cut",
        ),
    ],
)
async def test_verify_says_when_a_guard_of_the_ends_is_gone(
    urls: dict[str, str], clock: HandClock, change: str, name: str
) -> None:
    store = Store.open(urls["run"], clock=clock, ids=CountingIds())
    await open_incident(store)
    with psycopg.connect(urls["migrate"], autocommit=True) as conn:
        conn.execute(change.encode())
    report = await store.read(trail.verify)
    assert (report.ok, report.unguarded) == (False, (name,))
    store.close()


def as_role(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as conn:
        for statement in statements:
            conn.execute(statement.encode())


async def test_a_right_that_one_table_lacks_makes_the_store_not_ready_and_is_logged(
    urls: dict[str, str], clock: HandClock
) -> None:
    store = Store.open(urls["run"], clock=clock, ids=CountingIds())
    try:
        await store.probe_write()  # that this was well a moment ago counts no more once a write has failed
        as_role(urls["migrate"], "REVOKE INSERT ON incidents FROM remediator_run")
        with capture_logs() as logs, pytest.raises(StoreUnavailable, match="permission denied for table"):
            await open_incident(store)
        told = {"sqlstate": "42501", "table": "incidents", "error": "InsufficientPrivilege"}
        assert [(line["log_level"], {k: line[k] for k in told}) for line in logs][:1] == [("error", told)]
        with pytest.raises(StoreUnavailable, match="lacks INSERT on incidents"):
            await store.probe_write()
        as_role(urls["migrate"], "GRANT INSERT ON incidents TO remediator_run")
        as_role(
            urls["migrate"], "REVOKE DELETE ON samples FROM remediator_run"
        )  # retention's, which lets alerts in
        clock.forward(seconds=6)
        await store.probe_write()
    finally:
        store.close()


AS_DOCUMENTED = [
    ("REVOKE INSERT ON incidents FROM remediator_run", "store_right_missing",
     "GRANT INSERT ON public.incidents TO remediator_run"),
    ("REVOKE DELETE ON samples FROM remediator_run", "store_right_missing",
     "GRANT DELETE ON public.samples TO remediator_run"),
    ("REVOKE UPDATE (hash) ON audit_chain FROM remediator_run", "store_right_missing",
     "GRANT UPDATE (seq, hash) ON public.audit_chain TO remediator_run"),
    ("REVOKE EXECUTE ON FUNCTION audit_cut(bigint, bigint) FROM remediator_run", "store_right_missing",
     "GRANT EXECUTE ON FUNCTION public.audit_cut(bigint, bigint) TO remediator_run"),
    ("REVOKE USAGE ON ALL SEQUENCES IN SCHEMA public FROM remediator_run", "store_right_missing",
     "GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO remediator_run"),
    ("GRANT UPDATE, DELETE ON audit TO remediator_run", "audit_changeable",
     "REVOKE UPDATE, DELETE ON public.audit FROM remediator_run"),
    ("ALTER TABLE audit DISABLE TRIGGER audit_no_update", "audit_guard_missing",
     "ALTER TABLE audit ENABLE TRIGGER audit_no_update"),
]  # fmt: skip


async def _examined(url: str, clock: HandClock) -> list[tuple[str, str, str]]:
    store = Store.open(url, clock=clock, ids=CountingIds(), migrate=False)
    try:
        return [(f.level.value, f.code, f.fix.replace('"', "")) for f in await rights(store)]
    finally:
        store.close()


async def test_the_doctor_finds_nothing_wrong_with_the_roles_as_documented(
    urls: dict[str, str], clock: HandClock
) -> None:
    assert await _examined(urls["run"], clock) == []


@pytest.mark.parametrize(("change", "code", "fix"), AS_DOCUMENTED, ids=[c for c, _, _ in AS_DOCUMENTED])
async def test_the_doctor_names_each_right_too_little_or_too_much_with_the_line_to_run(
    urls: dict[str, str], clock: HandClock, change: str, code: str, fix: str
) -> None:
    as_role(urls["migrate"], change)
    level = "warn" if code == "audit_changeable" else "fail"
    assert await _examined(urls["run"], clock) == [(level, code, fix)]
    as_role(urls["migrate"], fix)
    assert await _examined(urls["run"], clock) == []


async def test_the_doctor_names_an_engine_whose_schema_is_somebody_elses(
    urls: dict[str, str], empty_postgres: str, clock: HandClock
) -> None:
    as_role(empty_postgres, "CREATE SCHEMA dbos")
    ((level, code, fix),) = await _examined(urls["run"], clock)
    assert (level, code) == ("fail", "engine_schema_closed")
    as_role(empty_postgres, fix.partition(",")[0])
    assert await _examined(urls["run"], clock) == []


async def test_the_doctor_says_that_the_role_owns_the_tables(urls: dict[str, str], clock: HandClock) -> None:
    found = await _examined(urls["migrate"], clock)
    assert ("warn", "store_role_owns") in [(level, code) for level, code, _ in found]


async def test_an_engine_that_may_not_make_its_schema_is_one_clear_line(
    urls: dict[str, str], empty_postgres: str, clock: HandClock, caplog: pytest.LogCaptureFixture
) -> None:
    name = make_url(empty_postgres).database
    as_role(empty_postgres, f'REVOKE CREATE ON DATABASE "{name}" FROM remediator_run')
    assert await _examined(urls["run"], clock) == [
        ("fail", "engine_schema_denied", f"GRANT CREATE ON DATABASE {name} TO remediator_run")
    ]

    async def nothing(_context: RunContext, _run: str) -> None:
        """No workflow is started."""

    engine = DurableEngine(urls["run"], nothing, name="replica")
    try:
        with pytest.raises(BadInput, match="GRANT CREATE ON DATABASE") as caught:
            await engine.launch()
    finally:
        await engine.close()
    assert caught.value.code == "engine_denied"
    assert "Traceback" not in caplog.text


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
