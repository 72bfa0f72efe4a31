"""Databases get other names, on a simulated and on a real server; a client that connects again at once neither gets in nor gets in the way."""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest
from psycopg import pq, sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from app.database.postgres import PostgresDatabases
from app.domain.copies import IN_USE, RESTORE, Copies, Exchange, subscription, waiting_slot
from app.domain.database import DatabaseAddress
from app.domain.errors import ProbeUnavailable
from app.observe.system import SystemClock
from app.sim import SimCluster, VirtualClock, load_scenario
from tests.contract.database.sides import secret
from tests.contract.postgres import Postgres, PostgresMissingError
from tests.contract.stores import missing

MARK = "alert-remediator: a validated copy"
PASSWORD = "s3cret-of-the-contract"


@dataclass
class Place:
    """A server with a database and a validated copy of it beside. `url` leads to a real one, for its superuser."""

    copies: Copies
    cluster: SimCluster
    exchange: Exchange
    url: str = ""
    asked: list[str] = field(default_factory=list)

    async def rename(self, names: Any, *closed: str) -> None:
        await self.copies.rename(
            (self.cluster, self.exchange.at, self.exchange.entry), names, closed, self.ask
        )

    async def ask(self) -> None:
        self.asked.append("asked")

    async def names(self) -> dict[str, tuple[str, bool]]:
        """Marks, and whether they are open, by the part that a database has in the exchange."""
        seen = await self.copies.look(self.cluster, self.exchange.at, self.exchange.entry)
        parts = {getattr(self.exchange, part): part for part in ("live", "copy", "kept")}
        assert seen.database == self.exchange.live
        return {parts[d.name]: (d.mark, d.open) for d in seen.databases if d.name in parts}


def simulated(**held: tuple[str, ...]) -> Place:
    clock, base = VirtualClock(), load_scenario("database-restore")
    servers = tuple(server.model_copy(update=held) for server in base.databases)
    cluster = SimCluster(clock, base.model_copy(update={"databases": servers}))
    at = DatabaseAddress("rag7", "postgres.rag7.svc", 0, "", "langgraph-secrets", url_key="DATABASE_URL")
    exchange = Exchange(at, "postgres", "langgraph_checkpoints", "copy_of_it", "kept_of_it", MARK)
    told = json.dumps({"phase": "restore", "copy": exchange.copy, "mark": MARK}, separators=(",", ":"))
    container = {"name": "upload", "image": "u:1", "env": [{"name": RESTORE, "value": told}]}
    spec = {"restartPolicy": "Never", "containers": [container]}
    cluster.create(
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": "made", "namespace": "rag7"},
            "spec": {"template": {"spec": spec}},
        }
    )
    clock.advance(120)
    cluster.catch_up()
    return Place(cluster.databases.copies, cluster, exchange)


def real(url: str) -> Place:
    live = str(conninfo_to_dict(url)["dbname"])
    owner = f"owner_{live}"
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(
            sql.SQL("CREATE ROLE {} LOGIN CREATEDB PASSWORD {}").format(
                sql.Identifier(owner), sql.Literal(PASSWORD)
            )
        )
        conn.execute(
            sql.SQL("ALTER DATABASE {} OWNER TO {}").format(sql.Identifier(live), sql.Identifier(owner))
        )
    with psycopg.connect(make_conninfo(url, user=owner), autocommit=True) as conn:
        conn.execute("CREATE TABLE which AS SELECT 'former' AS name")
        conn.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(f"{live}_copy")))
        words = sql.SQL("COMMENT ON DATABASE {} IS {}")
        conn.execute(words.format(sql.Identifier(f"{live}_copy"), sql.Literal(MARK)))
    with psycopg.connect(make_conninfo(url, user=owner, dbname=f"{live}_copy"), autocommit=True) as conn:
        conn.execute("CREATE TABLE which AS SELECT 'restored' AS name")
    cluster = SimCluster(VirtualClock(), load_scenario("database-restore"))
    cluster.create(secret({"username": owner, "password": PASSWORD}))
    given = conninfo_to_dict(url)
    at = DatabaseAddress("rag7", str(given["host"]), int(str(given["port"])), live, "db")
    exchange = Exchange(at, "postgres", live, f"{live}_copy", f"{live}_kept", MARK)
    return Place(PostgresDatabases(SystemClock()).copies, cluster, exchange, url)


@pytest.fixture
def real_place(request: pytest.FixtureRequest, postgres_server: Callable[[], Postgres]) -> Place:
    try:
        return real(postgres_server().new_database())
    except PostgresMissingError as error:
        missing(str(error), request)
        raise


@pytest.fixture(params=["simulated", "real"])
def place(request: pytest.FixtureRequest) -> Place:
    if request.param == "simulated":
        return simulated()
    found: Place = request.getfixturevalue("real_place")
    return found


async def test_a_copy_takes_the_place_and_gives_it_back_and_nothing_is_lost(place: Place) -> None:
    assert await place.names() == {"live": ("", True), "copy": (MARK, True)}
    await place.rename(place.exchange.forth, place.exchange.kept)
    assert await place.names() == {"live": (MARK, True), "kept": ("", False)}
    await place.rename(place.exchange.back, place.exchange.copy)
    assert await place.names() == {"live": ("", True), "copy": (MARK, False)}
    assert place.asked == ["asked", "asked"]


async def test_a_renaming_that_cannot_be_done_in_full_does_nothing(place: Place) -> None:
    with pytest.raises(ProbeUnavailable):
        await place.rename(((place.exchange.live, place.exchange.kept), ("nowhere", place.exchange.live)), "")
    assert await place.names() == {"live": ("", True), "copy": (MARK, True)}


async def test_another_database_of_the_same_name_is_not_exchanged(place: Place) -> None:
    """Its number tells: somebody else has exchanged it since the decision."""
    seen = await place.copies.look(place.cluster, place.exchange.at, place.exchange.entry)
    assert seen.live is not None
    to, forth = (place.cluster, place.exchange.at, place.exchange.entry), place.exchange.forth
    with pytest.raises(ProbeUnavailable) as refused:
        await place.copies.rename(to, forth, (place.exchange.kept,), place.ask, seen.live.id + 10_000)
    assert refused.value.code == "changed"
    assert await place.names() == {"live": ("", True), "copy": (MARK, True)}
    await place.copies.rename(to, forth, (place.exchange.kept,), place.ask, seen.live.id)
    after = await place.copies.look(place.cluster, place.exchange.at, place.exchange.entry)
    kept = after.find(place.exchange.kept)
    assert kept is not None
    assert (kept.id, after.live is not None and after.live.id != kept.id) == (seen.live.id, True)


async def test_promise_10_what_holds_it_stops_it_before_the_first_statement(place: Place) -> None:
    async def held() -> None:
        raise ProbeUnavailable("held")

    to = (place.cluster, place.exchange.at, place.exchange.entry)
    with pytest.raises(ProbeUnavailable, match="held"):
        await place.copies.rename(to, place.exchange.forth, (place.exchange.kept,), held)
    assert await place.names() == {"live": ("", True), "copy": (MARK, True)}


@asynccontextmanager
async def clamouring(url: str, number: int = 4) -> AsyncIterator[list[str]]:
    """Clients that connect again at once when they are thrown out, and hold their connection; what each saw, in its order."""
    seen: list[str] = []

    async def client() -> None:
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(url, autocommit=True) as conn:
                    while True:
                        rows = await (await conn.execute("SELECT name FROM which")).fetchall()
                        seen.append(str(rows[0][0]))
                        await asyncio.sleep(0.005)
            except psycopg.Error:
                await asyncio.sleep(0.001)

    tasks = [asyncio.create_task(client()) for _ in range(number)]
    try:
        await _some(seen, number)
        yield seen
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_clients_that_connect_again_at_once_do_not_get_in_the_way(real_place: Place) -> None:
    """They see the former database, then the restored one, and never a third thing; five times forth and back."""
    owner = conninfo_to_dict(real_place.url)["dbname"]
    url = make_conninfo(real_place.url, user=f"owner_{owner}")
    async with clamouring(url) as seen:
        for _ in range(5):
            await real_place.rename(real_place.exchange.forth, real_place.exchange.kept)
            await _until(seen, "restored")
            await real_place.rename(real_place.exchange.back, real_place.exchange.copy)
            await _until(seen, "former")


async def _until(seen: list[str], word: str) -> None:
    """Once one of them has seen this one, none sees the other."""
    seen.clear()
    for _ in range(2_000):
        if seen.count(word) >= 4:
            break
        await asyncio.sleep(0.005)
    assert set(seen[seen.index(word) :]) == {word}


async def _some(seen: list[str], number: int) -> None:
    """Wait until they have seen so much."""
    for _ in range(2_000):
        if len(seen) >= number:
            return
        await asyncio.sleep(0.005)
    raise AssertionError("the clients do not get in")


async def test_a_session_that_may_not_be_ended_is_told_and_nothing_is_renamed(real_place: Place) -> None:
    """The superuser's: the login has no right to end it, and the server waits five seconds for it."""
    with psycopg.connect(real_place.url), pytest.raises(ProbeUnavailable) as refused:
        await real_place.rename(real_place.exchange.forth, real_place.exchange.kept)
    assert refused.value.code == IN_USE
    assert await real_place.names() == {"live": ("", True), "copy": (MARK, True)}


async def test_the_look_tells_whose_it_is_and_what_would_stand_in_the_way(real_place: Place) -> None:
    """Sessions that the login may not end, by role, and settings that it may not give; with pg_signal_backend it may end them."""
    live = real_place.exchange.live
    role, name = f"exporter_{live}", sql.Identifier(live)
    with psycopg.connect(real_place.url, autocommit=True) as conn:
        conn.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(role)))
        conn.execute(sql.SQL("ALTER DATABASE {} SET log_min_duration_statement = 500").format(name))
        conn.execute(sql.SQL("ALTER DATABASE {} SET search_path = public").format(name))
    exporter = make_conninfo(real_place.url, user=role)
    with psycopg.connect(exporter), psycopg.connect(real_place.url):
        seen = (await real_place.copies.look(real_place.cluster, real_place.exchange.at, "postgres")).live
        assert seen is not None
        assert seen.foreign == {role: 1, "tester": 1}
        assert (seen.owner, seen.kept_back) == (f"owner_{live}", ("log_min_duration_statement",))
    with psycopg.connect(real_place.url, autocommit=True) as conn:
        conn.execute(sql.SQL("GRANT pg_signal_backend TO {}").format(sql.Identifier(f"owner_{live}")))
    with psycopg.connect(exporter):
        server = await real_place.copies.look(real_place.cluster, real_place.exchange.at, "postgres")
        assert server.login == f"owner_{live}"
        assert server.live is not None
        assert server.live.foreign == {}
        await real_place.rename(real_place.exchange.forth, real_place.exchange.kept)


def _prepared(place: Place, name: str) -> None:
    with psycopg.connect(place.url) as conn:
        conn.execute("CREATE TABLE orders (number int)")
        conn.commit()
        conn.execute("INSERT INTO orders VALUES (1)")
        conn.execute(b"PREPARE TRANSACTION '%b'" % name.encode())


def _slot(place: Place, name: str) -> None:
    with psycopg.connect(place.url, autocommit=True) as conn:
        conn.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", [name])


@contextmanager
def _replicating(place: Place, name: str) -> Iterator[None]:
    """A client of a role that the login may end, connected as programs of change data capture are."""
    _slot(place, name)
    role = sql.Identifier(f"cdc_{place.exchange.live}")
    with psycopg.connect(place.url, autocommit=True) as conn:
        conn.execute(sql.SQL("CREATE ROLE {} LOGIN REPLICATION").format(role))
        login = sql.Identifier(f"owner_{place.exchange.live}")
        conn.execute(sql.SQL("GRANT pg_signal_backend, pg_read_all_stats TO {}").format(login))
        conn.execute("CREATE PUBLICATION p FOR ALL TABLES")
    url = make_conninfo(place.url, user=f"cdc_{place.exchange.live}", replication="database")
    line = pq.PGconn.connect(url.encode())
    begin = f"START_REPLICATION SLOT {name} LOGICAL 0/0 (proto_version '1', publication_names 'p')"
    try:
        assert line.exec_(begin.encode()).status == pq.ExecStatus.COPY_BOTH
        yield
    finally:
        line.finish()


@contextmanager
def _with(real: bool, request: pytest.FixtureRequest, **held: str) -> Iterator[Place]:
    """A server of this side in whose database these are; of a real one they are gone afterwards."""
    if not real:
        yield simulated(**{kind: (name,) for kind, name in held.items()})
        return
    place: Place = request.getfixturevalue("real_place")
    with ExitStack() as stack:
        stack.callback(_tidied, place)
        for kind, name in held.items():
            if kind == "replicating":
                stack.enter_context(_replicating(place, name))
            else:
                (_prepared if kind == "prepared" else _slot)(place, name)
        yield place


def _tidied(place: Place) -> None:
    """A slot keeps WAL, and a prepared transaction stays when everybody is gone."""
    with psycopg.connect(place.url, dbname="postgres", autocommit=True) as conn:
        mine = [place.exchange.live, place.exchange.kept]
        wait = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = ANY(%s)"
        conn.execute("SELECT pg_terminate_backend(active_pid, 5000) FROM pg_replication_slots WHERE active")
        conn.execute(wait, [mine])
        found = conn.execute(
            "SELECT database, gid FROM pg_prepared_xacts WHERE database = ANY(%s)", [mine]
        ).fetchall()
    for database, gid in found:
        with psycopg.connect(place.url, dbname=database, autocommit=True) as conn:
            conn.execute(b"ROLLBACK PREPARED '%b'" % gid.encode())


SIDES = pytest.mark.parametrize("real", [False, True], ids=["simulated", "real"])


@SIDES
@pytest.mark.parametrize(
    ("held", "told"),
    [
        (
            {"prepared": "shop-1"},
            "the prepared transaction 'shop-1' (COMMIT PREPARED 'shop-1' or ROLLBACK PREPARED 'shop-1' ends it)",
        ),
        (
            {"replicating": "debezium"},
            "the client of the replication slot debezium (stop it: one that is ended connects again)",
        ),
    ],
    ids=["prepared", "replicating"],
)
async def test_what_no_login_ends_is_told_by_the_look_and_by_a_renaming_that_it_stops(
    request: pytest.FixtureRequest, real: bool, held: dict[str, str], told: str
) -> None:
    with _with(real, request, **held) as place:
        seen = await place.copies.look(place.cluster, place.exchange.at, place.exchange.entry)
        assert seen.live is not None
        assert (seen.live.in_the_way, seen.live.left_behind) == ((told,), ())
        with pytest.raises(ProbeUnavailable) as refused:
            await place.rename(place.exchange.forth, place.exchange.kept)
        assert refused.value.code == IN_USE
        assert refused.value.message.endswith(f"while in it is {told}; nothing was renamed")
        assert await place.names() == {"live": ("", True), "copy": (MARK, True)}


@SIDES
async def test_a_slot_with_nobody_connected_is_told_and_stays_with_the_former_database(
    request: pytest.FixtureRequest, real: bool
) -> None:
    told = (waiting_slot("debezium"),)
    with _with(real, request, slots="debezium") as place:
        before = await place.copies.look(place.cluster, place.exchange.at, place.exchange.entry)
        assert before.live is not None
        assert (before.live.in_the_way, before.live.left_behind) == ((), told)
        await place.rename(place.exchange.forth, place.exchange.kept)
        after = await place.copies.look(place.cluster, place.exchange.at, place.exchange.entry)
        kept = after.find(place.exchange.kept)
        assert after.live is not None
        assert kept is not None
        assert (after.live.left_behind, kept.left_behind) == ((), told)


async def test_a_subscription_is_told_too_and_one_that_is_enabled_is_in_the_way(real_place: Place) -> None:
    """Its worker comes again whenever it is ended; it is nowhere in the way while it is disabled."""
    look = functools.partial(real_place.copies.look, real_place.cluster, real_place.exchange.at, "postgres")
    with psycopg.connect(real_place.url, autocommit=True) as conn:
        conn.execute(
            "CREATE SUBSCRIPTION orders CONNECTION 'host=127.0.0.1 port=1' PUBLICATION p WITH (connect = false)"
        )
        seen = (await look()).live
        assert seen is not None
        assert (seen.in_the_way, seen.left_behind) == ((), (subscription("orders"),))
        conn.execute("UPDATE pg_subscription SET subenabled = true")
        seen = (await look()).live
        conn.execute("UPDATE pg_subscription SET subenabled = false")
        conn.execute("ALTER SUBSCRIPTION orders SET (slot_name = NONE)")
        conn.execute("DROP SUBSCRIPTION orders")
    assert seen is not None
    assert 'the worker of the subscription "orders"' in seen.in_the_way[0]


async def test_the_look_tells_rights_sizes_clients_and_who_keeps_wal(real_place: Place) -> None:
    owner = f"owner_{real_place.exchange.live}"
    url = make_conninfo(real_place.url, user=owner, application_name="langgraph")
    with psycopg.connect(url), psycopg.connect(url), psycopg.connect(real_place.url, autocommit=True) as conn:
        conn.execute(f"GRANT pg_read_server_files TO {owner}".encode())
        conn.execute("SELECT pg_create_physical_replication_slot(%s, true)", [owner])
        seen = await real_place.copies.look(real_place.cluster, real_place.exchange.at, "postgres")
        conn.execute("SELECT pg_drop_replication_slot(%s)", [owner])
    assert (seen.superuser, seen.may_create, seen.powers) == (False, True, ("pg_read_server_files",))
    assert (owner in seen.wal.slots, seen.wal.unarchived) == (True, False)
    live, owned = seen.live, {found.name: found.owned for found in seen.databases}
    assert live
    assert (owned[live.name], owned["postgres"], (live.size or 0) > 1_000_000) == (True, False, True)
    assert live.clients == {"langgraph": 2, "no application name": 1}
