"""Lists of incidents: filters, facets, paging, what is new; and how much is looked at, on both databases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, event, update

from app.domain.decision import Code, Decision, GateResult, Verdict
from app.domain.events import EventKind
from app.domain.outcome import IncidentState, RunState
from app.store import (
    audit,
    incidents,
    listing,
    records,
    runs,
    schema,
    standing,
    trail,
    work,
    workloads,
)
from app.store.database import Store
from app.store.listing import Listed, Wanted
from app.store.migrate import upgrade
from app.store.records import Sought
from app.store.tx import Tx
from tests.contract.stores import START, HandClock, delivery, firing, new_run, open_incident, request_run

NAMES = ("Red", "Green", "Blue")


async def filled(store: Store, clock: HandClock, count: int = 12) -> list[str]:
    """So many incidents, one a minute, oldest first: names in turn, each fourth one fixed."""
    found = []
    for number in range(count):
        receipt = await store.ingest(delivery(firing(f"f{number}", name=f"{NAMES[number % 3]}{number}")))
        found.append(receipt.incident_ids[0])
        if number % 4 == 0:
            await store.write(lambda tx: incidents.move(tx, found[-1], IncidentState.FIXED))
        target = f"rag7/Deployment/app-{number}"
        await store.write(lambda tx, target=target: incidents.set_target(tx, found[-1], target))  # type: ignore[misc]
        clock.forward(minutes=1)
    return found


async def listed(store: Store, wanted: Wanted, before: str | None = None, limit: int = 50) -> Listed:
    """One page."""
    return await store.read(lambda conn: listing.page(conn, wanted, before, limit))


def ids(found: Listed) -> list[str]:
    """Which, in their order."""
    return [row.id for row in found.rows]


async def test_a_filter_lists_what_fits_newest_first(store: Store, clock: HandClock) -> None:
    made = await filled(store, clock)
    newest = made[::-1]
    assert ids(await listed(store, Wanted())) == newest
    fixed = Wanted(states=(IncidentState.FIXED,))
    assert ids(await listed(store, fixed)) == [made[8], made[4], made[0]]
    either = Wanted(states=(IncidentState.FIXED, IncidentState.OPEN))
    assert ids(await listed(store, either)) == newest
    assert ids(await listed(store, Wanted(alertname="Green4"))) == [made[4]]
    assert ids(await listed(store, Wanted(alertname="green4"))) == []
    assert ids(await listed(store, Wanted(namespace="rag7", target="APP-1"))) == [made[11], made[10], made[1]]
    assert ids(await listed(store, Wanted(target="app_1"))) == [], "no wildcard"
    times = Wanted(since=START + timedelta(minutes=3), until=START + timedelta(minutes=5))
    assert ids(await listed(store, times)) == [made[4], made[3]]


async def test_pages_follow_each_other_and_new_rows_do_not_shift_them(store: Store, clock: HandClock) -> None:
    made = await filled(store, clock)
    first = await listed(store, Wanted(), limit=5)
    await open_incident(store, "late", "Late")
    second = await listed(store, Wanted(), first.following, 5)
    third = await listed(store, Wanted(), second.following, 5)
    assert ids(first) + ids(second) + ids(third) == made[::-1]
    assert (first.more, second.more, third.more, third.following) == (False, False, False, None)


async def test_a_look_ends_after_so_many_rows_and_can_go_on(
    store: Store, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rare alert among very many costs one look a press."""
    made = await filled(store, clock)
    monkeypatch.setattr(listing, "LOOKED_AT", 4)
    rare = Wanted(alertname="Red0")
    found, looks, before = [], 0, None
    while looks == 0 or before is not None:
        page = await listed(store, rare, before)
        found += ids(page)
        looks, before = looks + 1, page.following
        assert page.more is (before is not None)
    assert (found, looks) == ([made[0]], 3)


async def test_facets_count_what_another_choice_would_give(store: Store, clock: HandClock) -> None:
    await filled(store, clock)
    all_of_it = await store.read(lambda conn: listing.facets(conn, Wanted()))
    assert all_of_it["state"] == [("open", 9), ("fixed", 3)]
    assert all_of_it["namespace"] == [("rag7", 12)]
    assert len(all_of_it["alertname"]) == 12
    chosen = Wanted(states=(IncidentState.FIXED,))
    found = await store.read(lambda conn: listing.facets(conn, chosen))
    assert found["state"] == [("open", 9), ("fixed", 3)], "its own field is not narrowed"
    assert [name for name, _ in found["alertname"]] == ["Blue8", "Green4", "Red0"]
    early = Wanted(until=START + timedelta(minutes=2))
    found = await store.read(lambda conn: listing.facets(conn, early))
    assert found["state"] == [("fixed", 1), ("open", 1)]


async def decide(store: Store, incident: str, rule: str, *answers: tuple[str, Verdict]) -> None:
    """A decision on the incident, by this rule and with these answers of gates, the strongest first."""
    gates = tuple(GateResult(gate, verdict, Code.PAUSED, "", "") for gate, verdict in answers)
    said = Decision(answers[0][1], Code.PAUSED, "", rule, "scale", "add", gates).to_json()

    def put(tx: Tx) -> None:
        work.put_decision(
            tx, f"dec_{incident}_{len(work.decisions_of(tx.conn, incident))}", incident, None, said
        )

    await store.write(put)


async def test_incidents_are_listed_by_the_rule_and_the_gate_of_their_last_decision(
    store: Store, clock: HandClock
) -> None:
    made = await filled(store, clock, 6)
    await decide(store, made[0], "red", ("cooldown", Verdict.DENY), ("budget", Verdict.ASK))
    await decide(store, made[1], "red", ("cooldown", Verdict.DENY))
    await decide(store, made[1], "red", ("busy", Verdict.ALLOW))
    await decide(store, made[2], "blue", ("approval", Verdict.ASK), ("cooldown", Verdict.ALLOW))
    await decide(store, made[3], "blue", ("storm", Verdict.OBSERVE))
    assert ids(await listed(store, Wanted(rule="red"))) == [made[1], made[0]]
    assert ids(await listed(store, Wanted(rule="re"))) == []
    assert ids(await listed(store, Wanted(gate="cooldown"))) == [made[0]], (
        "not what a later decision let go on"
    )
    assert ids(await listed(store, Wanted(gate="approval"))) == [], "who waits for a person is not stopped"
    assert ids(await listed(store, Wanted(gate="storm", rule="blue"))) == [made[3]]
    assert ids(await listed(store, Wanted(gate="storm", rule="red"))) == []
    newer = await store.read(lambda conn: listing.newer(conn, Wanted(rule="blue"), made[1]))
    assert newer == 2
    first = await listed(store, Wanted(rule="blue"), limit=1)
    assert (ids(first), first.more) == ([made[3]], False)
    assert ids(await listed(store, Wanted(rule="blue"), first.following)) == [made[2]]


async def test_a_look_that_reads_decisions_ends_after_so_many_and_says_where(
    store: Store, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "LOOKED_INTO", 4)
    monkeypatch.setattr(listing, "_AT_ONCE", 2)
    made = await filled(store, clock, 7)
    await decide(store, made[0], "red", ("cooldown", Verdict.DENY))
    first = await listed(store, Wanted(rule="red"))
    assert (ids(first), first.following, first.more) == ([], made[3], True)
    second = await listed(store, Wanted(rule="red"), first.following)
    assert (ids(second), second.following, second.more) == ([made[0]], None, False)


async def test_incidents_are_listed_by_how_a_run_of_theirs_ended(store: Store, clock: HandClock) -> None:
    made = await filled(store, clock, 3)
    for number, state in ((0, RunState.UNDONE), (1, RunState.FIXED)):
        await request_run(store, new_run(f"run_{number}_1", made[number], f"rag7/Deployment/app-{number}"))
        await store.write(lambda tx, n=number, to=state: runs.move(tx, f"run_{n}_1", to))  # type: ignore[misc]
    undone = Wanted(run=RunState.UNDONE)
    assert ids(await listed(store, undone)) == [made[0]]
    found = await store.read(lambda conn: listing.facets(conn, undone))
    assert found["alertname"] == [("Red0", 1)]
    assert await store.read(lambda conn: listing.newer(conn, undone, "")) == 1


async def test_gates_are_counted_over_the_newest_that_they_stopped(
    store: Store, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await filled(store, clock, 6)
    gates = ("storm", "cooldown", "cooldown", "busy", "storm", "cooldown")
    for number, gate in enumerate(gates):
        await decide(store, made[number], "red", (gate, Verdict.DENY))
        state = (
            (IncidentState.REFUSED, IncidentState.OBSERVED)[number % 2] if number != 3 else IncidentState.OPEN
        )
        await store.write(
            lambda tx, i=made[number], to=state: incidents.move(tx, i, to, reopen=True)  # type: ignore[misc]
        )
    assert await store.read(listing.stopping) == [("cooldown", 3), ("storm", 2)]
    monkeypatch.setattr(listing, "STOPPED", 2)
    assert await store.read(listing.stopping) == [("cooldown", 1), ("storm", 1)]


async def test_a_decision_that_does_not_say_what_stopped_it_fails_no_list(
    store: Store, clock: HandClock
) -> None:
    made = await filled(store, clock, 3)
    for number, verdict in enumerate((Verdict.DENY, Verdict.DENY, Verdict.OBSERVE)):
        await decide(store, made[number], "red", ("cooldown", verdict))
        moved = partial(incidents.move, incident_id=made[number], state=IncidentState.REFUSED, reopen=True)
        await store.write(moved)
    for number, body in enumerate(("{}", '{"verdict": "deny"}')):
        change = update(schema.decisions).where(schema.decisions.c.incident_id == made[number])
        await store.write(lambda tx, change=change, body=body: tx.conn.execute(change.values(body=body)))  # type: ignore[misc]
    assert await store.read(listing.stopping) == [("cooldown", 1)]
    by_gate = await store.read(lambda conn: listing.page(conn, Wanted(gate="cooldown"), None, 10))
    assert [row.id for row in by_gate.rows] == [made[2]]
    by_rule = await store.read(lambda conn: listing.page(conn, Wanted(rule="red"), None, 10))
    assert [row.id for row in by_rule.rows] == [made[2]]


async def test_news_are_counted_by_the_same_filter(store: Store, clock: HandClock) -> None:
    made = await filled(store, clock)
    count = await store.read(lambda conn: listing.newer(conn, Wanted(), made[6]))
    fixed = await store.read(lambda conn: listing.newer(conn, Wanted(states=(IncidentState.FIXED,)), made[6]))
    assert (count, fixed) == (5, 1)
    assert await store.read(lambda conn: listing.newer(conn, Wanted(), made[-1])) == 0


async def test_how_it_stands(store: Store, clock: HandClock) -> None:
    assert await store.read(standing.newest) is None
    assert await store.read(standing.heard) == []
    made = await filled(store, clock, 5)
    await store.write(lambda tx: incidents.move(tx, made[1], IncidentState.STUCK))
    counts = await store.read(standing.open_counts)
    assert counts == {IncidentState.OPEN: 2, IncidentState.STUCK: 1}
    stuck = await store.read(lambda conn: standing.open_in(conn, IncidentState.STUCK, 5))
    assert [i.id for i in stuck] == [made[1]]
    assert await store.read(standing.newest) == made[-1]
    (one,) = await store.read(standing.heard)
    assert (one.source.value, one.sender, one.deliveries) == ("alertmanager", "tester", 5)


async def test_changes_are_counted_without_messages_and_measurements(store: Store, clock: HandClock) -> None:
    first, second = await filled(store, clock, 2)
    head = (await store.read(trail.head)).seq
    await store.write(lambda tx: incidents.move(tx, second, IncidentState.STUCK, reason="it failed"))
    await store.write(lambda tx: tx.audit(EventKind.MEASURED, incident_id=second))
    await store.write(lambda tx: tx.audit(EventKind.NOTIFIED, incident_id=second))
    await store.write(lambda tx: tx.audit(EventKind.APPROVED, incident_id=second))

    def count(conn: Connection) -> tuple[int, int, int]:
        return (
            standing.changes(conn, head),
            standing.changes(conn, head, second),
            standing.changes(conn, head, first),
        )

    assert await store.read(count) == (1, 2, 0)


async def test_records_of_the_trail_are_listed_by_what_they_have(store: Store, clock: HandClock) -> None:
    first, second = await filled(store, clock, 2)
    await store.write(lambda tx: tx.audit(EventKind.PAUSED, actor="ann"))

    async def seqs(sought: Sought, before: int = 0, limit: int = 50) -> list[int]:
        found = await store.read(lambda conn: records.page(conn, sought, before, limit))
        return [event.seq for event in found.rows]

    told = await store.read(lambda conn: audit.page(conn, 0, 100))
    assert await seqs(Sought()) == [r.seq for r in told[::-1]]
    assert await seqs(Sought(), told[3].seq, 2) == [told[2].seq, told[1].seq]
    assert await seqs(Sought(actor="ann")) == [told[-1].seq]
    assert await seqs(Sought(kind=EventKind.PAUSED)) == [told[-1].seq]
    assert await seqs(Sought(incident=second)) == [r.seq for r in told[::-1] if r.incident_id == second]
    assert await seqs(Sought(incident=first, kind=EventKind.PAUSED)) == []


async def test_what_happened_to_a_target(store: Store, clock: HandClock) -> None:
    made = await filled(store, clock, 3)
    target = "rag7/Deployment/app-1"
    await request_run(store, new_run("run_1_1", made[1], target))

    def look(conn: Connection) -> tuple[list[str], list[str], list[str]]:
        here = workloads.incidents_on(conn, target, START, 10)
        runs = workloads.runs_on(conn, target, START, 10)
        later = workloads.incidents_on(conn, target, START + timedelta(minutes=2), 10)
        return [i.id for i in here], [r.id for r in runs], [i.id for i in later]

    assert await store.read(look) == ([made[1]], ["run_1_1"], [])


PLANS: dict[str, tuple[Wanted, str]] = {
    "all": (Wanted(), "sqlite_autoindex_incidents_1"),
    "one state": (Wanted(states=(IncidentState.FIXED,)), "ix_incidents_state"),
    "a name": (Wanted(alertname="Red"), "sqlite_autoindex_incidents_1"),
    "times": (Wanted(since=START, until=START + timedelta(days=1)), "sqlite_autoindex_incidents_1"),
    "how a run ended": (Wanted(run=RunState.UNDONE), "sqlite_autoindex_incidents_1"),
}


def test_gates_are_counted_along_the_index_of_states(tmp_path: Any) -> None:
    for plan in plans(tmp_path, listing.stopping)[:2]:
        assert "ix_incidents_state" in plan
        assert "TEMP B-TREE" not in plan


@pytest.mark.parametrize("case", PLANS)
def test_a_list_is_walked_by_an_index_and_never_sorted(tmp_path: Any, case: str) -> None:
    """So that a page costs the same however many incidents there are."""
    wanted, index = PLANS[case]
    told = plans(tmp_path, lambda conn: listing.page(conn, wanted, "inc_9", 50))
    assert told
    for plan in told:
        assert index in plan, plan
        assert "TEMP B-TREE" not in plan
        assert "SCAN incidents\n" not in f"{plan}\n"


@pytest.mark.parametrize("case", PLANS)
def test_counts_by_rule_and_gate_walk_the_newest_and_sort_nothing(tmp_path: Any, case: str) -> None:
    wanted = replace(PLANS[case][0], rule="calm", states=())
    told = plans(tmp_path, lambda conn: listing.facets(conn, wanted))
    assert told
    for plan in told:
        assert "TEMP B-TREE" not in plan
        assert "SCAN incidents\n" not in f"{plan}\n"


def test_what_was_heard_is_read_along_the_trail(tmp_path: Any) -> None:
    for plan in plans(tmp_path, lambda conn: records.heard(conn, 9)):
        assert "SEARCH audit USING INTEGER PRIMARY KEY" in plan
        assert "TEMP B-TREE" not in plan


def test_the_overview_reads_open_rows_by_their_indexes(tmp_path: Any) -> None:
    for plan in plans(tmp_path, standing.open_counts):
        assert "ix_incidents_open" in plan
    for plan in plans(tmp_path, lambda conn: standing.open_in(conn, IncidentState.STUCK, 5)):
        assert "ix_incidents_open" in plan
        assert "TEMP B-TREE" not in plan
    for plan in plans(tmp_path, standing.newest):
        assert "sqlite_autoindex_incidents_1" in plan


def plans(folder: Any, ask: Any) -> Sequence[str]:
    """SQLite's plans of the statements that a question makes, on an empty migrated database."""
    url = f"sqlite:///{folder / 'plan.db'}"
    upgrade(url)
    engine, said = create_engine(url), []

    @event.listens_for(engine, "before_cursor_execute")
    def before(_conn: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if not statement.startswith(("EXPLAIN", "PRAGMA")):
            said.append((statement, parameters))

    with engine.connect() as conn:
        ask(conn)
        found = []
        for statement, parameters in said:
            rows = conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", tuple(parameters)).all()
            found.append("\n".join(str(row[-1]) for row in rows))
    engine.dispose()
    return found


async def test_what_a_page_read_of_decisions_its_counts_do_not_read_again(
    store: Store, clock: HandClock
) -> None:
    await filled(store, clock)
    wanted, known = Wanted(rule="calm"), listing.Known()

    def look(conn: Connection) -> list[str]:
        listing.page(conn, wanted, None, 50, known)
        said: list[str] = []
        event.listen(conn, "before_cursor_execute", lambda *told: said.append(str(told[2])))
        listing.facets(conn, wanted, known)
        return said

    said = await store.read(look)
    assert said != []
    assert not any("decisions" in statement for statement in said)
