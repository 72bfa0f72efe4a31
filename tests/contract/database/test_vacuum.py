"""What is seen of a database's tables, and vacuuming them: the same on a simulated and on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import psycopg
import pytest

from app.database.postgres import PostgresDatabases
from app.database.vacuuming import VacuumActuator, Vacuuming, session_name
from app.domain.actuator import Applied, CheckResult, Clients, Means, Progress
from app.domain.errors import Held
from app.domain.outcome import ActionResult
from app.domain.plan import Action
from app.domain.tables import Look, TableId
from app.domain.target import Kind, Target
from app.observe.system import SystemClock
from app.sim.databases import DatabaseClients
from tests.contract.database.sides import CLIENT, LOGIN, PLAIN, RealSide, Side, elsewhere

ACTUATOR = VacuumActuator()
ID = "run_1/0.0"
LONGEST = timedelta(minutes=1)


async def _yes() -> None:
    return


async def _look(side: Side) -> Look:
    return await side.databases.tables.look(side.cluster, side.at)


def _named(seen: Look, name: str) -> TableId:
    return next(t.id for t in seen.tables if t.id.name == name)


async def _until(side: Side, holds: Callable[[Look], bool]) -> Look:
    for _ in range(200):
        seen = await _look(side)
        if holds(seen):
            return seen
        await side.pause()
    raise AssertionError(f"not in time: {seen}")


async def _action(side: Side, *names: str) -> Action:
    ref = elsewhere(side)
    seen = await _look(side)
    tables = tuple(_named(seen, name) for name in names)
    job = Vacuuming(side.at, tables, seen.now, LONGEST, timedelta(seconds=0.2))
    return job.action(ref, Target("rag7", Kind.STATEFUL_SET, "elsewhere"), "Vacuum")


def _means(side: Side, so_far: Progress | None = None) -> Means:
    async def wait(_seconds: float) -> None:
        await side.pause()

    return Means(Clients(side.cluster, side.databases), _yes, wait, so_far.state if so_far else {})


async def _check(side: Side, action: Action) -> CheckResult:
    return await ACTUATOR.check(Clients(side.cluster, side.databases), action)


async def test_sizes_dead_rows_and_when_it_was_vacuumed_are_told(side: Side) -> None:
    await side.fill("orders", rows=300, dead=700)
    await side.start()
    seen = await _until(side, lambda s: any(t.id.name == "orders" and t.dead == 700 for t in s.tables))
    table = next(t for t in seen.tables if t.id.name == "orders")
    assert (table.live, table.dead_share, table.last, table.allowed) == (300, 0.7, None, True)
    assert table.size > 100_000
    assert (seen.database, seen.vacuums, seen.freeze) == (side.at.database, (), 200_000_000)


async def test_tables_are_vacuumed_one_by_one_to_the_end(side: Side) -> None:
    await side.fill("orders", rows=300, dead=700)
    await side.fill("lines", rows=100, dead=100)
    await side.start()
    action, clients = await _action(side, "orders", "lines"), Clients(side.cluster, side.databases)
    found = await _check(side, action)
    assert (found.ref, await ACTUATOR.dry_run(clients, action, ID, found)) == (action.object, "")
    assert await ACTUATOR.in_place(clients, action, ID) == ""
    first = await ACTUATOR.apply(_means(side), action, ID, found)
    assert isinstance(first, Progress)
    assert first.text == "1 of 2 tables vacuumed"
    second = await ACTUATOR.apply(_means(side, first), action, ID, await _check(side, action))
    assert isinstance(second, Applied)
    assert (second.result, second.text) == (ActionResult.APPLIED, "Vacuum: 2 of 2 tables vacuumed")
    assert await ACTUATOR.in_place(clients, action, ID) == "Vacuum: 2 of 2 tables vacuumed"
    effect = await ACTUATOR.effect(clients, action)
    assert effect is not None
    assert (effect.good, effect.text) == (True, "2 of 2 tables vacuumed, 0 dead rows left in them")
    again = await _check(side, action)
    assert (again.ref, again.text) == (None, "nothing is left to vacuum: 2 of 2 tables vacuumed")


async def test_a_vacuum_that_takes_long_is_found_by_its_name(side: Side) -> None:
    """Also by another process than the one that began it: here, a second door to the same server."""
    await side.fill("orders", rows=4_000, dead=4_000, seconds=30)
    await side.start()
    action = await _action(side, "orders")
    done = await ACTUATOR.apply(_means(side), action, ID, await _check(side, action))
    assert isinstance(done, Progress)
    assert done.text.startswith("0 of 1 table vacuumed; orders: ")
    seen = await _look(side)
    assert [(v.oid, v.ours) for v in seen.vacuums] == [(_named(seen, "orders").oid, session_name(ID))]
    other = Clients(
        side.cluster, PostgresDatabases(SystemClock()) if isinstance(side, RealSide) else side.databases
    )
    told = await ACTUATOR.in_place(other, action, ID)
    assert isinstance(told, Progress)
    assert (told.state, "blocks" in told.text or "starting" in told.text) == ({}, True)


async def test_who_holds_a_transaction_open_is_named_and_nothing_is_begun(side: Side) -> None:
    await side.fill("orders", rows=10, dead=10)
    await side.start(
        DatabaseClients(
            user=CLIENT, application="leaky", state="idle in transaction", since=5, query="DELETE FROM stock"
        )
    )
    await side.pause()
    seen = await _look(side)
    assert seen.holder is not None
    assert seen.holder.who.startswith(f"leaky ({CLIENT}, pid ")
    assert (seen.held_for() or timedelta()) >= timedelta(seconds=0.2)
    found = await _check(side, await _action(side, "orders"))
    assert (found.ref, found.code) == (None, "horizon_held")
    assert "nothing deleted since could be freed" in found.text


async def test_nothing_is_begun_when_something_holds_it(side: Side) -> None:
    await side.fill("orders", rows=10, dead=10)
    await side.start()
    table = _named(await _look(side), "orders")

    async def held() -> None:
        raise Held("paused by kim")

    with pytest.raises(Held):
        await side.databases.tables.vacuum((side.cluster, side.at), table, "x", LONGEST, held)
    await side.pause()
    seen = await _look(side)
    assert next(t.last for t in seen.tables if t.id == table) is None


async def test_a_parent_of_partitions_is_analyzed_and_its_partitions_are_vacuumed(real: RealSide) -> None:
    await real.start()
    with psycopg.connect(real.url, autocommit=True) as conn:
        conn.execute("CREATE TABLE events (n int) PARTITION BY RANGE (n)")
        conn.execute("CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM (0) TO (1000)")
        for table in ("events", "events_1"):
            conn.execute(f"ALTER TABLE {table} OWNER TO {LOGIN}".encode())
        conn.execute("INSERT INTO events SELECT g FROM generate_series(0, 999) g")
        action = await _action(real, "events_1", "events")
        so_far: Progress | None = None
        for _ in range(20):
            done = await ACTUATOR.apply(_means(real, so_far), action, ID, await _check(real, action))
            if isinstance(done, Applied):
                break
            so_far = done
        assert isinstance(done, Applied)
        times = "SELECT count(*) FROM pg_stat_user_tables WHERE relname IN ('events', 'events_1') AND last_analyze IS NOT NULL"
        assert conn.execute(times).fetchone() == (2,)
        assert conn.execute("SELECT count(*) FROM pg_stats WHERE tablename = 'events'").fetchone() == (1,)
    seen = await _look(real)
    assert [(t.id.name, t.parent) for t in seen.tables if t.parent] == [("events", True)]


async def test_a_table_that_is_gone_is_no_obstacle(real: RealSide) -> None:
    await real.fill("orders", rows=10, dead=10)
    await real.fill("lines", rows=10, dead=10)
    await real.start()
    action = await _action(real, "orders", "lines")
    with psycopg.connect(real.url, autocommit=True) as conn:
        conn.execute("DROP TABLE orders")
    done = await ACTUATOR.apply(_means(real), action, ID, await _check(real, action))
    assert isinstance(done, Applied)
    assert done.text == "Vacuum: 1 of 2 tables vacuumed; 1 are gone"


async def test_a_lock_that_is_not_free_ends_it_with_what_was_done(real: RealSide) -> None:
    await real.fill("orders", rows=10, dead=10)
    await real.start()
    action = await _action(real, "orders")
    found = await _check(real, action)
    with psycopg.connect(real.url) as conn:
        conn.execute("LOCK TABLE orders IN SHARE UPDATE EXCLUSIVE MODE")
        first = await ACTUATOR.apply(_means(real), action, ID, found)
        assert isinstance(first, Progress)
        await _until(real, lambda _seen: bool(real.databases.tables.fault(session_name(ID))))
        second = await ACTUATOR.apply(_means(real, first), action, ID, found)
    assert isinstance(second, Applied)
    assert second.result is ActionResult.REFUSED
    assert second.text == "0 of 1 table vacuumed; not orders: its lock was not free within 5 s"


async def test_a_table_that_somebody_holds_is_set_aside_and_the_others_go_on(real: RealSide) -> None:
    """An index that is built for hours let no other table have its turn, night after night."""
    for name in ("alpha", "beta", "gamma"):
        await real.fill(name, rows=10, dead=10)
    await real.start()
    action, so_far = await _action(real, "alpha", "beta", "gamma"), None
    with psycopg.connect(real.url) as conn:
        conn.execute("LOCK TABLE alpha IN SHARE UPDATE EXCLUSIVE MODE")
        found = await _check(real, action)
        for _ in range(5):
            done = await ACTUATOR.apply(_means(real, so_far), action, ID, found)
            if isinstance(done, Applied):
                break
            so_far = done
            await _until(real, lambda seen: not seen.vacuums)
            found = replace(found, seen=await _look(real))
    assert isinstance(done, Applied)
    assert done.result is ActionResult.APPLIED
    assert done.text == "2 of 3 tables vacuumed; not alpha: its lock was not free within 5 s"


async def test_the_server_ends_a_vacuum_that_takes_too_long(real: RealSide) -> None:
    await real.fill("orders", rows=4_000, dead=4_000, seconds=30)
    await real.start()
    table = _named(await _look(real), "orders")
    await real.databases.tables.vacuum((real.cluster, real.at), table, "x", timedelta(seconds=0.5), _yes)
    await _until(real, lambda _seen: bool(real.databases.tables.fault("x")))
    assert real.databases.tables.fault("x") == "it was ended: it took too long, or somebody cancelled it"


async def test_a_vacuum_of_somebody_else_is_seen_and_left_alone(real: RealSide) -> None:
    await real.fill("orders", rows=4_000, dead=4_000, seconds=30)
    await real.start()
    action = await _action(real, "orders")
    table = _named(await _look(real), "orders")
    await real.databases.tables.vacuum((real.cluster, real.at), table, "another", LONGEST, _yes)
    await _until(real, lambda s: s.vacuum_of(table) is not None)
    done = await ACTUATOR.apply(_means(real), action, ID, await _check(real, action))
    assert isinstance(done, Progress)
    assert done.text == "0 of 1 table vacuumed; orders is vacuumed by somebody else"


async def test_a_login_that_does_not_own_a_table_may_not_vacuum_it(real: RealSide) -> None:
    await real.fill("orders", rows=10, dead=10)
    await real.start(login=PLAIN)
    seen = await _look(real)
    assert {t.id.name: t.allowed for t in seen.tables} == {"orders": False, "stock": False}
    action = await _action(real, "orders")
    refused = await ACTUATOR.dry_run(
        Clients(real.cluster, real.databases), action, ID, await _check(real, action)
    )
    assert refused == "the login may not vacuum orders"
