"""What is owed of a closed incident keeps it, by one definition: everything that still falls due hangs on a row that counts as over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from app.domain.alert import Acknowledgement, Source
from app.domain.decision import Mode
from app.domain.outcome import IncidentState, RunState
from app.domain.workflows import TEMPORARY_ENTRY
from app.store import (
    digests,
    driving,
    escalations,
    incidents,
    outbox,
    people,
    retention,
    runs,
    trust_levels,
    work,
)
from app.store.database import Store
from app.store.driving import Changes
from app.store.trust_levels import StoredTrustLevel
from app.store.tx import Tx
from tests.contract.stores import START, HandClock, delivery, firing, open_incident
from tests.contract.test_store_retention import KEEP, a_whole_timeline, counts, prune_all

Debt = tuple[Callable[[Tx, str, str], object], Callable[[Tx, str, str], object]]
"""How something comes to be owed of an incident and its run, and how that ends."""


def _asked_promotion(tx: Tx, incident: str, run: str) -> None:
    level = StoredTrustLevel("k", "A", "high-error-rate", "c", "r", Mode.APPROVE, tx.now)
    trust_levels.open_one(tx, replace(level, asked_at=tx.now, incident_id=incident, run_id=run), {})


def _promoted(tx: Tx, _incident: str, _run: str) -> None:
    trust_levels.put(tx, replace(trust_levels.hold(tx, "k"), asked_at=None), {})


def _call_over(tx: Tx, incident: str, _run: str) -> None:
    walk = escalations.of_subject(tx, incident)
    assert walk is not None
    escalations.change(tx, walk.id, over_at=tx.stamp, due_at=None)


def _restated(state: IncidentState) -> Callable[[Tx, str, str], object]:
    return lambda tx, incident, _run: incidents.restate(tx, incident, state, "its undo failed")


DEBTS: dict[str, Debt] = {
    "a temporary change that ends later": (
        lambda tx, _i, run: driving.keep(tx, run, Changes(tx.now + 2 * KEEP)),
        lambda tx, _i, run: driving.keep(tx, run, Changes(None)),
    ),
    "a temporary change that nobody settled": (
        lambda tx, _i, run: runs.begin_entry(tx, run, TEMPORARY_ENTRY, {"entry": "temporary"}),
        lambda tx, _i, run: runs.end_entry(tx, run, TEMPORARY_ENTRY, {"result": "kept"}),
    ),
    "an undo that is under way": (
        lambda tx, _i, run: runs.move(tx, run, RunState.UNDOING),
        lambda tx, _i, run: runs.move(tx, run, RunState.UNDONE),
    ),
    "an undo that failed": (
        lambda tx, _i, run: (runs.move(tx, run, RunState.UNDOING), runs.move(tx, run, RunState.STUCK)),
        lambda tx, _i, run: (runs.move(tx, run, RunState.UNDOING), runs.move(tx, run, RunState.UNDONE)),
    ),
    "a person it needs after its end": (_restated(IncidentState.STUCK), _restated(IncidentState.RESOLVED)),
    "steps of an escalation, with an open page": (
        lambda tx, incident, _r: escalations.begin(tx, incident, incident, {"reason": "x"}),
        _call_over,
    ),
    "a page that is not resolved yet": (
        lambda tx, incident, _r: tx.put(f"{incident}:page.resolve", "", "page", {}),
        lambda tx, incident, _r: outbox.sent(tx, f"{incident}:page.resolve", "pagerduty", ""),
    ),
    "a status of a later round that is not out": (
        lambda tx, incident, _r: tx.put(f"{incident}~2:note:over", "", "note", {}),
        lambda tx, incident, _r: outbox.sent(tx, f"{incident}~2:note:over", "pagerduty", ""),
    ),
    "a message of its thread": (
        lambda tx, incident, _r: tx.put("late", incident, "moved", {}),
        lambda tx, _i, _r: outbox.sent(tx, "late", "C", "1"),
    ),
    "a promotion that waits for an answer": (_asked_promotion, _promoted),
}


@pytest.mark.parametrize("debt", DEBTS)
async def test_what_is_still_due_keeps_the_closed_incident_with_its_run_and_goes_once_it_is_settled(
    store: Store, clock: HandClock, debt: str
) -> None:
    begins, ends = DEBTS[debt]
    owing, free = await a_whole_timeline(store, "f1", "First"), await a_whole_timeline(store, "f2", "Second")
    await store.write(lambda tx: begins(tx, owing, "run_f1"))
    clock.forward(days=31)
    await prune_all(store)
    left = await store.read(lambda conn: incidents.page(conn, None, 10))
    assert [incident.id for incident in left] == [owing], f"{free} goes"
    run = await store.read(lambda conn: runs.get(conn, "run_f1"))
    assert await store.read(lambda conn: runs.entries(conn, run.id)) != []
    await store.write(lambda tx: ends(tx, owing, "run_f1"))
    clock.forward(days=31)
    await prune_all(store)
    await prune_all(store)
    kept = await counts(store)
    assert not kept.keys() & {"incidents", "runs", "run_journal", "escalations", "outbox"}


async def test_by_what_is_known_which_page_and_public_entry_are_open_stays_as_long_as_the_incident(
    store: Store, clock: HandClock
) -> None:
    """The rows are of no incident, and their ids tell what has to be ended."""
    open_one = await open_incident(store)
    names = [f"{open_one}:page", f"{open_one}~2:page", f"{open_one}:status.page:investigating"]
    others = ["inc_gone:page", "weekly:2026-09"]

    def told(tx: Tx) -> None:
        for name in (*names, *others):
            tx.put(name, "", "page", {})
            outbox.sent(tx, name, "pagerduty", "")

    await store.write(told)
    clock.forward(days=61)
    await prune_all(store)
    known = await store.read(lambda conn: [n for n in (*names, *others) if outbox.known(conn, n)])
    assert known == names


async def test_a_storm_for_which_people_are_asked_keeps_its_digest_and_first_incident(
    store: Store, clock: HandClock
) -> None:
    first = await open_incident(store)

    def called(tx: Tx) -> str:
        digest_id, _ = digests.join(tx, [first])
        escalations.begin(tx, digest_id, first, {"reason": "a storm"})
        tx.put(f"{digest_id}:page", "", "page", {})
        outbox.sent(tx, f"{digest_id}:page", "pagerduty", "")
        incidents.move(tx, first, IncidentState.RESOLVED)
        digests.close(tx, digest_id)
        return digest_id

    digest_id = await store.write(called)
    clock.forward(days=61)
    await prune_all(store)
    kept = await counts(store)
    assert (kept["incidents"], kept["digests"], kept["outbox"]) == (1, 1, 1)
    assert await store.read(lambda conn: digests.get(conn, digest_id).id) == digest_id


async def test_what_a_limit_still_counts_stays_longer_than_the_retention(
    store: Store, clock: HandClock
) -> None:
    await a_whole_timeline(store)
    clock.forward(days=2)

    async def pruned(counted: timedelta) -> int:
        done = await store.write(
            lambda tx: retention.prune(tx, tx.now - timedelta(days=1), 10, counted=counted)
        )
        return done.incidents

    assert await pruned(timedelta(days=7)) == 0
    assert await store.read(lambda conn: work.spent_since(conn, "cluster", START)) == 1
    clock.forward(days=6)
    assert await pruned(timedelta(days=7)) == 1


async def test_who_took_an_alert_of_pagerduty_that_still_fires_has_it_after_the_retention(
    store: Store, clock: HandClock
) -> None:
    alert = replace(firing(), source=Source.PAGERDUTY)
    (incident,) = (await store.ingest(replace(delivery(alert), source=Source.PAGERDUTY))).incident_ids
    for taken in (alert, replace(alert, fingerprint="gone")):
        await store.write(
            lambda tx, of=taken: people.put_pagerduty_word(tx, Acknowledgement(of, "ana", tx.now, True))  # type: ignore[misc]
        )
    clock.forward(days=31)
    await prune_all(store)
    assert (await counts(store))["acknowledgements"] == 1
    assert "by ana" in await store.read(lambda conn: people.taken_in_pagerduty(conn, incident))
