"""While Slack is away nothing is lost and nobody hammers it; when it is good again, delivery resumes within seconds."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest
from sqlalchemy import Connection
from structlog.testing import capture_logs

from app.domain.errors import StoreUnavailable
from app.flow.notifying import deliver
from app.flow.notifying.deliver import deliver_once
from app.notify.timeline import Escalation, Topic
from app.store import outbox
from app.store.database import Store
from app.store.tx import MessageState, Tx, Vault
from tests.doubles.slack import TOKEN, Fault
from tests.unit.notify import timelines
from tests.unit.notify.outbox_rig import Rig, rig_at

T = TypeVar("T")
THROTTLED = Fault(status=429, retry_after=10, error="ratelimited")
AWAY = Fault(error="service_unavailable")


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with rig_at(tmp_path) as made:
        yield made


async def _wait(rig: Rig, row: str) -> float:
    retry_at = (await rig.row(row)).retry_at
    assert retry_at is not None
    return (retry_at - rig.clock.now()).total_seconds()


async def test_waiting_that_slack_asked_for_counts_no_attempt(rig: Rig) -> None:
    row = await rig.put(await rig.incident(), Topic.FIRED)
    for _ in range(10):
        rig.slack.fail("chat.postMessage", THROTTLED)
        await rig.deliver()
        rig.clock.forward(10)
    assert (await rig.row(row)).attempts == 0
    rig.slack.fail("chat.postMessage", Fault(error="fatal_error"))
    await deliver_once(rig.services)
    assert await _wait(rig, row) == 5, "as after the first attempt"


async def test_delivery_resumes_within_seconds_however_long_slack_was_away(rig: Rig) -> None:
    rows = [await rig.put(await rig.incident(f"svc-{n}"), Topic.FIRED) for n in range(5)]
    waits = []
    for _ in range(8):
        calls = rig.slack.count("chat.postMessage")
        rig.slack.fail("chat.postMessage", AWAY)
        await rig.deliver()
        assert rig.slack.count("chat.postMessage") == calls + 1, "one message asks for all of them"
        waits.append(round(await _wait(rig, rows[0])))
        rig.clock.forward(waits[-1])
    assert waits == [2, 4, 8, 15, 15, 15, 15, 15]
    await rig.deliver()
    assert len(rig.slack.roots()) == 5


async def test_an_outage_is_logged_when_it_begins_and_when_it_ends(rig: Rig) -> None:
    await rig.put(await rig.incident(), Topic.FIRED)
    with capture_logs() as logs:
        for _ in range(3):
            rig.slack.fail("chat.postMessage", THROTTLED)
            await rig.deliver()
            rig.clock.forward(10)
        await rig.deliver()
    told = [(e["event"], e.get("code"), e.get("seconds")) for e in logs if e["event"].startswith("slack_")]
    assert told == [("slack_away", "ratelimited", None), ("slack_back", None, pytest.approx(30, abs=3))]


async def test_after_two_days_without_slack_every_incident_is_still_told(rig: Rig) -> None:
    incident = await rig.incident()
    await rig.put(incident, Topic.FIRED)
    await rig.put(incident, Topic.APPROVAL_ASKED, timelines.ASKED)
    for _ in range(20):
        rig.slack.fail("chat.postMessage", AWAY)
        await rig.deliver()
        rig.clock.forward(2 * 86_400 / 20)
    await rig.deliver()
    (root,) = rig.slack.roots()
    told = [m.readable() for m in rig.slack.thread(root.ts)]
    assert len(told) == 1, "the entry that only says how it began is told by the parent"
    assert not any("failed" in one for one in await rig.audited(incident))


async def test_a_repaired_token_is_noticed_within_seconds(rig: Rig) -> None:
    scopes = rig.slack.scopes.pop(TOKEN)
    rows = [await rig.put(await rig.incident(f"svc-{n}"), Topic.FIRED) for n in range(3)]
    for _ in range(12):
        await rig.deliver()
        rig.clock.forward(15)
    assert {(await rig.row(r)).state for r in rows} == {MessageState.PENDING}
    rig.slack.scopes[TOKEN] = scopes
    await rig.deliver()
    assert len(rig.slack.roots()) == 3


async def test_a_page_goes_out_while_slack_is_away(rig: Rig) -> None:
    incident = await rig.incident()
    await rig.put(incident, Topic.FIRED)
    rig.slack.fail("chat.postMessage", *[AWAY] * 5)
    await rig.deliver()
    await rig.call(incident, Escalation("nobody answered"))
    await rig.deliver()
    assert ("pager", "sent") in rig.attempts
    assert rig.slack.roots() == []


async def test_one_message_that_alone_fails_never_blocks_the_next(rig: Rig) -> None:
    poisoned = await rig.incident("poisoned")
    bad = await rig.put(poisoned, Topic.FIRED)
    real = rig.services.client.post

    async def post(channel: str, message: Any, thread_ts: str | None, tag: str) -> Any:
        if message.incident_id == poisoned:
            rig.slack.fail("chat.postMessage", Fault(error="fatal_error"))
        return await real(channel, message, thread_ts, tag)

    cast("Any", rig.services.client).post = post
    for n in range(deliver._TRIES + 2):
        await rig.put(await rig.incident(f"svc-{n}"), Topic.FIRED)
        await rig.deliver()
        assert len(rig.slack.roots()) == n + 1
        rig.clock.forward(61)
    given_up = await rig.row(bad)
    assert given_up.state is MessageState.FAILED
    assert f"tried {deliver._TRIES} times" in given_up.error


@pytest.mark.parametrize(
    "word", ["invalid_blocks", "msg_too_long", "msg_blocks_too_long", "invalid_blocks_format"]
)
async def test_a_question_whose_layout_is_refused_is_asked_in_plain_text_with_its_commands(
    rig: Rig, word: str
) -> None:
    incident = await rig.incident(timeline=timelines.TIMELINES["waiting"])
    row = await rig.put(incident, Topic.APPROVAL_ASKED, timelines.ASKED)
    rig.slack.fail("chat.postMessage", Fault(error=word))
    await rig.deliver()
    assert (await rig.row(row)).state is MessageState.SENT
    (root,) = rig.slack.roots()
    assert root.blocks == []
    for command in ("approve", "reject"):
        assert f"`remediator {command} {timelines.RUN}`" in root.text
    assert f"`remediator explain {incident}`" in root.text


@dataclass
class FailingStore:
    """A store that fails at its n-th call, before or after the transaction."""

    store: Store
    fails_at: int
    after: bool
    calls: int = 0

    @property
    def vault(self) -> Vault:
        return self.store.vault

    async def read(self, fn: Callable[[Connection], T]) -> T:
        return cast("T", await self._call(lambda: self.store.read(fn)))

    async def write(self, fn: Callable[[Tx], T]) -> T:
        return cast("T", await self._call(lambda: self.store.write(fn)))

    async def _call(self, call: Callable[[], Any]) -> Any:
        self.calls += 1
        if self.calls == self.fails_at and not self.after:
            raise StoreUnavailable("the disk is full")
        done = await call()
        if self.calls == self.fails_at:
            raise StoreUnavailable("the answer was lost")
        return done


@pytest.mark.parametrize("after", [False, True])
async def test_whichever_call_of_the_store_fails_every_entry_is_there_once_and_in_order(
    tmp_path: Path, after: bool
) -> None:
    reached = 0
    for fails_at in range(1, 60):
        folder = tmp_path / str(fails_at)
        folder.mkdir()
        async with rig_at(folder) as rig:
            incident = await rig.incident(timeline=timelines.TIMELINES["fixed"])
            await rig.put(incident, Topic.FIRED)
            await rig.put(incident, Topic.DECIDED, timelines.ALLOWED)
            await rig.call(incident, timelines.ESCALATION)
            failing = FailingStore(rig.store, fails_at, after)
            services = replace(rig.services, store=cast("Store", failing))
            failed = False
            while await rig.store.read(outbox.depth):
                try:
                    busy = await deliver_once(services)
                except StoreUnavailable:
                    failed, busy = True, 1
                if not busy:
                    rig.clock.forward(1)  # the claim does not have to run out
            (root,) = rig.slack.roots()
            heads = [m.readable().split("*")[1].split()[0] for m in rig.slack.thread(root.ts)]
            assert heads == ["Fired", "Allowed", "Escalated,"], f"call {fails_at}"
            assert ("pager", "sent") in rig.attempts
        reached = fails_at
        if not failed:
            break
    assert 15 < reached < 59, "every call was tried"
