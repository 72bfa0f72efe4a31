"""Deliver: takes messages out of the outbox and sends them, one Slack thread an incident.

Called in a loop by `app.main`. A message is tagged with its outbox id, and whatever was tried before is looked for
before it is posted again, so a crash or a lost answer between posting and recording gives no second message where the
channel can be read. A broken row never holds up another incident's rows, and Slack never holds up a page. Never
decides anything and never touches the cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

import structlog
from sqlalchemy import Connection

from app.domain.errors import Missing
from app.domain.events import EventKind
from app.domain.json import digest as json_digest
from app.flow.calling import calls, unsent
from app.flow.calling.fence import REDRAW, Fence, Lapsed, repair
from app.flow.notifying.fan_out import DIGEST, QUIET, STORM_CALL, collapse_storm
from app.flow.notifying.scorecard import WEEKLY
from app.flow.notifying.sending import DeliverServices
from app.notify.audit_head import head_message
from app.notify.blocks import to_slack
from app.notify.client import Away, BadToken, Never, NoAccess, PostAnew, Posted, Retry, Unclear
from app.notify.digest import SHOWN, Digest, digest
from app.notify.entries import thread_entry
from app.notify.escalation import EscalationFact
from app.notify.escalation import entry as escalation_entry
from app.notify.message import Message
from app.notify.parent import parent
from app.notify.schedule_skipped import skipped_message
from app.notify.scorecard import weekly
from app.notify.timeline import Fact, Topic, fact_from_json
from app.store import digests, incidents, outbox
from app.store.incidents import Incident
from app.store.outbox import Message as Row
from app.store.tx import Tx

__all__ = ["DeliverServices", "deliver_once"]

AUDIT_HEAD: Final = "audit_head"
SCHEDULE_SKIPPED: Final = "schedule.skipped"
_FIRST_WAIT: Final = 5.0
_LONGEST_WAIT: Final = 60.0
_ACCESS_WAIT: Final = 15.0
"""Seconds between two tries of a message for which a setting has to be repaired, so that the repair shows soon."""
_TRIES: Final = 12
"""How often a message of unclear outcome is tried while Slack takes others: then it is the message that is wrong."""
_POISON: Final = _LONGEST_WAIT
_SIGNS: Final = 3  # attempts of one message of which the failing is a sign that Slack is away
_SHOWN_KEPT: Final = 10_000
_WEEK: Final = timedelta(days=7)  # then the next scorecard is there

log = structlog.get_logger(__name__)


async def deliver_once(services: DeliverServices) -> int:
    """Send what is due; returns how many rows were taken, 0 when there is nothing to do now. Raises StoreUnavailable."""
    if not await services.store.read(outbox.depth):
        return 0
    now = services.clock.now()
    await services.store.write(lambda tx: _free_the_dead(tx, services, now))
    await collapse_storm(services.store, services.storm)
    rows = await services.store.write(
        lambda tx: outbox.claim(tx, now, services.batch, services.owner, services.lease)
    )
    # Calls first: a slow Slack must not keep a person asleep.
    held = []
    for row in sorted(rows, key=lambda r: (r.kind not in calls.KINDS, r.seq)):
        if row.kind not in calls.KINDS and services.outage.holds(services.clock.monotonic()):
            held.append(row)
        else:
            await _one(services, row)
    if held:
        seconds = services.outage.holds(services.clock.monotonic()) or 0.0
        until = services.clock.now() + timedelta(seconds=seconds)
        await services.store.write(lambda tx: _wait(tx, held, until))
    return len(rows)


def _wait(tx: Tx, rows: Sequence[Row], until: datetime) -> None:
    ours = [row.id for row in rows if outbox.hold(tx, row)]
    outbox.waits(tx, ours, "Slack takes nothing now", until)


def _free_the_dead(tx: Tx, services: DeliverServices, now: datetime) -> None:
    """Rows that a dead process or a failed pass left behind may be out or not; their next claim is not their first and looks
    first.

    What this replica holds before a pass is of an earlier start or of a pass that the store ended; of another replica only
    the end of its claim tells.
    """
    for row in outbox.unsure(tx.conn, now + services.lease):
        mine = (row.claimed_by or "").startswith(f"{services.replica}/")
        if mine or (row.claimed_until is not None and row.claimed_until <= now):
            outbox.failed(tx, row.id, calls.DIED, now)


async def _one(services: DeliverServices, row: Row) -> None:
    """Send one row and settle it, whatever happens to it."""
    claimed, now = row, services.clock.now()
    if claimed.claimed_until is None or now >= claimed.claimed_until:
        # Another process may take it over at any moment.
        await services.store.write(lambda tx: _lapsed(tx, row, went=False))
        return
    renewed = await services.store.write(lambda tx: outbox.renew(tx, claimed, services.lease))
    if renewed is None:
        return
    fence = Fence(services.store, services.clock, renewed)
    try:
        await _sent_or_kept(replace(services, check=fence.check), renewed)
    except Lapsed:
        log.warning("message is another's by now", message=row.id, sent=fence.went)
        await services.store.write(lambda tx: _lapsed(tx, renewed, went=fence.went))


def _lapsed(tx: Tx, row: Row, *, went: bool) -> None:
    """Our time for it is over. Where nobody has taken it yet it goes back, and whoever takes it looks whether it is out."""
    if outbox.hold(tx, row):
        outbox.failed(tx, row.id, calls.DIED if went else "not reached in time", tx.now)
    elif went:
        repair(tx, row)


async def _sent_or_kept(services: DeliverServices, row: Row) -> None:
    """Send a row that is ours and settle it. Raises Lapsed when it is not any more."""
    channel = "pager" if row.kind in calls.KINDS else "chat"
    try:
        with services.tracer.span("notify", row.incident_id, kind=row.kind):
            posted = await _send(services, row)
    except (Away, BadToken) as away:
        services.attempted(channel, "no_access" if isinstance(away, BadToken) else "later")
        await _held(services, row, away)
    except Retry as later:
        services.attempted(channel, "later")
        await _again(services, row, str(later), later.retry_after)
    except NoAccess as closed:
        # The message is fine; somebody has to fix a setting, and then it shall go out.
        services.attempted(channel, "no_access")
        log.warning("message cannot be sent", message=row.id, code=closed.code, hint=closed.message)
        await _again(services, row, str(closed), _ACCESS_WAIT)
    except (Unclear, PostAnew) as unclear:
        # Whatever the parent message seems to show, look at it again: it may be gone with its thread.
        services.attempted(channel, "unclear")
        services.shown.pop(row.incident_id, None)
        await _again(services, row, str(unclear), None)
    except Never as refused:
        services.attempted(channel, "refused")
        await _give_up(services, row, str(refused), quiet=refused.code == calls.NOT_NEEDED)
    except (Missing, ValueError, KeyError) as broken:
        services.attempted(channel, "broken")
        await _give_up(services, row, f"the row cannot be told: {type(broken).__name__}: {broken}")
    else:
        services.attempted(channel, "sent")
        await _settle(services, row, lambda tx: _sent(tx, row, posted))
        if channel == "chat" and posted.ts and services.outage.took(services.clock.monotonic()):
            await services.store.write(outbox.due_again)


def _sent(tx: Tx, row: Row, posted: Posted) -> None:
    outbox.sent(tx, row.id, posted.channel, posted.ts)
    if row.kind in calls.KINDS:
        _audit_call(tx, row, EventKind.NOTIFIED, {"channel": posted.channel, "ts": posted.ts})


def _failed(tx: Tx, row: Row, error: str) -> None:
    outbox.failed(tx, row.id, error, None)
    if row.kind in calls.KINDS:
        _audit_call(tx, row, EventKind.NOTIFY_FAILED, {"error": error})


def _audit_call(tx: Tx, row: Row, kind: EventKind, data: dict[str, str]) -> None:
    """A call's row belongs to no incident, so that it waits for nobody; the incident's own timeline needs the call too."""
    incident_id = str(row.payload.get("incident", ""))
    tx.audit(kind, incident_id=incident_id, data={"message": row.id, "kind": row.kind, **data})


async def _settle(services: DeliverServices, row: Row, settle: Callable[[Tx], None]) -> None:
    """Raises Lapsed, with nothing written, when the row is not ours any more."""

    def ours(tx: Tx) -> bool:
        held = outbox.hold(tx, row)
        if held:
            settle(tx)
        return held

    if not await services.store.write(ours):
        raise Lapsed


async def _held(services: DeliverServices, row: Row, away: Away | BadToken) -> None:
    """Nothing is taken now, whatever the message: it waits with all the others, and that counts no attempt."""
    if isinstance(away, BadToken):
        log.warning("message cannot be sent", message=row.id, code=away.code, hint=away.message)
    wait = away.retry_after if isinstance(away, Away) else None
    seconds = services.outage.failed(services.clock.monotonic(), away.code, wait)
    until = services.clock.now() + timedelta(seconds=seconds)
    await _settle(services, row, lambda tx: outbox.waits(tx, [row.id], str(away), until))


async def _again(services: DeliverServices, row: Row, error: str, wait: float | None) -> None:
    """Back into the queue, later each time. Given up is only what is out of date, or what alone fails while others go out."""
    now, monotonic = services.clock.now(), services.clock.monotonic()
    took = services.outage.took_at
    alone = wait is None and row.attempts >= _TRIES and took is not None and monotonic - took < 2 * _POISON
    if alone or (row.kind == WEEKLY and now - row.created_at > _WEEK):
        await _give_up(services, row, f"{error} (tried {row.attempts} times)")
        return
    if row.kind not in calls.KINDS and wait is None and row.attempts <= _SIGNS:
        services.outage.begin(monotonic, "unclear")
    backoff = min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** min(row.attempts - 1, 10))
    at = now + timedelta(seconds=backoff if wait is None else wait)

    def later(tx: Tx) -> None:
        outbox.failed(tx, row.id, error, at)
        unsent.page_is_late(tx, row, error)

    await _settle(services, row, later)


async def _give_up(services: DeliverServices, row: Row, error: str, *, quiet: bool = False) -> None:
    say = log.info if quiet else log.error
    say("message given up", message=row.id, incident=row.incident_id, error=error)

    def failed(tx: Tx) -> None:
        _failed(tx, row, error)
        if not quiet:
            unsent.page_given_up(tx, row, error)

    await _settle(services, row, failed)


async def _send(services: DeliverServices, row: Row) -> Posted:
    if row.kind in calls.KINDS:
        return await calls.send(services.lines, row)
    if row.kind == DIGEST:
        return await _digest(services, row)
    if row.kind == STORM_CALL:
        return await _storm_call(services, row)
    if row.kind == AUDIT_HEAD:
        said = head_message(row.payload["data"])
        return await _post_once(services, row, said, None, row.id, services.channel)
    if row.kind == SCHEDULE_SKIPPED:
        said = skipped_message(row.payload["data"])
        return await _post_once(services, row, said, None, row.id, services.channel)
    if row.kind == WEEKLY:
        return await _post_once(services, row, weekly(row.payload["data"]), None, row.id, services.channel)
    return await _tell(services, row)


async def _tell(services: DeliverServices, row: Row) -> Posted:
    """The parent message first, as editing it may be repeated; then the entry, which may not."""
    topic = Topic(row.payload["event"])
    fact = fact_from_json(topic, row.payload.get("data") or {})
    incident, entry, picture = await services.store.read(
        lambda conn: _rendered(services, conn, row, topic, fact)
    )
    if entry is None and _thread(services, incident) is None:
        # Its first messages went into a digest; a change of state alone opens no thread.
        return Posted("", "")
    try:
        head = await _head(services, row, incident, picture)
    except NoAccess:
        raise
    except Never as refused:
        # The parent message is what cannot be told: what happened since is told all the same, with its buttons. Without a
        # thread only what people have to hear stands alone in the channel.
        known = _thread(services, incident)
        if entry is None or (known is None and topic in QUIET):
            raise
        log.warning("parent message refused", incident=row.incident_id, code=refused.code)
        head = known or Posted(services.channel, "")
        entry = replace(entry, buttons=picture.message.buttons)
    if entry is None or (topic in QUIET and services.clock.now() - row.created_at > services.details_for):
        return head
    return await _post_once(services, row, entry, head.ts or None, row.id, head.channel)


@dataclass(frozen=True, slots=True)
class _Picture:
    """An incident's parent message, the digest of what Slack shows of it, and the number of the message before this one."""

    message: Message
    digest: str
    before: int


def _rendered(
    services: DeliverServices, conn: Connection, row: Row, topic: Topic, fact: Fact | None
) -> tuple[Incident, Message | None, _Picture]:
    """What there is to say. Rendered on the reader's thread: texts of strangers may be long."""
    incident, timeline = incidents.get(conn, row.incident_id), services.timeline_of(conn, row.incident_id)
    message = parent(timeline)
    body = to_slack(message)
    shows = json_digest([body.text, list(body.blocks)])
    return incident, thread_entry(topic, timeline, fact), _Picture(message, shows, outbox.before(conn, row))


def _thread(services: DeliverServices, incident: Incident) -> Posted | None:
    posted = Posted(incident.thread_channel, incident.thread_ts)
    return posted if posted.ts and services.client.knows(posted) else None


async def _head(services: DeliverServices, row: Row, incident: Incident, picture: _Picture) -> Posted:
    """The parent message, showing the present state: edited, or posted when there is none (any more)."""
    message = picture.message
    known = _thread(services, incident)
    tag = f"{incident.id}:parent:{incident.thread_ts}"
    head = known
    if known is not None:
        if _is_shown(services, row, picture):
            _remember(services, row, picture.digest)
            return known
        try:
            await services.check()
            head = await services.client.update(known, message, tag)
        except PostAnew:
            head = None
    if head is None:
        head = await _post_once(services, row, message, None, tag, services.channel)
    placed = head
    if placed != known:
        await _settle(
            services, row, lambda tx: incidents.set_thread(tx, incident.id, placed.channel, placed.ts)
        )
    _remember(services, row, picture.digest)
    return placed


async def _post_once(  # the message, its place and its tag
    services: DeliverServices, row: Row, message: Message, thread_ts: str | None, tag: str, channel: str
) -> Posted:
    """Post, after looking whether an earlier try got through. Where nobody can look, a second message beats none."""
    if row.attempts > 1:
        found = await services.client.find(channel, thread_ts, tag, row.created_at)
        if found.posted is not None:
            return found.posted
        if found.unknown:
            log.warning("message may appear twice", message=row.id, why=found.unknown)
    await services.check()
    return await services.client.post(channel, message, thread_ts, tag)


def _is_shown(services: DeliverServices, row: Row, picture: _Picture) -> bool:
    """Slack shows this text, which we put there, and nobody told anything of the incident since."""
    shows, seq = services.shown.get(row.incident_id, ("", 0))
    return shows == picture.digest and seq in (picture.before, row.seq) and not row.payload.get(REDRAW)


def _remember(services: DeliverServices, row: Row, shows: str) -> None:
    if len(services.shown) >= _SHOWN_KEPT:
        services.shown.clear()
    services.shown[row.incident_id] = (shows, row.seq)


async def _digest(services: DeliverServices, row: Row) -> Posted:
    """One message for the many incidents of a storm: posted once, then edited."""
    digest_id = str(row.payload["data"]["digest"])
    known, message = await services.store.read(lambda conn: _picture(services, conn, digest_id))
    head = Posted(known.channel, known.ts)
    if head.ts and services.client.knows(head):
        try:
            await services.check()
            return await services.client.update(head, message, row.id)
        except PostAnew:
            log.warning("digest is gone and posted anew", digest=digest_id)
    posted = await _post_once(services, row, message, None, row.id, services.channel)
    await _settle(services, row, lambda tx: digests.posted(tx, digest_id, posted.channel, posted.ts))
    return posted


def _picture(services: DeliverServices, conn: Connection, digest_id: str) -> tuple[digests.Digest, Message]:
    known, counts = digests.get(conn, digest_id), digests.count(conn, digest_id, SHOWN)
    timelines = [services.timeline_of(conn, i) for i in counts.ids]
    told = Digest(digest_id, known.opened_at, counts.states, counts.alertnames, counts.namespaces, timelines)
    return known, digest(told)


async def _storm_call(services: DeliverServices, row: Row) -> Posted:
    """What the escalation of a storm says, below its digest; alone in the channel where that is not posted."""
    digest_id, data = str(row.payload["data"]["digest"]), row.payload["data"]["fact"]
    fact = fact_from_json(Topic(row.payload["data"]["topic"]), data)
    if not isinstance(fact, EscalationFact):
        raise ValueError("a storm's call without a fact")  # noqa: TRY004 - the row's content is wrong, no caller's type
    known = await services.store.read(lambda conn: digests.get(conn, digest_id))
    head = Posted(known.channel or services.channel, known.ts)
    thread = head.ts if head.ts and services.client.knows(head) else None
    channel = head.channel if thread else services.channel
    return await _post_once(services, row, escalation_entry(digest_id, fact), thread, row.id, channel)
