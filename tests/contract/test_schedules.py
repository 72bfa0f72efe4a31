"""Schedules in the store: each time comes once, whoever looks at once, however the clock jumps, before and after a restart."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest

from app.domain.events import EventKind
from app.domain.outcome import IncidentState
from app.flow.upkeep.schedules import _without, look
from app.policy.load import load_policy
from app.policy.model import Policy
from app.store import audit, incidents, outbox, schedules
from app.store.database import Store
from app.store.incidents import Incident
from app.store.schedules import Fire
from remediations import CATALOGUE
from tests.contract.stores import START, HandClock, Stores

# START is 2026-03-01 03:00 UTC, a Sunday; 04:00 in Berlin.
HOUR = timedelta(hours=1)


def nightly(cron: str = "30 4 * * *", more: str = "", params: str = "replicas: 3") -> Policy:
    """A rule that is due at 03:30 UTC unless told."""
    block = f"{{cron: '{cron}', timezone: Europe/Berlin{more}}}"
    target = "target: {name: {default: langgraph}, namespace: {default: rag7}}"
    rule = f"{{name: nightly, remediation: scale, mode: auto, params: {{{params}}}, {target}, schedule: {block}}}"
    return load_policy(
        {"a.yaml": f"version: 1\nscope: {{namespaces: [rag7]}}\nrules:\n  - {rule}\n"}, CATALOGUE
    )


ONCE = ", missed: once, late: 2h"


async def looked(store: Store, policy: Policy | None = None) -> Fire | None:
    """One look at the only rule."""
    rules = policy or nightly()
    return await store.write(lambda tx: look(tx, rules, rules.rules[0]))


async def fires(store: Store) -> Sequence[Fire]:
    return (await store.read(lambda conn: schedules.newest(conn, "nightly", 50)))[::-1]


async def ordered(store: Store) -> list[Incident]:
    return (await store.read(lambda conn: incidents.page(conn, None, 50)))[::-1]


async def end_all(store: Store) -> None:
    for incident in await ordered(store):
        await store.write(lambda tx, i=incident.id: incidents.move(tx, i, IncidentState.RESOLVED))  # type: ignore[misc]


def due(store_time: datetime) -> str:
    return f"{store_time:%dT%H:%M}"


async def test_a_time_is_ordered_once_with_who_started_it_and_nobodys_approval(
    store: Store, clock: HandClock
) -> None:
    assert await looked(store) is None
    clock.forward(minutes=29, seconds=59)
    assert await looked(store) is None
    clock.forward(seconds=3)
    fire = await looked(store)
    assert fire is not None
    assert (due(fire.due), fire.fate) == ("01T03:30", "ordered")
    assert await looked(store) is None
    (incident,) = await ordered(store)
    assert incident.id == fire.incident_id
    order = incident.manual
    assert order is not None
    assert (order.remediation, order.target, order.schedule) == (
        "scale",
        "rag7/Deployment/langgraph",
        "nightly",
    )
    assert order.requested_by == "schedule of rule nightly, due 2026-03-01 04:30 CET"
    assert (order.may_approve, order.params, order.dry_run) == (False, {}, False)
    (told,) = [
        r
        for r in await store.read(lambda conn: audit.page(conn, 0, 50))
        if r.kind is EventKind.MANUAL_REQUESTED
    ]
    assert told.actor == order.requested_by


async def test_two_replicas_that_look_at_once_order_it_once(
    postgres_stores: Stores, clock: HandClock
) -> None:
    stores = [postgres_stores(), postgres_stores()]
    await asyncio.gather(*(looked(store) for store in stores * 3))  # the first look makes the row
    for _ in range(3):
        clock.forward(days=1)
        clock.time = clock.time.replace(hour=3, minute=30)
        found = await asyncio.gather(*(looked(store) for store in stores * 4))
        assert len([fire for fire in found if fire is not None]) == 1
        await end_all(stores[0])
    assert [due(fire.due) for fire in await fires(stores[0])] == ["02T03:30", "03T03:30", "04T03:30"]
    assert len(await ordered(stores[0])) == 3


async def test_a_death_in_its_transaction_leaves_it_to_come(store: Store, clock: HandClock) -> None:
    await looked(store)
    clock.forward(minutes=30)
    rules = nightly()

    class DiedError(Exception):
        pass

    def dies(tx: object) -> None:
        look(tx, rules, rules.rules[0])  # type: ignore[arg-type]
        raise DiedError

    with pytest.raises(DiedError):
        await store.write(dies)
    assert (await fires(store), await ordered(store)) == ([], [])
    assert await looked(store) is not None
    assert len(await ordered(store)) == 1


@pytest.mark.parametrize(
    ("more", "away", "fates"),
    [
        ("", HOUR, [("01T03:30", "skipped")]),
        (ONCE, HOUR, [("01T03:30", "ordered_late")]),
        (ONCE, 3 * HOUR, [("01T03:30", "too_late")]),
        (ONCE, 74 * HOUR, [("04T03:30", "ordered_late")]),
        ("", 75 * HOUR, [("04T03:30", "skipped")]),
        (ONCE, 75 * HOUR, [("04T03:30", "too_late")]),
    ],
)
async def test_what_was_missed_while_nobody_ran_is_handled_as_the_rule_says(
    make_store: Stores, clock: HandClock, more: str, away: timedelta, fates: list[tuple[str, str]]
) -> None:
    """After a restart, in one go, and never again."""
    rules = nightly(more=more)
    await looked(make_store(), rules)
    clock.time = START + away
    after = make_store()
    for _ in range(3):
        await looked(after, rules)
    assert [(due(fire.due), fire.fate) for fire in await fires(after)] == fates
    starts = [fate for _, fate in fates if fate.startswith("ordered")]
    assert len(await ordered(after)) == len(starts)
    skipped = [
        r
        for r in await after.read(lambda conn: audit.page(conn, 0, 50))
        if r.kind is EventKind.SCHEDULE_SKIPPED
    ]
    assert len(skipped) == len(fates) - len(starts), "what was not started stands in the trail"


async def test_several_that_were_missed_are_told_from_the_first_on(store: Store, clock: HandClock) -> None:
    """In the trail and in the channel, of what is skipped; with the one start, of what it makes up for."""
    await looked(store)
    clock.time = START + 75 * HOUR
    await looked(store)
    (skipped,) = await _skipped(store)
    assert (skipped.data["first"][8:16], skipped.data["due"][8:16]) == ("01T03:30", "04T03:30")
    (told,) = await store.read(outbox.pending)
    assert told.payload["data"]["told"] == "2026-03-01 04:30 CET and all from then to 2026-03-04 04:30 CET"


async def test_those_before_one_that_starts_in_time_are_told_as_skipped(
    store: Store, clock: HandClock
) -> None:
    await looked(store)
    clock.time = START + 72.5 * HOUR
    came = await looked(store)
    assert came is not None
    assert (due(came.due), came.fate) == ("04T03:30", "ordered")
    (skipped,) = await _skipped(store)
    assert (skipped.data["due"][8:16], skipped.data["fate"]) == ("01T03:30", "skipped")


async def test_one_start_for_several_says_so(store: Store, clock: HandClock) -> None:
    rules = nightly(more=ONCE)
    await looked(store, rules)
    clock.time = START + 74 * HOUR
    await looked(store, rules)
    (incident,) = await ordered(store)
    assert incident.manual is not None
    assert incident.manual.reason.endswith("1h30m late, once for all since 2026-03-01 04:30 CET")


async def _skipped(store: Store) -> list[audit.AuditEvent]:
    found = await store.read(lambda conn: audit.page(conn, 0, 50))
    return [event for event in found if event.kind is EventKind.SCHEDULE_SKIPPED]


async def test_late_is_told(store: Store, clock: HandClock) -> None:
    rules = nightly(more=ONCE)
    await looked(store, rules)
    clock.time = START + 1.5 * HOUR
    await looked(store, rules)
    (incident,) = await ordered(store)
    assert incident.manual is not None
    assert incident.manual.reason == "30 4 * * * in Europe/Berlin, 1h late"


@pytest.mark.parametrize(
    "back", [timedelta(minutes=1), timedelta(hours=1), timedelta(days=1), timedelta(days=40)]
)
async def test_a_clock_that_is_set_back_brings_no_time_again_and_keeps_none_waiting(
    store: Store, clock: HandClock, back: timedelta
) -> None:
    await looked(store)
    for day in range(3):
        clock.time = START.replace(hour=3, minute=30, second=1) + timedelta(days=day)
        await looked(store)
        await end_all(store)
    before = await fires(store)
    clock.time -= back
    now = clock.time
    for _ in range(4):
        await looked(store)
        clock.forward(seconds=5)
    assert await fires(store) == before
    while clock.time < now + timedelta(days=4):
        clock.forward(minutes=30)
        await looked(store)
        await end_all(store)
    came = [fire.due for fire in await fires(store)]
    assert len(came) == len(set(came)) > len(before), "it goes on, and nothing came twice"
    assert [r for r in came if now < r <= now + timedelta(days=1)], "the next one is no month away"


async def test_a_clock_that_jumps_ahead_is_time_that_nobody_watched(store: Store, clock: HandClock) -> None:
    await looked(store)
    clock.time = START + timedelta(days=400)
    fire = await looked(store)
    assert fire is not None
    assert fire.fate == "skipped"
    assert await ordered(store) == []


@pytest.mark.parametrize(
    "state", [IncidentState.OPEN, IncidentState.WAITING, IncidentState.ACTING, IncidentState.VERIFYING]
)
async def test_never_two_of_one_rule_at_once(store: Store, clock: HandClock, state: IncidentState) -> None:
    hourly = nightly("30 * * * *")
    await looked(store, hourly)
    clock.time = START + HOUR / 2
    first = await looked(store, hourly)
    assert first is not None
    await store.write(lambda tx: incidents.move(tx, first.incident_id, state))
    clock.time += HOUR
    second = await looked(store, hourly)
    assert second is not None
    assert (second.fate, second.incident_id) == ("busy", "")
    await store.write(lambda tx: incidents.move(tx, first.incident_id, IncidentState.ESCALATED))
    clock.time += HOUR
    third = await looked(store, hourly)
    assert third is not None
    assert third.fate == "ordered", "an order that a person has holds up no later one"
    assert len(await ordered(store)) == 2


@pytest.mark.parametrize("change", ["cron", "gone"])
async def test_a_rule_that_changed_or_went_has_no_stale_times(
    store: Store, clock: HandClock, change: str
) -> None:
    rules = nightly(more=ONCE)
    await looked(store, rules)
    clock.time = START + HOUR
    if change == "gone":
        await store.write(lambda tx: schedules.forget(tx, ["nightly"]))
    else:
        rules = nightly("45 4 * * *", ONCE)
    told = await looked(store, rules)
    assert (told.fate if told else "") == ("changed" if change == "cron" else "")
    clock.time = START + HOUR + timedelta(minutes=5)
    assert await looked(store, rules) is None
    assert [f.fate for f in await fires(store)] == (["changed"] if change == "cron" else [])
    assert await ordered(store) == []
    known = await store.read(schedules.every)
    assert known["nightly"].due_at == START + timedelta(days=1, minutes=45 if change == "cron" else 30)


def renamed(cron: str = "30 3 * * *", target: str = "langgraph", more: str = ONCE) -> Policy:
    """The same time in another zone, for the same target unless told."""
    texts = f"cron: '{cron}', timezone: UTC{more}"
    rule = f"{{name: nightly, remediation: scale, mode: auto, params: {{replicas: 3}}, target: {{name: {{default: {target}}}, namespace: {{default: rag7}}}}, schedule: {{{texts}}}}}"
    return load_policy(
        {"a.yaml": f"version: 1\nscope: {{namespaces: [rag7]}}\nrules:\n  - {rule}\n"}, CATALOGUE
    )


@pytest.mark.parametrize(
    ("after", "behind", "fate"),
    [
        (renamed(), 2, "ordered"),
        (renamed(), 600, "ordered_late"),
        (renamed(more=""), 600, "skipped"),
        (renamed("45 3 * * *"), 2, "changed"),
        (renamed(target="langgraph-api"), 2, "changed"),
    ],
    ids=["same time", "down over it", "down and skipped", "another time", "another target"],
)
async def test_a_time_around_which_the_terms_changed_comes_or_is_told_and_never_twice(
    store: Store, clock: HandClock, after: Policy, behind: int, fate: str
) -> None:
    before = nightly(more=ONCE)
    await looked(store, before)
    clock.time = START + HOUR / 2 + timedelta(seconds=behind)
    came = await looked(store, after)
    assert came is not None
    assert (due(came.due), came.fate) == ("01T03:30", fate)
    assert bool(came.incident_id) is fate.startswith("ordered")
    skipped = [
        e for e in await store.read(lambda c: audit.page(c, 0, 100)) if e.kind is EventKind.SCHEDULE_SKIPPED
    ]
    assert len(skipped) == (0 if came.incident_id else 1)
    for rules in (before, after, before):  # another replica has not reloaded yet
        assert await looked(store, rules) is None
    assert len(await fires(store)) == 1


async def test_two_replicas_of_which_one_has_reloaded_lose_no_time(store: Store, clock: HandClock) -> None:
    clock.time = START + HOUR / 2 - timedelta(seconds=10)
    for _ in range(6):
        await looked(store, renamed())
        await looked(store, nightly(more=ONCE))
        clock.forward(seconds=4)
    assert [(due(f.due), f.fate) for f in await fires(store)] == [("01T03:30", "ordered")]


async def test_a_rule_that_is_removed_as_its_time_comes_is_told_and_one_that_another_replica_still_has_fires(
    store: Store, clock: HandClock
) -> None:
    await looked(store)
    await store.write(lambda tx: _without(tx, ["nightly"], "v2"))  # before its time, by who has reloaded
    clock.time = START + HOUR / 2 + timedelta(seconds=2)
    came = await looked(store)
    assert came is not None
    assert came.fate == "ordered"
    clock.time += timedelta(days=1)
    await store.write(lambda tx: _without(tx, ["nightly"], "v2"))
    assert [f.fate for f in await fires(store)] == ["ordered", "removed"]
    assert "nightly" not in await store.read(schedules.every)
    told = await store.read(outbox.pending)
    assert [m.payload["data"]["fate"] for m in told if m.kind == "schedule.skipped"] == ["removed"]


async def test_other_params_are_no_other_time(store: Store, clock: HandClock) -> None:
    """A reload at the moment when it is due loses no start."""
    await looked(store)
    clock.time = START + HOUR / 2
    assert await looked(store, nightly(params="replicas: 4")) is not None
