"""Calls: the rows of the outbox that leave for PagerDuty and the status page, and how each is sent.

Owns pages (Events v2: trigger, acknowledge, resolve), notes and status updates on PagerDuty's own incidents, and posts to the status
page. Put by `app.flow.calling.escalation` with the change they tell of, sent by `app.flow.notifying.deliver`. They are rows of no incident,
so that they wait for no message of Slack's; what has to keep an order among them is looked up right before it is sent.

A page and its end may be repeated (PagerDuty knows them by their key), a note is looked for first. A status is posted at most once: when
nobody can tell whether it arrived it is given up, and said so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Connection

from app.domain.errors import Missing, RemediatorError
from app.flow.calling import severity
from app.flow.services import Services
from app.notify.client import Never, Posted, Retry
from app.notify.pagerduty import PagerDutyClient, note_for, page_for
from app.notify.status_page import StatusPageClient
from app.notify.timeline import Escalation, Timeline, Topic, fact_from_json
from app.policy.escalation import POLICY, SCHEDULE, EscalationStep
from app.store import escalations, outbox
from app.store.database import Store
from app.store.escalations import StoredEscalation
from app.store.outbox import Message as Row
from app.store.tx import MessageState, Tx

PAGE: Final = "page"
NOTE: Final = "note"
STATUS: Final = "status"
KINDS: Final = frozenset({PAGE, NOTE, STATUS})
NOT_NEEDED: Final = "not_needed"
"""The code of a call that came too late to be of use, which is no fault."""
_AFTER: Final = 2.0  # seconds until a row is looked at again that waits for an earlier one
DIED: Final = "what was sending it ended"
"""The error of a row whose sender died or lost its claim: it may be out."""


class Do(StrEnum):
    """What is done to a page."""

    TRIGGER = "trigger"
    ACKNOWLEDGE = "acknowledge"
    RESOLVE = "resolve"


class Status(StrEnum):
    """What a status page is told, in the order in which it can happen."""

    INVESTIGATING = "investigating"
    IDENTIFIED = "identified"
    RESOLVED = "resolved"


class To(StrEnum):
    """Where a status goes."""

    PAGE = "page"
    PAGERDUTY = "pagerduty"


@dataclass(frozen=True, slots=True)
class Lines:
    """The ways out. `pager` and `status_page` are None when they are not configured. `mark` makes the keyed mark of a page's key and text,
    by which its events are known when they come back. `check` is asked right before each call."""

    store: Store
    timeline_of: Callable[[Connection, str], Timeline]
    mark: Callable[[str, str], str]
    pager: PagerDutyClient | None = None
    status_page: StatusPageClient | None = None
    check: Callable[[], Awaitable[None]] | None = None

    async def still(self) -> None:
        """Right before a call goes out: raises what says that the row is not ours any more."""
        if self.check is not None:
            await self.check()


def key_of(walk: StoredEscalation) -> str:
    """The key of a round's own page."""
    return walk.subject if walk.round == 1 else walk.id


def page_anew(tx: Tx, key: str) -> None:
    """Try the page with this key, which was given up, once more: what stood against it may be mended."""
    outbox.try_anew(tx, outbox.page_row(key))


def put_page(tx: Tx, of: StoredEscalation, key: str, do: Do) -> None:
    """Queue one change of the page with this key; repeating it is harmless."""
    name = {Do.TRIGGER: outbox.page_row(key), Do.RESOLVE: f"{key}:page.resolve"}.get(do, f"{of.id}:page.{do}")
    body = {"event": PAGE, "incident": of.incident_id, "do": do.value, "key": key, "of": of.id}
    tx.put(name, "", PAGE, {**body, "data": dict(of.why)})


def put_note(tx: Tx, of: StoredEscalation, name: str, text: str = "") -> None:
    """Queue a note for the incidents of PagerDuty behind this one; without a text why a person is needed, and what was tried."""
    body = {"event": NOTE, "incident": of.incident_id, "text": text, "data": dict(of.why)}
    tx.put(f"{of.id}:note:{name}", "", NOTE, body)


@dataclass(frozen=True, slots=True)
class Entry:
    """What is told of one subject at one place, from its beginning to its end. `time` counts the entries of the subject there: once its
    end was told, what comes later is another one. `incident` is whose timeline it is about."""

    subject: str
    to: To
    time: int
    incident: str

    def named(self, status: Status) -> str:
        """The id of this status's row."""
        again = f"~{self.time}" if self.time > 1 else ""
        return f"{self.subject}:status.{self.to}:{status}{again}"


def entry_of(conn: Connection, of: StoredEscalation, subject: str, to: To) -> Entry:
    """The entry in which the next status of this subject belongs: `of`'s own or one that was merged into it."""
    entry = Entry(subject, to, 1, of.incident_id if of.storm else subject)
    while outbox.known(conn, entry.named(Status.RESOLVED)):
        entry = replace(entry, time=entry.time + 1)
    return entry


def put_status(
    tx: Tx, entry: Entry, status: Status, body: Mapping[str, Any], layout: Mapping[str, Any] | None = None
) -> None:
    """Queue one status; each goes out once, however many rounds there are. `layout` is kept for whoever ends the entry."""
    data = {
        "event": STATUS,
        "incident": entry.incident,
        "to": entry.to.value,
        "status": status.value,
        "of": entry.subject,
        "time": entry.time,
        "layout": dict(layout or {}),
    }
    tx.put(entry.named(status), "", STATUS, {**data, "data": dict(body)})


def layout_of(conn: Connection, entry: Entry) -> Mapping[str, Any]:
    """The layout with which the entry began; empty when none was kept."""
    try:
        begun = outbox.get(conn, entry.named(Status.INVESTIGATING))
    except Missing:
        return {}
    return dict(begun.payload.get("layout") or {})


def is_open(conn: Connection, entry: Entry) -> bool:
    """Its beginning was queued before."""
    return outbox.known(conn, entry.named(Status.INVESTIGATING))


async def send(lines: Lines, row: Row) -> Posted:
    """Send one row. Raises what the clients raise; Never too for what is not needed any more."""
    incident_id = str(row.payload["incident"])
    if row.kind == STATUS:
        return await _status(lines, row)
    if lines.pager is None:
        raise Never("PagerDuty is not configured any more", code="no_pager")
    if row.kind == NOTE:
        return await _note(lines, lines.pager, row, incident_id)
    return await _page(lines, lines.pager, row, incident_id)


async def _page(lines: Lines, pager: PagerDutyClient, row: Row, incident_id: str) -> Posted:
    do, key = Do(row.payload.get("do", Do.TRIGGER)), str(row.payload.get("key", incident_id))
    if not pager.access.routing_key:
        raise Never("REMEDIATOR_PAGERDUTY_ROUTING_KEY is not set", code="no_pager")
    if do is not Do.TRIGGER:
        await _after(lines.store, [outbox.page_row(key)])
        await lines.still()
        await pager.end(key, do.value)
        return Posted("pagerduty", incident_id)
    of = await lines.store.read(lambda conn: escalations.of_page(conn, key))
    if of is None or of.answered_at is not None:
        raise Never("nobody has to be paged for it any more", code=NOT_NEEDED)
    timeline = await lines.store.read(lambda conn: lines.timeline_of(conn, incident_id))
    about = replace(timeline, severity=severity.OF_STORM if of.storm else of.severity or timeline.severity)
    await lines.still()
    await pager.trigger(page_for(about, fact_of(row), key, lines.mark))
    return Posted("pagerduty", incident_id)


async def _note(lines: Lines, pager: PagerDutyClient, row: Row, incident_id: str) -> Posted:
    timeline = await lines.store.read(lambda conn: lines.timeline_of(conn, incident_id))
    if timeline.pagerduty_incident and pager.access.notes:
        await lines.still()
        await pager.note(timeline.pagerduty_incident, row.payload["text"] or note_for(timeline, fact_of(row)))
    return Posted("pagerduty", timeline.pagerduty_incident)


async def _status(lines: Lines, row: Row) -> Posted:
    """Once, and never an older status over a newer one."""
    to, status, incident_id = (
        To(row.payload["to"]),
        Status(row.payload["status"]),
        str(row.payload["incident"]),
    )
    entry = Entry(str(row.payload["of"]), to, int(row.payload.get("time", 1)), incident_id)
    if row.attempts > 1 and row.error == DIED:
        raise Never("nobody can tell whether it arrived, and it is posted once at most", code="unclear_once")
    order = list(Status)
    later = [entry.named(s) for s in order[order.index(status) + 1 :]]
    if await lines.store.read(lambda conn: any(outbox.known(conn, name) for name in later)):
        raise Never("a later status follows", code=NOT_NEEDED)
    before = replace(entry, time=entry.time - 1)
    earlier = [entry.named(s) for s in order[: order.index(status)]]
    await _after(lines.store, [*earlier, before.named(Status.RESOLVED)] if before.time else earlier)
    if to is To.PAGE:
        if lines.status_page is None:
            raise Never("REMEDIATOR_STATUS_PAGE_URL is not set", code="no_status_page")
        await lines.still()
        await lines.status_page.post(row.payload["data"], row.id)
        return Posted("status page", status.value)
    timeline = await lines.store.read(lambda conn: lines.timeline_of(conn, incident_id))
    if lines.pager is None or not lines.pager.access.notes:
        raise Never("REMEDIATOR_PAGERDUTY_API_TOKEN and _FROM are not set", code="no_pager")
    if timeline.pagerduty_incident:
        await lines.still()
        await lines.pager.status_update(timeline.pagerduty_incident, str(row.payload["data"]["message"]))
    return Posted("pagerduty", timeline.pagerduty_incident)


async def _after(store: Store, names: list[str]) -> None:
    """Raises Retry while one of these rows is not settled: it must not arrive after this one."""

    def unsettled(conn: Connection) -> bool:
        return any(_is_unsettled(conn, name) for name in names)

    if await store.read(unsettled):
        raise Retry("an earlier one is not out yet", code="in_order", retry_after=_AFTER)


def _is_unsettled(conn: Connection, name: str) -> bool:
    try:
        return outbox.get(conn, name).state in (MessageState.PENDING, MessageState.SENDING)
    except Missing:
        return False


def fact_of(row: Row) -> Escalation:
    """The escalation of a row. Raises ValueError or KeyError when it holds none."""
    fact = fact_from_json(Topic.ESCALATED, row.payload["data"])
    if not isinstance(fact, Escalation):
        raise ValueError("a call without an escalation")  # noqa: TRY004 - the row's content is wrong, no caller's type
    return fact


# On call: who PagerDuty names for a step's schedules and escalation policies. Never asks anybody.

_LOOK_UP = 5.0  # seconds for all names of a step: a call must not wait longer for them


def is_on_call(name: str) -> bool:
    """Whether an entry of a step is a schedule or an escalation policy, of which people are named."""
    return name.startswith((SCHEDULE, POLICY))


def told_of(step: EscalationStep, found: Mapping[str, str]) -> tuple[str, ...]:
    """The sentences of a step's schedules and escalation policies, of those that were found."""
    return tuple(found.get(name, f"{name}: not looked up") for name in step.who if is_on_call(name))


async def on_call(services: Services, wanted: Sequence[str]) -> dict[str, str]:
    """One sentence for each of these schedules and escalation policies, by the policy's entry."""
    found = dict[str, str]()
    try:
        async with asyncio.timeout(_LOOK_UP):
            for name in wanted:
                found[name] = await _named(services, name)
    except TimeoutError:
        found |= {n: _unknown(n, f"no answer within {_LOOK_UP:g} s") for n in wanted if n not in found}
    return found


async def _named(services: Services, name: str) -> str:
    kind, _, identity = name.removeprefix("pagerduty-").partition(":")
    if services.on_call is None:
        return _unknown(name, "REMEDIATOR_PAGERDUTY_API_TOKEN is not set")
    try:
        names = await services.on_call.names(kind, identity)
    except RemediatorError as error:
        return _unknown(name, error.message)
    return f"On call in PagerDuty ({kind} {identity}): {', '.join(names) or 'nobody'}"


def _unknown(name: str, why: str) -> str:
    kind, _, identity = name.removeprefix("pagerduty-").partition(":")
    return f"Who is on call in PagerDuty ({kind} {identity}) is not known: {why}"
