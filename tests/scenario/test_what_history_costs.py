"""History costs nothing: no statement of a loop or a post reads a table that grows from end to end, on either database.

A whole life is played (posts, decisions, a run with its end, a storm, messages, sweeps, pruning), each statement on the way is
written down, the store is filled with a month of history, and the database is asked how it would execute each of them. The
weekly scorecard is not among them: it counts its weeks once a week, on a connection that holds up nobody.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, Engine, create_engine, event, select

from app.store import work
from app.store.connection import parse
from app.store.migrate import upgrade
from app.store.pruning import Pruner
from app.store.schema import metadata
from tests import history
from tests.contract import postgres
from tests.contract.stores import HandClock, missing
from tests.empty_store import put_empty_store
from tests.scenario.rig import Rig
from tests.scenario.scenes import alert, body, policy

INCIDENTS = 6_000
SMALL_TABLES = frozenset(
    {"audit_chain", "audit_gaps", "pauses", "trust_levels", "schedules", "alembic_version"}
)
"""Bounded by what people set, by what is open, or by the policy, not by how long the service has run."""
SMALL_INDEXES = frozenset(
    {
        "uq_incidents_open_key",
        "ix_incidents_open",
        "ix_incidents_due",
        "ix_incidents_held",
        "ix_incidents_open_target",
        "uq_runs_at_work_target",
        "ix_runs_due",
        "ix_runs_driven",
        "ix_runs_live",
        "ix_outbox_unsent",
        "ix_outbox_queue",
        "ix_digests_open",
        "ix_escalations_page",
        "ix_episodes_stray",
    }
)
"""Indexes of what is open only: to read one from end to end is to read what is open."""
FIRST_FEW = re.compile(r"FROM (deliveries ORDER BY deliveries\.id|audit ORDER BY audit\.seq)\s+LIMIT")
"""The first rows in the order of the key, with nothing to look for: ends at its limit."""
GROWS = frozenset(metadata.tables) - SMALL_TABLES
Plan = Callable[[str, Any], list[str]]


@contextmanager
def written_down(database: str) -> Iterator[dict[str, Any]]:
    """Statements that are executed on this database inside the block, with parameters of one execution."""
    found: dict[str, Any] = {}

    def note(
        conn: Connection, _cursor: object, statement: str, parameters: Any, _x: object, many: bool
    ) -> None:
        if conn.engine.url.database == database and statement.lstrip().split(" ")[0] in (
            "SELECT",
            "UPDATE",
            "DELETE",
            "WITH",
        ):
            found.setdefault(statement, parameters[0] if many else parameters)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(Engine, "before_cursor_execute", note)


async def a_whole_life(rig: Rig) -> None:
    """What a month brings: an incident that is acted on and ends, a storm, silence, and the pruning of it all."""
    rig.policy = policy()
    await rig.born()
    await rig.run(900)
    many = [alert(rig, deployment=f"svc-{n:05d}") for n in range(60)]
    await rig.send(body(*many))
    await rig.send(body(*many, alert(rig, "resolved", deployment="svc-00001")))
    await rig.turn()
    await rig.run(600)
    await rig.store.read(lambda conn: work.claim_holders(conn, "another"))
    await rig.store.write(lambda tx: work.free_claims(tx, "another"))
    rig.clock.advance(timedelta(days=40).total_seconds())
    hand = HandClock()  # one that does not wait for anybody to move it
    pruner = Pruner(rig.store, hand)
    while await pruner.step(rig.clock.now() - timedelta(days=30)):
        pass
    await rig.loops.sweep()
    await rig.loops.report()
    await rig.close()


def full_scans(statements: dict[str, Any], plan: Plan) -> list[str]:
    """Each statement that reads a growing table from end to end, with its plan."""
    found = []
    for statement, parameters in statements.items():
        if FIRST_FEW.search(" ".join(statement.split())) is None and (scans := plan(statement, parameters)):
            found.append(f"{' '.join(statement.split())[:300]}\n    {'; '.join(scans)}")
    return found


async def test_nothing_reads_history_from_end_to_end_on_sqlite(tmp_path: Path) -> None:
    with written_down(str(tmp_path / "rig.sqlite")) as statements:
        rig = Rig(tmp_path / "rig.sqlite")
        await a_whole_life(rig)
    engine = create_engine(f"sqlite:///{rig.path}")
    with engine.begin() as conn:
        history.fill(conn, INCIDENTS, rig.clock.now())

    def plan(statement: str, parameters: Any) -> list[str]:
        with engine.connect() as conn:
            lines = conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", tuple(parameters)).all()
        named = {alias: table for table, alias in re.findall(r"(\w+) AS (\w+)", statement)}
        return [line[-1] for line in lines if _sqlite_scan(str(line[-1]), named)]

    found = full_scans(statements, plan)
    engine.dispose()
    assert len(statements) > 100
    assert not found, "\n".join(found)


def _sqlite_scan(line: str, named: dict[str, str]) -> bool:
    scan = re.match(r"SCAN (\w+)(?: USING (?:COVERING )?INDEX (\w+))?", line)
    return scan is not None and named.get(scan[1], scan[1]) in GROWS and scan[2] not in SMALL_INDEXES


async def test_nothing_reads_history_from_end_to_end_on_postgres(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    try:
        with postgres.running() as server:
            url = server.new_database()
            upgrade(url)
            with written_down(url.rpartition("/")[2]) as statements:
                rig = Rig(tmp_path / "unused", url=url)
                await a_whole_life(rig)
            engine = create_engine(parse(url))
            with engine.begin() as conn:
                history.fill(conn, INCIDENTS, rig.clock.now())
            engine.dispose()
            with psycopg.connect(url, autocommit=True, cursor_factory=psycopg.ClientCursor) as raw:
                raw.execute("ANALYZE")
                # A table of a few thousand rows is read whole sooner than one of millions: what counts is whether it must be.
                raw.execute("SET enable_seqscan = off")
                found = full_scans(statements, lambda s, p: _postgres_scans(raw, s, p))
    except postgres.PostgresMissingError as error:
        missing(str(error), request)
        raise
    assert len(statements) > 100
    assert not found, "\n".join(found)


def _postgres_scans(raw: psycopg.Connection[Any], statement: str, parameters: Any) -> list[str]:
    ((plan,),) = raw.execute(f"EXPLAIN (FORMAT JSON) {statement}".encode(), parameters or None).fetchall()
    return list(_nodes(plan[0]["Plan"] if not isinstance(plan, str) else json.loads(plan)[0]["Plan"]))


def _nodes(node: dict[str, Any], limited: bool = False) -> Iterator[str]:
    limited = limited or node["Node Type"] == "Limit"
    table, index = node.get("Relation Name", ""), node.get("Index Name", "")
    if node["Node Type"] == "Seq Scan" and table in GROWS:
        yield f"Seq Scan on {table} ({node.get('Filter', 'no filter')})"
    whole = node["Node Type"].startswith("Index") and "Index Cond" not in node and not limited
    if whole and table in GROWS and index not in SMALL_INDEXES:
        yield f"{node['Node Type']} of all of {index}"
    for child in node.get("Plans", ()):
        yield from _nodes(child, limited)


def test_history_fills_every_table_that_grows(tmp_path: Path) -> None:
    """A table without rows is read in no time, whoever reads it, and the bench of a full store would not see it either."""
    url = put_empty_store(tmp_path / "full.sqlite")
    engine = create_engine(url)
    with engine.begin() as conn:
        history.fill(conn, 200, datetime(2026, 3, 4, tzinfo=UTC))
        empty = {name for name in GROWS if not conn.execute(select(metadata.tables[name]).limit(1)).all()}
    engine.dispose()
    assert empty == set()
