"""Records beside the chain, in the place of another, or without triggers: found by `verify`, and told nowhere."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from app.domain.errors import RemediatorError
from app.store import audit, records, standing, trail
from app.store.audit import NO_KEYS, AuditKeys
from app.store.database import Store, StoreHooks
from app.store.trail import AuditReport
from app.store.tx import Tx
from tests.contract.stores import CountingIds, HandClock, Stores, delivery, firing
from tests.contract.test_store_audit import fill, noting, tamper, verified

INSERTED = "INSERT INTO audit SELECT {}, at, 'incident.moved', 'inc_1', 'run_1', 'bob', data, hash, page FROM audit WHERE seq = 1"
"""A forged record with that number."""

GUARDED = {
    "an update": "UPDATE audit SET actor = 'bob' WHERE seq = 4",
    "a deletion": "DELETE FROM audit WHERE seq = 4",
    "a deletion of all": "DELETE FROM audit",
    "an insertion before the first": INSERTED.format(0),
    "an insertion below the first": INSERTED.format(-5),
    "an insertion in the place of another": INSERTED.format(4),
}


@pytest.mark.parametrize("case", GUARDED)
async def test_the_database_itself_refuses_to_change_or_delete_a_record(store: Store, case: str) -> None:
    await fill(store)
    with pytest.raises(RemediatorError) as refused:
        await store.write(lambda tx: tx.conn.exec_driver_sql(GUARDED[case]))
    assert "append-only" in str(refused.value)
    assert (await verified(store)).checked == 10


@pytest.mark.parametrize("way", ["REPLACE", "INSERT OR REPLACE", "INSERT OR IGNORE", "UPDATE OR REPLACE"])
@pytest.mark.parametrize("recursive", ["OFF", "ON"])
async def test_sqlite_replaces_no_record_whatever_it_is_asked(
    tmp_path: Path, clock: HandClock, way: str, recursive: str
) -> None:
    """REPLACE deletes the row in the way without asking a trigger of deletions, unless `recursive_triggers` says so."""
    file = tmp_path / "store.db"
    store = Store.open(f"sqlite:///{file}", clock=clock, ids=CountingIds())
    await fill(store)
    sql = f"{way} INTO audit SELECT seq, at, kind, incident_id, run_id, 'evil', data, hash, page FROM audit WHERE seq = 4"
    with closing(sqlite3.connect(file, isolation_level=None)) as db:
        db.execute(f"PRAGMA recursive_triggers = {recursive}")
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            db.execute("UPDATE OR REPLACE audit SET seq = 5 WHERE seq = 4" if "UPDATE" in way else sql)
    assert (await verified(store)) == AuditReport(ok=True, checked=10, first_seq=1, last_seq=10)
    store.close()


OUTSIDE = {
    "far below the first": (INSERTED.format(-5), -5, "out of place"),
    "just before the first": (INSERTED.format(0), 0, "out of place"),
    "after the head": (INSERTED.format(11), 11, "changed"),
    "far after the head": (INSERTED.format(5_000_000), 11, "record 11 is missing"),
    "the lowest number there is": (INSERTED.format(-(2**63)), -(2**63), "out of place"),
}


@pytest.mark.parametrize("key", ["", "k" * 32])
@pytest.mark.parametrize("case", OUTSIDE)
async def test_a_record_outside_of_the_chain_is_found_and_nowhere_told(
    make_store: Stores, case: str, key: str
) -> None:
    """What is shown is what is verified, without a key, with one and against a head; `export` shows it as evidence."""
    sql, seq, problem = OUTSIDE[case]
    keys = AuditKeys.parse(key) if key else NO_KEYS
    store = make_store(hooks=StoreHooks(keys=keys))
    for number in range(10):
        await store.write(noting(number, incident_id="inc_1", run_id="run_1"))
    known = await store.read(trail.head)
    await tamper(store, sql)
    for given in (None, known):
        report = await store.read(lambda conn, given=given: trail.verify(conn, keys, given))  # type: ignore[misc]
        assert (report.ok, report.at_seq) == (False, seq)
        assert problem in report.problem
    told = await store.read(
        lambda conn: [
            *audit.for_run(conn, "run_1"),
            *audit.each_of_incident(conn, "inc_1"),
            *audit.page(conn, -(2**63) + 1, 100),
            *records.page(conn, records.Sought(), 0, 100).rows,
            *records.page(conn, records.Sought(run="run_1"), 0, 100).rows,
            *records.page(conn, records.Sought(incident="inc_1", actor="bob"), 0, 100).rows,
        ]
    )
    assert {event.actor for event in told} == {"ann"}
    assert len(told) == 50
    assert await store.read(lambda conn: standing.changes(conn, -10, "inc_1")) == 0
    exported = await store.read(lambda conn: [row["actor"] for row in trail.export(conn)])
    assert exported.count("bob") == 1


async def test_a_record_that_stands_there_twice_is_found(store: Store) -> None:
    """Whoever made the table anew without its key can give two records one number, also where `verify` reads on."""

    def twice(tx: Tx) -> None:
        for sql in (
            "CREATE TABLE kept AS SELECT * FROM audit",
            "DROP TABLE audit",
            "ALTER TABLE kept RENAME TO audit",
            "INSERT INTO audit SELECT * FROM audit WHERE seq = 1000",
        ):
            tx.conn.exec_driver_sql(sql)

    await store.write(lambda tx: [noting(number)(tx) for number in range(1_000)])
    await store.write(twice)
    report = await verified(store)
    assert (report.ok, report.at_seq) == (False, 1_000)


FOREIGN = {
    "trigger": (
        "CREATE TRIGGER audit_other AFTER INSERT ON audit BEGIN SELECT 1; END",
        "CREATE TRIGGER audit_other BEFORE INSERT ON audit FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    ),
    "trigger on the head": (
        "CREATE TRIGGER audit_other AFTER UPDATE ON Audit_Chain BEGIN SELECT 1; END",
        "CREATE TRIGGER audit_other BEFORE UPDATE ON audit_chain FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    ),
    "rule": ("", "CREATE RULE audit_other AS ON INSERT TO audit DO ALSO NOTHING"),
    "policy": ("", "CREATE POLICY audit_other ON audit USING (seq > 1)"),
    "child table": ("", "CREATE TABLE audit_other () INHERITS (audit)"),
}


@pytest.mark.parametrize("case", FOREIGN)
async def test_verify_names_a_trigger_a_rule_a_policy_or_a_child_table_that_is_none_of_ours(
    store: Store, case: str
) -> None:
    await fill(store, 3)
    assert (await verified(store)).foreign == ()
    sqlite, postgres = FOREIGN[case]
    if change := sqlite if store.backend == "sqlite" else postgres:
        await store.write(lambda tx: tx.conn.exec_driver_sql(change))
        report = await verified(store)
        name = f"{case.removesuffix(' on the head')} audit_other"
        assert (report.ok, report.at_seq, report.unguarded, report.foreign) == (False, None, (), (name,))
        assert report.problem == f"what is written may be changed on its way: not ours are {name}"


async def test_verify_names_row_security_which_hides_records(store: Store) -> None:
    if store.backend == "sqlite":
        return  # which has none
    await fill(store, 3)
    await store.write(lambda tx: tx.conn.exec_driver_sql("ALTER TABLE audit ENABLE ROW LEVEL SECURITY"))
    assert (await verified(store)).foreign == ("row security of audit",)


@pytest.mark.parametrize("whose", ["DATABASE", "ROLE", "ROLE IN DATABASE"])
async def test_verify_names_a_setting_that_switches_triggers_off(store: Store, whose: str) -> None:
    if store.backend == "sqlite":
        return  # which has none
    await fill(store, 3)

    def alter(change: str) -> Callable[[Tx], None]:
        def work(tx: Tx) -> None:
            database = f'DATABASE "{tx.conn.exec_driver_sql("SELECT current_database()").scalar()}"'
            altered = whose.replace("DATABASE", database).replace("ROLE", "ROLE CURRENT_USER")
            tx.conn.exec_driver_sql(f"ALTER {altered} {change} session_replication_role")

        return work

    assert (await verified(store)).ok
    await store.write(alter("SET session_replication_role = replica --"))
    try:
        report = await verified(store)
    finally:
        await store.write(alter("RESET"))
    assert (report.ok, report.unguarded) == (False, ("setting session_replication_role",))


UNGUARDED = {
    "dropped": ("", ""),
    "made anew to say nothing": (
        "CREATE TRIGGER audit_no_insert BEFORE INSERT ON audit WHEN 0 BEGIN SELECT RAISE(ABORT, 'x'); END",
        (
            "CREATE TRIGGER audit_no_insert BEFORE INSERT ON audit FOR EACH ROW WHEN (false) "
            "EXECUTE FUNCTION audit_check_insert()"
        ),
    ),
    "switched off": ("", "ALTER TABLE audit DISABLE TRIGGER audit_no_insert"),
    "its function empty": (
        "",
        "CREATE OR REPLACE FUNCTION audit_check_insert() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$",
    ),
}


@pytest.mark.parametrize("case", UNGUARDED)
async def test_verify_says_when_a_trigger_is_gone(store: Store, case: str) -> None:
    await fill(store, 3)
    assert (await verified(store)).unguarded == ()
    sqlite, postgres = UNGUARDED[case]
    change = sqlite if store.backend == "sqlite" else postgres
    if store.backend == "sqlite" or not change.startswith(("ALTER", "CREATE OR")):
        on = "" if store.backend == "sqlite" else " ON audit"
        await store.write(lambda tx: tx.conn.exec_driver_sql(f"DROP TRIGGER audit_no_insert{on}"))
    if change:
        await store.write(lambda tx: tx.conn.exec_driver_sql(change))
    report = await verified(store)
    assert (report.ok, report.at_seq, report.unguarded) == (False, None, ("audit_no_insert",))
    assert (
        report.problem == "nothing keeps records from being changed: missing or altered are audit_no_insert"
    )


async def test_an_incident_that_leads_past_its_records_is_found(store: Store) -> None:
    """What is told of an incident begins at the page that its row names."""
    await store.ingest(delivery(firing("f1")))
    assert (await verified(store)).ok
    await store.write(lambda tx: tx.conn.exec_driver_sql("UPDATE incidents SET page = 99999"))
    report = await verified(store)
    assert not report.ok
    assert "is not told any more" in report.problem


async def test_an_index_that_leads_past_records_is_found(tmp_path: Path, clock: HandClock) -> None:
    """Made for other values than the table has, and described as before."""
    file = tmp_path / "store.db"
    store = Store.open(f"sqlite:///{file}", clock=clock, ids=CountingIds())
    await store.write(noting(1, incident_id="inc_1"))
    store.close()
    with closing(sqlite3.connect(file, isolation_level=None)) as db:
        asked = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = 'audit' AND sql LIKE '%incident_id%'"
        name, sql = db.execute(asked).fetchone()
        forged = sql.replace("(page, incident_id", "(page, (incident_id || 'x')")
        assert forged != sql
    for text in (forged, sql):
        with closing(sqlite3.connect(file, isolation_level=None)) as db:
            db.execute("PRAGMA writable_schema = ON")
            db.execute("UPDATE sqlite_master SET sql = ? WHERE name = ?", (text, name))
            (version,) = db.execute("PRAGMA schema_version").fetchone()
            db.execute(f"PRAGMA schema_version = {version + 1}")
        if text is forged:
            with closing(sqlite3.connect(file, isolation_level=None)) as db:
                db.execute(f"REINDEX {name}")
    again = Store.open(f"sqlite:///{file}", clock=clock, ids=CountingIds())
    report = await verified(again)
    assert not report.ok
    assert "indexes differ" in report.problem
    again.close()


async def test_a_verification_tells_how_far_it_has_come(
    make_store: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_store()
    await fill(store)
    monkeypatch.setattr(trail, "_TOLD_EACH", 2)
    told: list[int] = []
    report = await store.read(lambda conn: trail.verify(conn, told=told.append))
    assert told == list(range(2, report.checked + 1, 2)) != []
