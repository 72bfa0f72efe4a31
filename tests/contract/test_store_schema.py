"""Schema and migrations: one truth in two forms, safe to run by several at once, and the indexes that keep it fast."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine, text

from app.domain.errors import StoreUnavailable
from app.store import escalations, ingest_rows, people, schedules
from app.store.connection import parse, writer_engine
from app.store.database import Store
from app.store.migrate import newest, upgrade
from app.store.schema import audit, deliveries, episodes, incidents, metadata, outbox, rejected_alerts, runs
from tests.contract.stores import CountingIds, HandClock

OWN_TABLES = (escalations, people, schedules)
"""Modules that bring tables of their own into the schema once they are imported, as the service does."""


def definitions(url: str) -> dict[str, str]:
    """SQLite's own text of every table and index."""
    engine = create_engine(url)
    with engine.connect() as conn:
        rows = conn.execute(text("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")).all()
    engine.dispose()
    return {name: " ".join(sql.split()) for name, sql in rows if name != "alembic_version"}


def test_the_migrations_make_exactly_the_schema_on_sqlite(tmp_path: Path) -> None:
    migrated, declared = (f"sqlite:///{tmp_path / name}" for name in ("migrated.db", "declared.db"))
    upgrade(migrated)
    engine = create_engine(declared)
    metadata.create_all(engine)
    engine.dispose()
    assert definitions(migrated) == definitions(declared)


def test_the_migrated_database_differs_in_nothing_that_alembic_sees(database_url: str) -> None:
    upgrade(database_url)
    engine = writer_engine(parse(database_url))
    with engine.connect() as conn:
        context = MigrationContext.configure(conn, opts={"compare_type": True})
        differences = compare_metadata(context, metadata)
    engine.dispose()
    assert differences == []


def test_several_processes_may_upgrade_at_once(database_url: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(upgrade, [database_url] * 4)) == {newest()}


@pytest.mark.parametrize(("revision", "code"), [(None, "schema_old"), ("9999", "schema_unknown")])
def test_a_schema_of_another_version_is_refused(
    database_url: str, clock: HandClock, revision: str | None, code: str
) -> None:
    """Too old without permission to migrate; too new in any case."""
    if revision is not None:
        upgrade(database_url)
        engine = writer_engine(parse(database_url))
        with engine.begin() as conn:
            conn.execute(text("UPDATE alembic_version SET version_num = :v"), {"v": revision})
        engine.dispose()
    with pytest.raises(StoreUnavailable) as caught:
        Store.open(database_url, clock=clock, ids=CountingIds(), migrate=revision is not None)
    assert caught.value.code == code
    if revision is not None:  # whoever only looks is not told to upgrade
        with pytest.raises(StoreUnavailable) as caught:
            Store.open(database_url, clock=clock, ids=CountingIds(), migrate=False)
        assert caught.value.code == code


def test_without_migrating_a_current_schema_is_enough(database_url: str, clock: HandClock) -> None:
    upgrade(database_url)
    Store.open(database_url, clock=clock, ids=CountingIds(), migrate=False).close()


@pytest.mark.parametrize(
    ("row", "table"),
    [
        (ingest_rows.DeliveryRow, deliveries),
        (ingest_rows.RejectedRow, rejected_alerts),
        (ingest_rows.EpisodeRow, episodes),
        (ingest_rows.IncidentRow, incidents),
    ],
)
def test_rows_have_the_columns_of_their_tables(row: type[tuple[object, ...]], table: object) -> None:
    assert row._fields == tuple(c.name for c in table.c)  # type: ignore[attr-defined]


LOOKUPS = {
    "open incident by key": ("uq_incidents_open_key", ingest_rows.FIND_OPEN),
    "episode by key": ("PRIMARY KEY", ingest_rows.FIND_EPISODES),
    "delivery by the sender's id": ("uq_deliveries_dedupe", ingest_rows.FIND_DELIVERIES),
}


@pytest.mark.parametrize("case", LOOKUPS)
def test_what_is_looked_up_on_the_way_in_has_an_index(tmp_path: Path, case: str) -> None:
    index, statement = LOOKUPS[case]
    sql = statement._text["sqlite"]
    values = ["[]"] * sql.count("?")
    assert index in plan(tmp_path, sql, values)


QUERIES = {
    "due incidents": (
        "ix_incidents_due",
        "SELECT id FROM incidents WHERE due_at <= ? AND due_at IS NOT NULL",
    ),
    "live run of a target": (
        "ix_runs_live (ended_at=? AND target_key=?)",
        "SELECT id FROM runs WHERE ended_at IS NULL AND target_key = ?",
    ),
    "events of an incident": (
        "ix_audit_incident (page=? AND incident_id=?)",
        "SELECT * FROM audit WHERE page IN (SELECT value FROM json_each(?)) AND incident_id = ? AND incident_id != ''",
    ),
    "episodes of an incident": (
        "ix_episodes_incident (page=? AND incident_id=?)",
        "SELECT * FROM episodes WHERE page IN (SELECT value FROM json_each(?)) AND incident_id = ?",
    ),
    "unsent messages": ("ix_outbox_queue", "SELECT id FROM outbox WHERE state IN ('pending', 'sending')"),
    "overdue runs": ("ix_runs_due", "SELECT id FROM runs WHERE due_at IS NOT NULL AND due_at <= ?"),
    "old closed incidents": (
        "ix_incidents_closed",
        "SELECT id FROM incidents WHERE closed_at IS NOT NULL AND closed_at < ? ORDER BY closed_at",
    ),
}


@pytest.mark.parametrize("case", QUERIES)
def test_partial_indexes_are_used_with_bound_values(tmp_path: Path, case: str) -> None:
    index, sql = QUERIES[case]
    assert index in plan(tmp_path, sql, ["[1]"] * sql.count("?"))


def plan(folder: Path, sql: str, values: list[str]) -> str:
    """SQLite's plan of a statement on an empty migrated database."""
    url = f"sqlite:///{folder / 'plan.db'}"
    upgrade(url)
    engine = create_engine(url)
    with engine.connect() as conn:
        rows = conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", tuple(values)).all()
    engine.dispose()
    return "\n".join(str(row[-1]) for row in rows)


def test_the_conditions_of_the_queries_are_those_of_the_indexes() -> None:
    """The plans above are of texts; these are the same conditions as the code uses."""
    from app.store import schema

    found = {
        str(i.dialect_options["sqlite"]["where"]) for t in (runs, outbox, audit, incidents) for i in t.indexes
    }
    for condition in (
        schema.LIVE,
        schema.RUN_DUE,
        schema.UNSENT,
        schema.ABOUT_INCIDENT,
        schema.OPEN,
        schema.CLOSED,
    ):
        assert str(condition) in found
