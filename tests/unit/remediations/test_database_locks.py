"""Who holds the database up where several do: of two databases, superusers, replication, and prepared transactions."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from app.domain.database import PREPARED_PID, Activity, PreparedTransaction, Session, SessionId
from app.domain.evidence import Finding
from app.sim.databases import DatabaseClients
from remediations.database_connections import BY_HAND, END_BLOCKER, END_IDLE
from remediations.evidence.database_locks import locks_finding
from tests.unit.remediations.stage import Stage
from tests.unit.remediations.test_database_connections import IDLE, applying, look, pids, world

NOW = datetime(2026, 1, 5, 3, tzinfo=UTC)
OWN = "shop"


def session(pid: int, seconds: float, *blocked_by: int, database: str = OWN, **more: object) -> Session:
    since = NOW - timedelta(seconds=seconds)
    row = Session(
        pid=pid,
        id=SessionId(pid, since),
        database=database,
        user="app",
        application=f"app-{pid}",
        client="",
        state="active",
        state_since=since,
        waits_since=since if blocked_by else None,
        blocked_by=blocked_by,
    )
    return replace(row, **more)  # type: ignore[arg-type]


def seen(*sessions: Session, prepared: tuple[str, ...] = ()) -> Activity:
    old = NOW - timedelta(hours=2)
    names = tuple(PreparedTransaction(name, "app", old) for name in prepared)
    return Activity(NOW, "17.1", OWN, 100, 97, len(sessions), sessions, prepared=names)


def ended(finding: Finding) -> int | None:
    chosen = finding.data["session"]
    assert chosen is None or isinstance(chosen, list)
    return None if chosen is None else int(str(chosen[0]))


async def test_a_blocker_of_another_database_hides_nobody_that_holds_up_this_one() -> None:
    there = DatabaseClients(application="batch", state="active", since=9_000.0, database="other")
    behind = DatabaseClients(
        application="report", state="active", since=5_000.0, waits_for="batch", database="other"
    )
    here = DatabaseClients(
        application="migration", state="active", since=4_000.0, query="ALTER TABLE a ADD b int"
    )
    waits = DatabaseClients(application="api", state="active", since=900.0, count=2, waits_for="migration")
    diagnosis, steps = await look(world(there, behind, here, waits))
    assert applying(steps) == [END_BLOCKER]
    assert pids(steps[END_BLOCKER]) == [1003]
    locks = diagnosis.finding("database.locks")
    assert locks is not None
    assert locks.text.startswith("pid 1003 migration (langgraph) blocks 2 sessions, the longest for 16 min")
    assert (
        "in other databases of the server (other) 1 session waits for locks, the longest for 1 h 24 min"
        in locks.text
    )


async def test_a_blocker_of_another_database_alone_is_told_as_that_and_holds_nobody_up_here() -> None:
    there = DatabaseClients(**IDLE, since=9_000.0, database="other")
    behind = DatabaseClients(
        application="report", state="active", since=5_000.0, waits_for="ingest", database="other"
    )
    diagnosis, steps = await look(world(there, behind))
    assert applying(steps) == []
    locks, idle = diagnosis.finding("database.locks"), diagnosis.finding("database.idle")
    assert locks is not None
    assert idle is not None
    assert locks.text.startswith(
        "Nobody waits for a lock; in other databases of the server (other) 1 session waits"
    )
    assert locks.data["waiting"] == 0
    assert (
        idle.text
        == "No session is idle in a transaction for 10 min or longer (0 for less); 1 session of other databases idle in one"
    )


@pytest.mark.parametrize("role", ["superuser", "replicator", "standby"])
async def test_who_is_never_ended_hides_nobody_that_may_be(role: str) -> None:
    boss = DatabaseClients.model_validate(
        {"application": "vacuum", "state": "active", "since": 9_000.0, "role": role}
    )
    first = DatabaseClients(application="cron", state="active", since=3_000.0, waits_for="vacuum")
    here = DatabaseClients(application="migration", state="active", since=2_000.0)
    waits = DatabaseClients(application="api", state="active", since=900.0, waits_for="migration")
    diagnosis, steps = await look(world(boss, first, here, waits))
    assert pids(steps[END_BLOCKER]) == [1003]
    locks = diagnosis.finding("database.locks")
    assert locks is not None
    assert (
        "pid 1001 vacuum (langgraph) blocks 1 session, the longest for 51 min as well (it is never ended: "
        in locks.text
    )


async def test_who_the_login_may_not_end_hides_nobody_that_it_may() -> None:
    clients = (
        DatabaseClients(application="theirs", user="other", state="active", since=9_000.0),
        DatabaseClients(application="a", state="active", since=3_000.0, waits_for="theirs"),
        DatabaseClients(application="ours", state="active", since=2_000.0),
        DatabaseClients(application="b", state="active", since=900.0, waits_for="ours"),
    )
    _, steps = await look(world(*clients, may_end=False))
    assert pids(steps[END_BLOCKER]) == [1003]
    assert "the login may not end sessions of other" in steps[END_BLOCKER].why


async def test_a_person_is_told_what_holds_the_database_up_where_nothing_can_be_ended() -> None:
    boss = DatabaseClients(application="vacuum", state="active", since=9_000.0, role="superuser")
    waits = DatabaseClients(application="api", state="active", since=900.0, waits_for="vacuum")
    _, steps = await look(world(boss, waits))
    assert applying(steps) == []
    assert "pid 1001 vacuum (langgraph) blocks 1 session, the longest for 16 min" in steps[BY_HAND].why


async def test_an_idle_session_whose_waiters_wait_for_a_prepared_transaction_too_is_not_ended_in_vain() -> (
    None
):
    idle = session(1, 9_000, state="idle in transaction")
    one, other = session(2, 900, 1, PREPARED_PID), session(3, 800, 1)
    both = locks_finding(seen(idle, one, other, prepared=("order-7",)), 300)
    assert ended(both) == 1, "the other is freed"
    assert "ROLLBACK PREPARED 'order-7'" in both.text
    vain = locks_finding(seen(idle, one, prepared=("order-7",)), 300)
    assert ended(vain) is None
    assert vain.data["against"] == (
        "to end it would free nobody: who waits for it waits for a prepared transaction too, which is not ended"
    )


@pytest.mark.parametrize(
    ("stays", "ends"),
    [
        ({"protected": "its user is a superuser"}, None),
        ({"protected": "it replicates"}, None),
        ({"database": "other"}, None),
        ({"endable": False}, None),
        ({}, 1),
        ({"blocked_by": (1,), "waits_since": NOW}, 1),
    ],
)
def test_a_second_holder_that_stays_makes_an_end_vain_and_one_that_may_be_ended_or_waits_does_not(
    stays: dict[str, object], ends: int | None
) -> None:
    finding = locks_finding(seen(session(1, 9_000), session(2, 5_000, **stays), session(3, 900, 1, 2)), 300)  # type: ignore[arg-type]
    assert ended(finding) == ends


def test_a_prepared_transaction_of_another_database_is_none_of_ours() -> None:
    there = session(3, 900, PREPARED_PID, database="other")
    finding = locks_finding(seen(there), 300)
    assert finding.text.startswith("Nobody waits for a lock; in other databases of the server (other)")
    assert seen(there).longest_held_up() is None
    assert seen(session(3, 900, PREPARED_PID)).longest_held_up() == timedelta(seconds=900)


def test_a_holder_of_another_database_that_holds_up_ours_is_told_and_not_ended() -> None:
    """Objects of the whole server (roles, databases) can be waited for across databases."""
    finding = locks_finding(seen(session(1, 9_000, database="other"), session(2, 900, 1)), 300)
    assert ended(finding) is None
    assert (finding.data["against"], finding.data["waiting"]) == ("it belongs to the database other", 1)


def test_a_session_of_ours_that_holds_up_another_database_is_one_that_holds_up_ours() -> None:
    finding = locks_finding(seen(session(1, 9_000), session(2, 900, 1, database="other")), 300)
    assert ended(finding) == 1


def test_a_walsender_that_waits_is_one_that_waits() -> None:
    """A logical one is of a database; a physical one is of none, and holds no lock of any."""
    sender = session(2, 900, 1, protected="it replicates", waits_for_transaction=True)
    assert ended(locks_finding(seen(session(1, 9_000), sender), 300)) == 1
    physical = session(3, 90_000, database="", protected="it replicates")
    assert ended(locks_finding(seen(physical, session(1, 9_000), sender), 300)) == 1


async def test_idle_sessions_that_are_never_ended_are_told_as_old() -> None:
    diagnosis, steps = await look(world(DatabaseClients(**IDLE, since=4_000.0, role="superuser")))
    assert END_IDLE not in applying(steps)
    idle = diagnosis.finding("database.idle")
    assert idle is not None
    assert (
        idle.text
        == "1 session idle in a transaction for 10 min or longer and never ended: its user is a superuser"
    )


@pytest.mark.parametrize(
    ("holder", "due"),
    [
        ({}, 100.0),
        ({"protected": "its user is a superuser"}, None),
        ({"endable": False}, None),
        ({"database": "other"}, None),
    ],
)
def test_who_has_not_held_others_up_for_long_enough_is_due_later_if_it_may_be_ended_at_all(
    holder: dict[str, object], due: float | None
) -> None:
    assert locks_finding(seen(session(1, 9_000, **holder), session(2, 200, 1)), 300).data["due"] == due  # type: ignore[arg-type]


async def test_a_blocker_that_may_be_ended_soon_says_when() -> None:
    holder = DatabaseClients(application="migration", state="active", since=9_000.0)
    waits = DatabaseClients(application="api", state="active", since=100.0, waits_for="migration")
    stage = Stage("database-connections", world(holder, waits))
    _, steps = await stage.look(service="postgres")
    later = steps[END_BLOCKER].later
    assert later is not None
    assert (later - stage.clock.now()).total_seconds() == pytest.approx(300 - 160 + 1, abs=2)
    assert steps[END_IDLE].later is None
    assert all(step.later is None for name, step in steps.items() if name != END_BLOCKER)
