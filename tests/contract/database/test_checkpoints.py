"""What is counted and removed of LangGraph's checkpoints: the same on a simulated and on a real PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any, LiteralString

import psycopg
import pytest

from app.database import checkpoint_queries as queries
from app.database import checkpoints
from app.database.checkpoints import PostgresCheckpoints
from app.database.connect import Connections
from app.domain.checkpoints import Amount, Key, Page, Survey, Tally, id_at
from app.domain.errors import Held, ProbeUnavailable
from app.observe.system import SystemClock
from app.sim.checkpoints import LangGraph, Tables, Threads
from tests.contract.database import langgraph
from tests.contract.database.sides import LOGIN, PLAIN, RealSide, Side

DAY = 86_400.0
OLD, YOUNG = (
    Threads(count=3, checkpoints=5, newest=40 * DAY),
    Threads(count=2, checkpoints=10, newest=DAY, every=5 * DAY),
)


async def _yes() -> None:
    return


async def _survey(side: Side) -> Survey:
    return await side.databases.checkpoints.survey(side.cluster, side.at, 30)


async def _denied(side: Side) -> list[str]:
    return list(await side.databases.checkpoints.denied(side.cluster, side.at))


async def _remove_all(side: Side, survey: Survey, ask: Callable[[], Awaitable[None]] = _yes) -> Page:
    done = Page(Tally(), 0, Key())
    while done.last is not None:
        done += await side.databases.checkpoints.remove(side.cluster, side.at, survey.before, done.last, ask)
    return done


def _rows(tally: Tally) -> tuple[int, int, int]:
    return tally.checkpoints.rows, tally.blobs.rows, tally.writes.rows


@pytest.mark.parametrize(
    ("threads", "gone"),
    [
        ((OLD,), (12, 12, 12)),  # of three threads four each; the newest and the value that it shares stay
        ((YOUNG,), (8, 8, 8)),  # 46, 41, 36 and 31 days old, of two threads
        ((OLD, YOUNG), (20, 20, 20)),
        ((Threads(checkpoints=1, newest=400 * DAY),), (0, 0, 0)),
        ((Threads(checkpoints=4, newest=100 * DAY, delta=True),), (0, 0, 0)),
        ((Threads(checkpoints=4, newest=100 * DAY, odd=True),), (0, 0, 0)),
        (
            (Threads(checkpoints=4, newest=100 * DAY, format=3),),
            (2, 2, 2),
        ),  # its sends stand among the parent's writes
        ((Threads(checkpoints=3, newest=100 * DAY, namespace="sub:1"),), (2, 2, 2)),
        ((Threads(checkpoints=30, newest=100 * DAY),), (29, 29, 29)),  # more than a page of the simulation
    ],
)
async def test_what_is_counted_goes_and_nothing_else(
    side: Side, threads: tuple[Threads, ...], gone: tuple[int, int, int]
) -> None:
    await side.start(langgraph=LangGraph(threads=threads))
    survey = await _survey(side)
    assert _rows(survey.counted.tally) == gone
    assert survey.counted.last is None
    assert survey.counted.looked == sum(t.count * t.checkpoints for t in threads)
    done = await _remove_all(side, survey)
    assert _rows(done.tally) == gone
    assert done.looked == survey.counted.looked
    assert _rows((await _survey(side)).counted.tally) == (0, 0, 0)
    assert (await _remove_all(side, survey)).tally == Tally(), "a second time changes nothing"


async def test_what_is_kept_for_another_reason_is_told(side: Side) -> None:
    threads = (
        Threads(checkpoints=4, newest=100 * DAY, delta=True),
        Threads(checkpoints=3, newest=100 * DAY, odd=True),
    )
    await side.start(langgraph=LangGraph(threads=threads))
    survey = await _survey(side)
    assert (survey.counted.delta, survey.counted.odd, survey.version) == (3, 3, 9)
    assert set(survey.sizes) == {"checkpoints", "checkpoint_blobs", "checkpoint_writes"}


@pytest.mark.parametrize("spec", [None, LangGraph(version=10), LangGraph(version=3)])
async def test_a_schema_that_is_not_known_is_refused_in_words(side: Side, spec: LangGraph | None) -> None:
    await side.start(langgraph=spec)
    for call in (
        _survey(side),
        _denied(side),
        side.databases.checkpoints.remove(side.cluster, side.at, side.now, Key(), _yes),
    ):
        with pytest.raises(
            ProbeUnavailable, match=r"the schema is not known: expected are .* migration 4 to 9; found: "
        ) as raised:
            await call
        assert raised.value.code == "unknown_schema"
        assert ("migration" if spec else "no table checkpoints") in raised.value.message.partition("found: ")[
            2
        ]


async def test_a_login_that_may_not_delete_is_told_before_anything_is_tried(side: Side) -> None:
    await side.start(langgraph=LangGraph(threads=(OLD,), deletes=False))
    assert await _denied(side) == ["checkpoint_blobs", "checkpoint_writes", "checkpoints"]


async def test_nothing_is_removed_when_something_holds_it(side: Side) -> None:
    await side.start(langgraph=LangGraph(threads=(OLD,)))
    survey = await _survey(side)

    async def held() -> None:
        raise Held("paused by kim")

    with pytest.raises(Held):
        await _remove_all(side, survey, held)
    assert (await _survey(side)).counted == survey.counted


async def test_every_newest_checkpoint_loads_what_it_loaded_before(real: RealSide) -> None:
    """With the joins of LangGraph's own saver, over threads of every kind at once and pages that cut threads."""
    kinds: tuple[Threads, ...] = (OLD, YOUNG, Threads(count=2, checkpoints=4, newest=90 * DAY, delta=True))
    kinds += (Threads(count=2, checkpoints=6, newest=50 * DAY, format=2, namespace="sub:x"),)
    await real.start(langgraph=LangGraph(threads=kinds))
    with psycopg.connect(real.url, autocommit=True) as conn:
        before = {group: langgraph.load(conn, *group) for group in langgraph.groups(conn)}
        small = PostgresCheckpoints(SystemClock(), Connections(SystemClock()), removed=7)
        survey, done = await _survey(real), Page(Tally(), 0, Key())
        while done.last is not None:
            done += await small.remove(real.cluster, real.at, survey.before, done.last, _yes)
        assert done.tally == survey.counted.tally
        assert {group: langgraph.load(conn, *group) for group in langgraph.groups(conn)} == before
        assert all(found is not None and len(found[1]) == 2 for found in before.values())


async def test_a_snapshot_of_a_delta_channel_is_enough_to_leave_its_thread_whole(real: RealSide) -> None:
    """A checkpoint without counters whose value is the mark `true` with a blob, as a fork or an update may leave it."""
    await real.start(langgraph=LangGraph(threads=(Threads(checkpoints=4, newest=100 * DAY),)))
    with psycopg.connect(real.url, autocommit=True) as conn:
        conn.execute(
            "UPDATE checkpoints SET checkpoint = jsonb_set(checkpoint, '{channel_values,context}', 'true')"
            " WHERE checkpoint_id = (SELECT min(checkpoint_id) FROM checkpoints)"
        )
    survey = await _survey(real)
    assert (_rows(survey.counted.tally), survey.counted.delta) == ((0, 0, 0), 3)


async def test_a_checkpoint_is_as_young_as_the_younger_of_its_id_and_its_ts(real: RealSide) -> None:
    await real.start(langgraph=LangGraph(threads=(Threads(checkpoints=3, newest=100 * DAY),)))
    with psycopg.connect(real.url, autocommit=True) as conn:
        conn.execute(
            "UPDATE checkpoints SET checkpoint = jsonb_set(checkpoint, '{ts}', '\"2999-01-01T00:00:00+00:00\"')"
        )
    assert _rows((await _survey(real)).counted.tally) == (0, 0, 0)


async def test_a_lock_that_is_not_free_is_waited_for_briefly_and_nothing_goes(real: RealSide) -> None:
    await real.start(langgraph=LangGraph(threads=(OLD,)))
    survey = await _survey(real)
    with psycopg.connect(real.url) as conn:
        conn.execute("SELECT * FROM checkpoints FOR UPDATE")
        with pytest.raises(ProbeUnavailable, match="a lock was not free within 2 s"):
            await _remove_all(real, survey)
    assert (await _survey(real)).counted == survey.counted


_FEEDBACK = (
    "CREATE TABLE feedback (thread_id text, ns text, cid text, FOREIGN KEY (thread_id, ns, cid)"
    " REFERENCES checkpoints (thread_id, checkpoint_ns, checkpoint_id) ON DELETE CASCADE)"
)
_TRIGGER = (
    "CREATE FUNCTION more() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;"
    " CREATE TRIGGER more AFTER {} ON checkpoint_blobs EXECUTE FUNCTION more()"
)
_SECOND = (
    f"CREATE SCHEMA {LOGIN}; GRANT ALL ON SCHEMA {LOGIN} TO PUBLIC;"
    f" CREATE TABLE {LOGIN}.checkpoint_blobs (LIKE checkpoint_blobs)"
)


@pytest.mark.parametrize(
    ("attached", "told"),
    [
        (
            _FEEDBACK,
            "checkpoints is referred to by the foreign key feedback_thread_id_ns_cid_fkey of feedback",
        ),
        (_TRIGGER.format("DELETE"), "checkpoint_blobs has the trigger more"),
        (_TRIGGER.format("INSERT OR DELETE"), "checkpoint_blobs has the trigger more"),
        (
            "ALTER TABLE checkpoint_writes ENABLE ROW LEVEL SECURITY",
            "checkpoint_writes has row-level security that holds for this login",
        ),
        ("CREATE TABLE extra () INHERITS (checkpoints)", "checkpoints is inherited by extra"),
        (
            "CREATE TABLE base (thread_id text NOT NULL); ALTER TABLE checkpoint_blobs INHERIT base",
            "checkpoint_blobs inherits from base",
        ),
        (
            "CREATE RULE quiet AS ON DELETE TO checkpoints DO INSTEAD NOTHING",
            "checkpoints has the rule quiet",
        ),
        (
            _SECOND,
            f"the tables stand in the schemas public and {LOGIN}",
        ),
    ],
)
async def test_what_a_removal_would_reach_or_miss_unseen_is_refused_and_named(
    real: RealSide, attached: LiteralString, told: str
) -> None:
    """By every call, the removal too: it may have come since the look."""
    await real.start(langgraph=LangGraph(threads=(OLD,)))
    survey = await _survey(real)
    with psycopg.connect(real.url, autocommit=True) as conn:
        conn.execute(attached)
        for call in (_denied(real), _survey(real), _remove_all(real, survey)):
            with pytest.raises(
                ProbeUnavailable, match="with nothing attached, at migration 4 to 9; found: "
            ) as raised:
                await call
            assert raised.value.code == "unknown_schema"
            assert raised.value.message.partition("found: ")[2] == told
        assert langgraph.rows_of(conn, "public.checkpoints") == 15


@pytest.mark.parametrize(
    "harmless", [_TRIGGER.format("INSERT"), "CREATE VIEW seen AS SELECT * FROM checkpoints"]
)
async def test_what_a_removal_does_not_reach_hinders_nothing(real: RealSide, harmless: LiteralString) -> None:
    await real.start(langgraph=LangGraph(threads=(OLD,)))
    with psycopg.connect(real.url, autocommit=True) as conn:
        conn.execute(harmless)
    assert _rows((await _remove_all(real, await _survey(real))).tally) == (12, 12, 12)


async def test_what_is_attached_to_a_partition_is_found_and_partitions_are_no_matter(real: RealSide) -> None:
    await real.start(langgraph=LangGraph(threads=()))
    with psycopg.connect(real.url, autocommit=True) as conn:
        conn.execute("ALTER TABLE checkpoint_blobs RENAME TO part")
        conn.execute("CREATE TABLE checkpoint_blobs (LIKE part INCLUDING ALL) PARTITION BY LIST (channel)")
        conn.execute(
            "ALTER TABLE checkpoint_blobs ATTACH PARTITION part DEFAULT; GRANT ALL ON checkpoint_blobs TO PUBLIC"
        )
        assert await _denied(real) == []
        conn.execute("CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$")
        conn.execute("CREATE TRIGGER more AFTER DELETE ON part FOR EACH ROW EXECUTE FUNCTION f()")
    with pytest.raises(ProbeUnavailable, match="checkpoint_blobs has the trigger more"):
        await _denied(real)


@pytest.mark.parametrize(
    "ts", [None, '""', "12", '"garbage"', '"-infinity"', '"2020-01-01T00:00:00+14:00"', "{}"]
)
async def test_a_checkpoint_whose_ts_tells_no_time_is_not_judged_and_stays(
    real: RealSide, ts: str | None
) -> None:
    await real.start(langgraph=LangGraph(threads=(OLD,)))
    with psycopg.connect(real.url, autocommit=True) as conn:
        if ts is None:
            conn.execute("UPDATE checkpoints SET checkpoint = checkpoint - 'ts'")
        else:
            conn.execute("UPDATE checkpoints SET checkpoint = jsonb_set(checkpoint, '{ts}', %s::jsonb)", [ts])
    survey = await _survey(real)
    assert (_rows(survey.counted.tally), survey.counted.odd) == ((0, 0, 0), 15)
    assert _rows((await _remove_all(real, survey)).tally) == (0, 0, 0)


async def test_a_ts_as_the_savers_of_both_languages_write_it_is_judged(real: RealSide) -> None:
    await real.start(langgraph=LangGraph(threads=(OLD,)))
    with psycopg.connect(real.url, autocommit=True) as conn:
        conn.execute(
            "UPDATE checkpoints SET checkpoint = jsonb_set(checkpoint, '{ts}', '\"2020-01-01T00:00:00.123Z\"')"
        )
    assert _rows((await _survey(real)).counted.tally) == (12, 12, 12)


async def test_a_value_that_a_kept_checkpoint_would_lose_takes_everything_back(
    real: RealSide, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Something that nobody looks for removes more than it was told: the page is looked at again before the commit."""
    monkeypatch.setattr(queries, "ATTACHED", "SELECT '' FROM unnest(%(tables)s::text[]) WHERE false")
    await real.start(langgraph=LangGraph(threads=(OLD,)))
    survey = await _survey(real)
    with psycopg.connect(real.url, autocommit=True) as conn:
        conn.execute(
            "CREATE FUNCTION greedy() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " DELETE FROM checkpoint_blobs WHERE thread_id = OLD.thread_id AND channel = 'context'; RETURN NULL; END $$"
        )
        conn.execute(
            "CREATE TRIGGER greedy AFTER DELETE ON checkpoints FOR EACH ROW EXECUTE FUNCTION greedy()"
        )
    with pytest.raises(ProbeUnavailable, match="nothing of this page was removed") as raised:
        await _remove_all(real, survey)
    assert raised.value.code == "values_missing"
    assert (await _survey(real)).counted == survey.counted


async def test_columns_that_differ_are_named(real: RealSide) -> None:
    await real.start(langgraph=LangGraph())
    with psycopg.connect(real.url, autocommit=True) as conn:
        conn.execute("ALTER TABLE checkpoint_blobs DROP COLUMN version")
        conn.execute("ALTER TABLE checkpoints ALTER COLUMN metadata TYPE json")
    with pytest.raises(ProbeUnavailable) as raised:
        await _survey(real)
    assert (
        "checkpoints.metadata is json, not jsonb; checkpoint_blobs has no column version"
        in raised.value.message
    )


async def test_many_threads_go_in_pages(real: RealSide) -> None:
    """4,000 checkpoints of 200 threads, with a writer at work."""
    spec = LangGraph(threads=(Threads(count=200, checkpoints=20, newest=31 * DAY),))
    await real.start(langgraph=spec)
    survey = await _survey(real)
    assert survey.counted.tally.checkpoints.rows == 200 * 19
    newest = max(Tables(spec, real.now).rows.values(), key=lambda row: row.key)
    with psycopg.connect(real.url, autocommit=True) as conn:
        before = {group: langgraph.load(conn, *group) for group in langgraph.groups(conn)}

        async def goes_on() -> None:
            """The last thread takes another step, which refers to what its newest checkpoint refers to."""
            at = real.now + timedelta(seconds=1)
            row = replace(newest, key=newest.key._replace(id=id_at(at)), at=at, parent=newest.key.id)
            conn.execute(
                "INSERT INTO checkpoints (thread_id, checkpoint_ns, checkpoint_id, checkpoint)"
                " VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING",
                (*row.key, json.dumps(langgraph.document(row))),
            )

        done = await _remove_all(real, survey, goes_on)
        assert done.tally.checkpoints == Amount(200 * 19 + 1, done.tally.checkpoints.bytes), (
            "its former newest is old now"
        )
        after: dict[Any, Any] = {group: langgraph.load(conn, *group) for group in langgraph.groups(conn)}
        assert {g: found[1] for g, found in after.items()} == {
            g: found[1] for g, found in before.items() if found
        }
        assert langgraph.rows_of(conn, "checkpoint_writes") == 199


async def test_a_long_thread_goes_in_pages_that_are_a_part_of_it(
    real: RealSide, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of a thread is read for each of its pages, so pages of a fixed size would read it as often as it is long. What follows it goes too."""
    monkeypatch.setattr(checkpoints, "_LONG", 4)
    long, short = Threads(checkpoints=200, newest=40 * DAY), Threads(count=2, checkpoints=3, newest=50 * DAY)
    await real.start(langgraph=LangGraph(threads=(short, long, short)))
    survey = await _survey(real)
    assert (survey.counted.last, survey.counted.looked) == (None, 212)
    in_small = PostgresCheckpoints(SystemClock(), Connections(SystemClock()), removed=10)
    done, pages = Page(Tally(), 0, Key()), 0
    while done.last is not None:
        done, pages = (
            done + await in_small.remove(real.cluster, real.at, survey.before, done.last, _yes),
            pages + 1,
        )
    assert done.tally == survey.counted.tally
    assert (_rows(done.tally)[0], done.looked) == (199 + 4 * 2, 212)
    assert pages < 15


@pytest.mark.parametrize("what", ["count", "removal"])
async def test_a_thread_that_is_too_long_is_named_with_a_way_out(
    real: RealSide, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    await real.start(langgraph=LangGraph(threads=(Threads(checkpoints=30, newest=40 * DAY),)))
    survey = await _survey(real)
    monkeypatch.setattr(checkpoints, "REMOVED", 0)
    monkeypatch.setattr(checkpoints, "_COUNT" if what == "count" else "_STATEMENT", 100)
    monkeypatch.setattr(queries, "COUNT" if what == "count" else "REMOVE", "SELECT pg_sleep(60)")
    with pytest.raises(ProbeUnavailable, match=r"the thread \S+ has 30 checkpoints.*delete_thread") as raised:
        await (_survey(real) if what == "count" else _remove_all(real, survey))
    assert raised.value.code == "query_failed"


@pytest.mark.parametrize("name", [PLAIN])
async def test_a_login_without_rights_sees_the_tables_and_is_told(real: RealSide, name: str) -> None:
    await real.start(langgraph=LangGraph(threads=(OLD,)), login=name)
    with psycopg.connect(real.url, autocommit=True) as conn:
        conn.execute("REVOKE DELETE ON checkpoint_writes FROM PUBLIC")
    assert await _denied(real) == ["checkpoint_writes"]
