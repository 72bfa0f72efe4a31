"""What a server tells of its sessions, and whose it ends: the same on a simulated and on a real PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import LiteralString

import psycopg
import pytest

from app.domain.database import PREPARED_PID, Activity, Condition, SessionId, Tls, Why
from app.domain.errors import Held, ProbeUnavailable
from app.domain.target import Kind
from app.sim.databases import DatabaseClients
from tests.contract.database.sides import (
    CLIENT,
    LOGIN,
    PASSWORD,
    PLAIN,
    RealSide,
    Side,
    ids,
    look,
    of,
    secret,
)

IDLE = Condition(Why.IDLE, 0.2)
BLOCKS = Condition(Why.BLOCKS, 0.2)


async def _yes() -> None:
    return


async def _no() -> None:
    raise Held("paused by kim")


def client(application: str, state: str = "idle in transaction", **more: object) -> DatabaseClients:
    values = {"user": CLIENT, "application": application, "state": state, "query": "SELECT 1", **more}
    return DatabaseClients.model_validate(values)


async def test_who_is_connected_and_how_many_more_may_be(side: Side) -> None:
    await side.start(
        client("leaky", count=2, query="SELECT 'a secret', 4711 FROM stock"), client("calm", "idle")
    )
    seen = await look(side)
    assert (seen.used, seen.max_connections, seen.usable) == (3, side.most, side.most - 3)
    assert seen.database == side.at.database
    leaky = of(seen, "leaky")
    assert [(s.user, s.state, s.protected, s.endable) for s in leaky] == [
        (CLIENT, "idle in transaction", "", True)
    ] * 2
    assert {s.query for s in leaky} == {"SELECT ?, ? FROM stock"}
    assert len(set(ids(leaky))) == 2
    assert [s.idle_for(seen.now) for s in of(seen, "calm")] == [None]
    assert seen.size is not None


async def test_what_idles_in_a_transaction_is_ended_and_others_are_left_alone(side: Side) -> None:
    await side.start(client("leaky", count=2), client("calm", "idle"))
    await side.pause()
    seen = await look(side)
    everybody = ids(seen.sessions)
    told = await side.databases.terminate(side.cluster, side.at, everybody, IDLE, _yes)
    assert sorted(told) == sorted(ids(of(seen, "leaky")))
    await side.pause()
    after = await look(side)
    assert of(after, "leaky") == []
    assert ids(of(after, "calm")) == ids(of(seen, "calm"))
    # Once more changes nothing: whoever is gone is gone.
    assert await side.databases.terminate(side.cluster, side.at, everybody, IDLE, _yes) == []


async def test_a_session_that_is_not_idle_for_long_enough_is_left_alone(side: Side) -> None:
    await side.start(client("leaky"))
    seen = await look(side)
    hour = Condition(Why.IDLE, 3_600)
    assert await side.databases.terminate(side.cluster, side.at, ids(of(seen, "leaky")), hour, _yes) == []
    assert "is the least" in hour.against(seen, of(seen, "leaky")[0])
    assert len(of(await look(side), "leaky")) == 1


async def test_a_process_id_that_was_used_again_is_never_hit(side: Side) -> None:
    await side.start(client("leaky"))
    await side.pause()
    (session,) = ids(of(await look(side), "leaky"))
    earlier = SessionId(session.pid, session.started - timedelta(microseconds=1))
    assert await side.databases.terminate(side.cluster, side.at, [earlier], IDLE, _yes) == []
    assert ids(of(await look(side), "leaky")) == [session]


async def test_superusers_replication_and_our_own_are_never_ended(side: Side) -> None:
    await side.start(
        client("boss", role="superuser"), client("copy", role="replicator"), client("alert-remediator-store")
    )
    await side.pause()
    seen = await look(side)
    protected = {s.application: s.protected for s in seen.sessions}
    assert protected["boss"] == "its user is a superuser"
    assert protected["copy"] == "its user replicates"
    assert protected["alert-remediator-store"] == "it is a session of this service"
    assert all("never ended" in IDLE.against(seen, s) for s in seen.sessions)
    assert await side.databases.terminate(side.cluster, side.at, ids(seen.sessions), IDLE, _yes) == []
    names = {"boss", "copy", "alert-remediator-store"}
    assert names <= {s.application for s in (await look(side)).sessions}


async def test_who_holds_a_lock_that_others_wait_for_is_told_and_ended(side: Side) -> None:
    await side.start(
        client("holder", "idle in transaction", query="LOCK TABLE stock"),
        client("waiter", "active", count=2, query="SELECT a FROM stock WHERE a = 7", waits_for="holder"),
    )
    await side.pause()
    seen = await look(side)
    (holder,) = of(seen, "holder")
    assert [s.blocked_by for s in of(seen, "waiter")] == [(holder.pid,)] * 2
    assert (seen.longest_wait(holder) or timedelta()) >= timedelta(seconds=0.2)
    hour = Condition(Why.BLOCKS, 3_600)
    assert await side.databases.terminate(side.cluster, side.at, ids(seen.sessions), hour, _yes) == []
    told = await side.databases.terminate(side.cluster, side.at, ids(seen.sessions), BLOCKS, _yes)
    assert list(told) == ids([holder])
    await side.pause()
    after = await look(side)
    assert of(after, "holder") == []
    assert [s.blocked_by for s in of(after, "waiter")] == [()] * 2


async def test_who_waits_in_another_database_of_the_server_is_seen_and_is_not_of_ours(side: Side) -> None:
    """Both have a holder and one who waits for it: only ours is held up, and only ours is ended."""
    lock, there = "SELECT pg_advisory_xact_lock(7)", {"database": "postgres"}
    await side.start(
        client("their-holder", query=lock, **there),
        client("their-waiter", "active", query=lock, waits_for="their-holder", **there),
        client("holder", query=lock),
        client("waiter", "active", query=lock, waits_for="holder"),
    )
    await side.pause()
    seen = await look(side)
    (theirs,), (ours,) = of(seen, "their-holder"), of(seen, "holder")
    assert [s.blocked_by for s in of(seen, "their-waiter")] == [(theirs.pid,)]
    assert [s.application for s in seen.held_up()] == ["waiter"]
    assert seen.longest_held_up() == seen.longest_wait(ours)
    told = await side.databases.terminate(side.cluster, side.at, ids(seen.sessions), BLOCKS, _yes)
    assert list(told) == ids([ours])
    await side.pause()
    after = await look(side)
    assert (after.held_up(), after.longest_held_up()) == ((), None)
    assert of(after, "their-holder") != []


@pytest.mark.parametrize(
    "lock", ["SELECT pg_advisory_xact_lock(1)", "LOCK TABLE stock IN ACCESS EXCLUSIVE MODE"]
)
async def test_who_was_given_a_lock_a_moment_ago_has_held_nobody_up_and_is_left_alone(
    real: RealSide, lock: LiteralString
) -> None:
    """The one behind it has waited for long, but for another holder. A moment is well below two seconds on a busy machine too."""
    blocks = Condition(Why.BLOCKS, 2.0)
    await real.start()
    async with _sessions(real, "holder", "next", "waiter") as (holder, next_one, waiter):
        await holder.execute(lock)
        turns = [asyncio.create_task(one.execute(lock)) for one in (next_one, waiter)]
        await _until_waiting(real, 2)
        await _until_met(real, blocks, "holder")
        await holder.rollback()
        await asyncio.wait(turns, return_when=asyncio.FIRST_COMPLETED)
        seen = await look(real)
        (owner,) = [s for s in seen.sessions if seen.longest_wait(s) is not None]
        assert "is the least" in blocks.against(seen, owner)
        assert await real.databases.terminate(real.cluster, real.at, ids(seen.sessions), blocks, _yes) == []
        seen = await _until_met(real, blocks, owner.application)
        told = await real.databases.terminate(real.cluster, real.at, ids(seen.sessions), blocks, _yes)
        assert list(told) == [owner.id]
        _, still = await asyncio.wait(turns, return_when=asyncio.ALL_COMPLETED)
        assert not still


async def _until_met(real: RealSide, condition: Condition, name: str) -> Activity:
    """A look at which this client's session meets the condition."""
    for _ in range(100):
        seen = await look(real)
        if condition.against(seen, of(seen, name)[0]) == "":
            return seen
        await real.pause()
    pytest.fail(f"{name} never meets it")


@asynccontextmanager
async def _sessions(real: RealSide, *names: str) -> AsyncIterator[list[psycopg.AsyncConnection]]:
    """Connections of clients with these names, in a transaction each."""
    made = [
        await psycopg.AsyncConnection.connect(real.url, user=CLIENT, password=PASSWORD, application_name=name)
        for name in names
    ]
    try:
        yield made
    finally:
        for one in made:
            await one.close()


async def _until_waiting(real: RealSide, count: int) -> None:
    for _ in range(100):
        if sum(bool(s.blocked_by) for s in (await look(real)).sessions) == count:
            return
        await real.pause()
    pytest.fail("nobody waits")


async def test_who_has_begun_to_wait_itself_since_the_look_is_left_alone(real: RealSide) -> None:
    await real.start()
    async with _sessions(real, "owner", "last", "waiter") as (owner, last, waiter):
        await owner.execute("SELECT pg_advisory_xact_lock(1)")
        await last.execute("SELECT pg_advisory_xact_lock(2)")
        waits = [asyncio.create_task(waiter.execute("SELECT pg_advisory_xact_lock(1)"))]
        await _until_waiting(real, 1)
        await real.pause()
        seen = await look(real)
        assert BLOCKS.against(seen, of(seen, "owner")[0]) == ""
        waits.append(asyncio.create_task(owner.execute("SELECT pg_advisory_xact_lock(2)")))
        await _until_waiting(real, 2)
        await real.pause()
        wanted = ids(of(seen, "owner"))
        assert await real.databases.terminate(real.cluster, real.at, wanted, BLOCKS, _yes) == []
        seen = await look(real)
        assert BLOCKS.against(seen, of(seen, "owner")[0]) == "it waits for a lock itself"
        await last.rollback()
        await waits[1]
        await owner.rollback()
        await waits[0]


async def test_a_prepared_transaction_that_others_wait_for_is_told_by_its_name(real: RealSide) -> None:
    """No session has it, so that there is nobody to end."""
    side = real
    with psycopg.connect(side.url) as conn:
        conn.execute("LOCK TABLE stock")
        conn.execute("PREPARE TRANSACTION 'shop''s 7'")
    try:
        await side.start(client("waiter", "active", query="SELECT a FROM stock", waits_for="it"))
        await side.pause()
        seen = await look(side)
        assert [s.blocked_by for s in of(seen, "waiter")] == [(PREPARED_PID,)]
        (one,) = seen.prepared
        assert (one.name, one.command) == ("shop's 7", "ROLLBACK PREPARED 'shop''s 7'")
        assert one.since <= seen.now
        everybody = ids([s for s in seen.sessions if s.application != "waiter"])
        assert await side.databases.terminate(side.cluster, side.at, everybody, BLOCKS, _yes) == []
        with psycopg.connect(side.url, autocommit=True) as conn:
            conn.execute(one.command.encode())
        await side.pause()
        assert (await look(side)).prepared == ()
    finally:
        with psycopg.connect(side.url, autocommit=True) as conn:
            found = conn.execute(
                "SELECT gid FROM pg_prepared_xacts WHERE database = current_database()"
            ).fetchall()
            for _ in found:
                conn.execute("ROLLBACK PREPARED 'shop''s 7'")


async def test_nothing_is_ended_when_something_holds_the_statement(side: Side) -> None:
    await side.start(client("leaky"))
    await side.pause()
    sessions = ids(of(await look(side), "leaky"))
    with pytest.raises(Held, match="paused by kim"):
        await side.databases.terminate(side.cluster, side.at, sessions, IDLE, _no)
    assert ids(of(await look(side), "leaky")) == sessions


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"username": LOGIN, "password": f"not {PASSWORD}"}, "login_refused"),
        ({"username": "nobody-here", "password": PASSWORD}, "login_refused"),
        ({"username": LOGIN}, "no_login"),
        ({"username": LOGIN, "password": ""}, "no_login"),
    ],
)
async def test_a_login_that_fails_is_unknown_and_never_told(
    side: Side, values: dict[str, str], code: str
) -> None:
    await side.start()
    side.cluster.delete(Kind.SECRET, "rag7", "db")
    side.cluster.create(secret(values))
    with pytest.raises(ProbeUnavailable) as raised:
        await look(side)
    assert raised.value.code == code
    error: BaseException | None = raised.value
    while error is not None:
        assert not [v for v in values.values() if v and v in f"{error!r} {error}"]
        error = error.__cause__


async def test_a_secret_that_is_not_there_is_unknown(side: Side) -> None:
    await side.start()
    with pytest.raises(ProbeUnavailable, match="Secret rag7/other cannot be read") as raised:
        await look(side, secret="other")
    assert raised.value.code == "no_login"


async def test_a_host_that_nobody_knows_is_unknown_and_not_down(side: Side) -> None:
    await side.start()
    with pytest.raises(ProbeUnavailable) as raised:
        await look(side, host="nowhere.invalid")
    assert raised.value.code == "unreachable"


async def test_sessions_of_others_are_not_ended_without_the_right(side: Side) -> None:
    await side.start(client("leaky"), client("own", user=PLAIN), login=PLAIN)
    await side.pause()
    seen = await look(side)
    assert seen.used == 2
    told = await side.databases.terminate(side.cluster, side.at, ids(seen.sessions), IDLE, _yes)
    assert list(told) == ids(of(seen, "own"))
    assert len(of(await look(side), "leaky")) == 1


async def test_a_server_without_a_free_connection_says_so_itself(side: Side) -> None:
    await side.start(client("leaky", "idle", count=side.most - 3, query=""))
    with pytest.raises(ProbeUnavailable, match="no free connection") as raised:
        await look(side)
    assert raised.value.code == "exhausted"


async def test_sessions_that_the_login_may_not_see_are_counted_and_never_ended(real: RealSide) -> None:
    await real.start(client("leaky"), login=PLAIN)
    seen = await look(real)
    (hidden,) = of(seen, "leaky")
    assert (hidden.id, hidden.query) == (None, "<insufficient privilege>")
    assert "may not see it" in hidden.protected


async def test_a_url_gives_host_login_and_database(real: RealSide) -> None:
    await real.start(client("leaky"))
    port, name = real.at.port, real.at.database
    real.cluster.delete(Kind.SECRET, "rag7", "db")
    real.cluster.create(
        secret(
            {
                "URL": f"postgresql+asyncpg://{LOGIN}:{PASSWORD}@127.0.0.1:{port}/{name}?sslmode=disable&options=-c"
            }
        )
    )
    seen = await look(real, host="", port=0, database="", url_key="URL")
    assert (seen.database, len(of(seen, "leaky"))) == (name, 1)


async def test_encryption_that_the_server_does_not_have_is_unknown(real: RealSide) -> None:
    await real.start()
    with pytest.raises(ProbeUnavailable, match="no encrypted connection") as raised:
        await look(real, tls=Tls.REQUIRE)
    assert raised.value.code == "unreachable"


async def test_a_slot_that_nobody_reads_is_told_with_what_is_kept_for_it(real: RealSide) -> None:
    await real.start()
    seen = await look(real)
    assert seen.replication is not None
    assert (seen.replication.standby, seen.replication.standbys) == (False, ())
    name = f"slot_{real.at.port}"
    with psycopg.connect(real.url, autocommit=True) as conn:
        conn.execute("SELECT pg_create_physical_replication_slot(%s, true)", [name])
        try:
            conn.execute("CREATE TABLE much AS SELECT repeat('x', 100) FROM generate_series(1, 1000)")
            seen = await look(real)
        finally:
            conn.execute("SELECT pg_drop_replication_slot(%s)", [name])
    assert seen.replication is not None
    (slot,) = [s for s in seen.replication.slots if s.name == name]
    assert (slot.active, slot.lost) == (False, False)
    assert slot.held is not None
    assert slot.held > 50_000


async def test_a_login_without_rights_reads_how_it_replicates_too(real: RealSide) -> None:
    await real.start(login=PLAIN)
    assert (await look(real)).replication is not None
