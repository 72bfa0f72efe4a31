"""What people have said that holds the service back: pauses, and who has taken which incident. Never says what follows from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Connection,
    Index,
    Row,
    Select,
    Table,
    Text,
    bindparam,
    case,
    delete,
    insert,
    or_,
    select,
    update,
)

from app.domain.alert import Acknowledgement, AlertStatus, Source
from app.domain.errors import BadInput
from app.domain.events import EventKind
from app.domain.free_text import OF_PAGERDUTY
from app.store import work
from app.store.audit import EPISODES_OF, episodes_of, episodes_of_all
from app.store.columns import flag_column, maybe_text, maybe_time, text_column, time_column
from app.store.connection import micros, micros_or_none, moment, moment_or_none, storable
from app.store.schema import IN_FORCE, OPEN, digest_incidents, episodes, incidents, metadata, pauses
from app.store.tx import Tx

# Pauses: the switches a person throws to keep the service from acting, each with reason, author and end.
#
# Scopes: `all`, `namespace:NAME`, `target:NAMESPACE/KIND/NAME`, `rule:NAME`, `remediation:NAME`. Called by the web,
# Slack and command line to set and lift, by the flow to read. Never acts on them.

_PREFIXES = ("namespace:", "target:", "rule:", "remediation:")


@dataclass(frozen=True, slots=True)
class Pause:
    """One standing pause. `until` None: until somebody lifts it. `remediation` is what the rule of a pause of a rule does, or did while there
    was one of that name; empty for any other pause, and where it is not known."""

    id: str
    scope: str
    reason: str
    author: str
    set_at: datetime
    until: datetime | None
    remediation: str = ""


def pause(  # the pause's six parts
    tx: Tx, scope: str, reason: str, author: str, until: datetime | None = None, remediation: str = ""
) -> Pause:
    """Set the pause of a scope, replacing one that stands there. Raises BadInput for an unknown kind of scope."""
    if scope != "all" and not any(scope.startswith(p) and len(scope) > len(p) for p in _PREFIXES):
        allowed = ", ".join(("all", *(f"{p}…" for p in _PREFIXES)))
        raise BadInput(f"expected one of {allowed}", code="bad_scope", where=scope)
    _end(tx, scope, author)
    words = (storable(scope), storable(reason), storable(author))
    pause = Pause(tx.ids.new("pause"), *words, tx.now, until, storable(remediation))
    tx.conn.execute(
        insert(pauses).values(
            id=pause.id,
            scope=pause.scope,
            reason=pause.reason,
            author=pause.author,
            set_at=tx.stamp,
            until=micros_or_none(until),
            lifted_by="",
            remediation=pause.remediation or None,
        )
    )
    data = {"scope": pause.scope, "reason": pause.reason, "until": until.isoformat() if until else None}
    tx.audit(EventKind.PAUSED, actor=author, data=data)
    return pause


def lift_pause(tx: Tx, scope: str, author: str, reason: str = "") -> bool:
    """Lift the pause of a scope; False when none was in force there. What was refused is looked at again now. The `reason` may be left out."""
    in_force = any(pause.scope == scope for pause in pauses_in_force(tx.conn, tx.now))
    _end(tx, scope, author)
    if in_force:
        given = {"reason": reason} if reason else {}
        tx.audit(EventKind.RESUMED, actor=author, data={"scope": scope, **given})
        work.wake_resting(tx, observed=False)
    return in_force


# Built once: every decision asks for it.
_ACTIVE = (
    select(pauses)
    .where(IN_FORCE, or_(pauses.c.until.is_(None), pauses.c.until > bindparam("now")))
    .order_by(pauses.c.set_at, pauses.c.id)
)


def pauses_in_force(conn: Connection, now: datetime) -> list[Pause]:
    """Pauses in force at `now`, the oldest first."""
    return [_pause(row) for row in conn.execute(_ACTIVE, {"now": micros(now)})]


def scopes_in_force(conn: Connection) -> set[str]:
    """Scopes of the pauses that nobody has lifted; the time of some may be over."""
    return set(conn.execute(select(pauses.c.scope).where(IN_FORCE)).scalars())


def know_rules(tx: Tx, remediations: Mapping[str, str]) -> list[Pause]:
    """Note for the pauses of rules in force what their rules do, by name. Returns those of which there is no rule any more."""
    nameless = []
    for pause in pauses_in_force(tx.conn, tx.now):
        kind, _, name = pause.scope.partition(":")
        if kind != "rule":
            continue
        if name not in remediations:
            nameless.append(pause)
        elif remediations[name] != pause.remediation:
            known = update(pauses).where(pauses.c.id == pause.id)
            tx.conn.execute(known.values(remediation=storable(remediations[name])))
    return nameless


def _end(tx: Tx, scope: str, author: str) -> None:
    tx.conn.execute(
        update(pauses)
        .where(IN_FORCE, pauses.c.scope == scope)
        .values(lifted_at=tx.stamp, lifted_by=storable(author))
    )


def _pause(row: Row[Any]) -> Pause:
    until = moment_or_none(row.until)
    return Pause(row.id, row.scope, row.reason, row.author, moment(row.set_at), until, row.remediation or "")


# Who has what: which of PagerDuty's incidents a person has taken, as its messages tell, and which of our own
# incidents. It is asked for here whose word stands, so that nobody else is called; who may be at work, so that nothing
# is written over without a question, is more, and `hands` tells it.
#
# Of PagerDuty's the newest word on each counts; they are written by `ingest`, and where PagerDuty's API can be asked,
# its answer counts and not this. Of our own one person has it, whichever way they said so, until it is given back.
# A word is deleted only where its giver took it back, or somebody else has the incident by now; any other end lets it
# go, and it stays where it was. Read by the facts of the gates inside their transaction. Never says what follows from it.

acknowledgements = Table(
    "acknowledgements",
    metadata,
    text_column("fingerprint", primary_key=True),
    text_column("given_by"),
    time_column("at"),
    flag_column("stands"),
)
Index("ix_acknowledgements_at", acknowledgements.c.at)

incident_acknowledgements = Table(
    "incident_acknowledgements",
    metadata,
    text_column("incident_id", primary_key=True),
    text_column("given_by"),
    text_column("through"),
    time_column("at"),
    maybe_text("severity"),
    maybe_time("outgrown_at"),
)
Index("ix_incident_acknowledgements_at", incident_acknowledgements.c.at)

_FINGERPRINT, _AT = bindparam("wanted", type_=Text()), bindparam("since", type_=BigInteger())
_KNOWN = select(acknowledgements.c.at).where(acknowledgements.c.fingerprint == _FINGERPRINT)
_CHANGE = update(acknowledgements).where(
    acknowledgements.c.fingerprint == _FINGERPRINT, acknowledgements.c.at <= _AT
)
_OF: Select[Any] = (
    select(acknowledgements.c.given_by, acknowledgements.c.at, acknowledgements.c.stands)
    .select_from(
        episodes.outerjoin(acknowledgements, acknowledgements.c.fingerprint == episodes.c.fingerprint)
    )
    .where(
        EPISODES_OF,
        episodes.c.source == Source.PAGERDUTY.value,
        episodes.c.status == AlertStatus.FIRING.value,
    )
)


_WORDS_ON: Select[Any] = (
    select(
        episodes.c.incident_id,
        episodes.c.ends_at,
        acknowledgements.c.given_by,
        acknowledgements.c.at,
        acknowledgements.c.stands,
    )
    .select_from(
        episodes.outerjoin(acknowledgements, acknowledgements.c.fingerprint == episodes.c.fingerprint)
    )
    .order_by(episodes.c.ends_at.is_(None).desc(), episodes.c.ends_at.desc())
)


_WORD = select(incident_acknowledgements).where(
    incident_acknowledgements.c.incident_id == bindparam("incident")
)
_HOLDER = _WORD.where(incident_acknowledgements.c.outgrown_at.is_(None))


@dataclass(frozen=True, slots=True)
class Holder:
    """Who has an incident, how they said so (`Slack`, `API`, `PagerDuty`), since when, and how severe it was then; None where an older
    version wrote it down."""

    by: str
    through: str
    at: datetime
    severity: str | None = None

    @property
    def text(self) -> str:
        """As one clause."""
        return f"acknowledged through {self.through} by {self.by} at {self.at:%Y-%m-%dT%H:%M:%SZ}"


def put_pagerduty_word(tx: Tx, given: Acknowledgement) -> None:
    """Keep the word, unless a newer one on the same incident is known. So is that nobody has it any more: what that takes back may be
    delivered after it."""
    fingerprint, at = storable(given.alert.fingerprint), micros(given.at)
    values = {"given_by": storable(given.by), "at": at, "stands": given.stands}
    known = tx.conn.execute(_KNOWN, {"wanted": fingerprint}).scalar()
    if known is None:
        tx.conn.execute(insert(acknowledgements), {"fingerprint": fingerprint, **values})
    else:
        tx.conn.execute(_CHANGE.values(values), {"wanted": fingerprint, "since": at})


def taken_in_pagerduty(conn: Connection, incident_id: str) -> str:
    """Who has taken all of the incident's alerts of PagerDuty that fire, as one clause; empty when one of them is nobody's, or
    there is none. How severe they are it does not say."""
    newest = _newest(conn, incident_id)
    if newest is None:
        return ""
    return f"acknowledged in PagerDuty by {str(newest.given_by).removeprefix(OF_PAGERDUTY)} at {moment(newest.at):%Y-%m-%dT%H:%M:%SZ}"


def takers(conn: Connection, incident_id: str) -> list[tuple[str, datetime]]:
    """Who has the incident or a part of it, as far as our own store tells, and since when: by their word to us, and by PagerDuty's."""
    there, holder = conn.execute(_OF, episodes_of(conn, incident_id)).all(), holder_of(conn, incident_id)
    found = [(str(row.given_by), moment(row.at)) for row in there if row.stands]
    return found if holder is None else [*found, (holder.by, holder.at)]


def pagerduty_taker(conn: Connection, incident_id: str) -> str:
    """The name alone of who has taken them all, empty for nobody."""
    newest = _newest(conn, incident_id)
    return "" if newest is None else str(newest.given_by)


def _newest(conn: Connection, incident_id: str) -> Row[Any] | None:
    return _of_all(conn.execute(_OF, episodes_of(conn, incident_id)).all())


def _of_all(found: Sequence[Row[Any]]) -> Row[Any] | None:
    """The newest word, where there is one on each of these."""
    if not found or not all(row.stands for row in found):
        return None
    return max(found, key=lambda row: int(row.at))


def had_in_pagerduty(conn: Connection, incident_ids: Sequence[str]) -> dict[str, Holder]:
    """Who had which of these incidents, which are closed, to its end by PagerDuty's word: whoever had taken all of those alerts of PagerDuty that went
    last."""
    if not incident_ids:
        return {}
    mine = (episodes_of_all(conn, incident_ids), episodes.c.source == Source.PAGERDUTY.value)
    of: dict[str, list[Row[Any]]] = {}
    for row in conn.execute(_WORDS_ON.where(*mine)):
        there = of.setdefault(str(row.incident_id), [])
        if there and there[0].ends_at != row.ends_at:
            continue  # the last ones come first
        there.append(row)
    found = {one: _of_all(last) for one, last in of.items()}
    return {
        one: Holder(str(row.given_by).removeprefix(OF_PAGERDUTY), "PagerDuty", moment(row.at))
        for one, row in found.items()
        if row is not None
    }


def give_incident(tx: Tx, incident_id: str, by: str, through: str, severity: str) -> None:
    """This person has the incident now, which is so severe; who had it before does not any more. It is decided anew. The caller holds
    the incident."""
    withdraw_holder(tx, incident_id)
    row = {"incident_id": incident_id, "given_by": storable(by), "through": through, "at": tx.stamp}
    tx.conn.execute(insert(incident_acknowledgements).values(**row, severity=storable(severity)))


def held_for(tx: Tx, incident_id: str, severity: str) -> None:
    """Whoever has the incident has it as one that is so severe."""
    mine = incident_acknowledgements.c.incident_id == incident_id
    tx.conn.execute(update(incident_acknowledgements).where(mine).values(severity=storable(severity)))


def withdraw_holder(tx: Tx, incident_id: str) -> None:
    """Nobody has the incident, which is decided anew."""
    mine = incident_acknowledgements.c.incident_id == incident_id
    tx.conn.execute(delete(incident_acknowledgements).where(mine))
    _decide_anew(tx, incident_id)


def let_go(tx: Tx, incident_id: str) -> None:
    """Whoever has the incident has it no longer, by none of their own words: it is more severe than what they took, or others are needed for it. They
    may be at it all the same. It is decided anew; nothing where nobody has it."""
    mine = (
        incident_acknowledgements.c.incident_id == incident_id,
        incident_acknowledgements.c.outgrown_at.is_(None),
    )
    if holder_of(tx.conn, incident_id) is not None:
        tx.conn.execute(update(incident_acknowledgements).where(*mine).values(outgrown_at=tx.stamp))
        _decide_anew(tx, incident_id)


def hand_on(tx: Tx, gone: str, into: str) -> None:
    """Whoever had the incident that is gone may be at the one that it has become, unless somebody else has that, or took it later."""
    row, there = (tx.conn.execute(_WORD, {"incident": one}).one_or_none() for one in (gone, into))
    if row is None or (there is not None and (there.outgrown_at is None or there.at >= row.at)):
        return
    mine, table = incident_acknowledgements.c.incident_id == into, incident_acknowledgements
    tx.conn.execute(delete(table).where(mine))
    word = {"given_by": row.given_by, "through": row.through, "at": row.at, "severity": row.severity}
    tx.conn.execute(insert(table).values(incident_id=into, outgrown_at=row.outgrown_at or tx.stamp, **word))


def _decide_anew(tx: Tx, incident_id: str) -> None:
    due = case((incidents.c.due_at < tx.stamp, incidents.c.due_at), else_=tx.stamp)
    tx.conn.execute(update(incidents).where(incidents.c.id == incident_id, OPEN).values(due_at=due))


_BESIDE = 20


def other_incidents_on(conn: Connection, target_key: str, incident_id: str) -> list[str]:
    """The other open incidents with this target, the oldest first."""
    mine = (OPEN, incidents.c.target_key == target_key, incidents.c.id != incident_id)
    return list(conn.execute(select(incidents.c.id).where(*mine).order_by(incidents.c.id)).scalars())


def another_on(conn: Connection, target_key: str | None, incident_id: str) -> bool:
    """Whether there is, or was, another incident with this target, as far as they are kept; yes where none is known yet."""
    mine = (incidents.c.target_key == target_key, incidents.c.id != incident_id)
    return (
        target_key is None or conn.execute(select(incidents.c.id).where(*mine).limit(1)).first() is not None
    )


def perhaps_taken(conn: Connection, target_keys: Sequence[str], incident_id: str) -> bool:
    """Whether anybody may be at these targets by more than the incident's own standing word: another incident of one was there, a word was let go or is
    PagerDuty's, or a storm has told of it. Of most alerts nothing is, so that nothing else is looked for."""
    if any(another_on(conn, key, incident_id) for key in target_keys):
        return True
    word = _WORD.where(incident_acknowledgements.c.outgrown_at.is_not(None))
    if conn.execute(word, {"incident": incident_id}).first() is not None:
        return True
    words = _WORDS_ON.where(episodes_of_all(conn, [incident_id]), acknowledgements.c.stands).limit(1)
    if conn.execute(words).first() is not None:
        return True
    told = select(digest_incidents.c.incident_id).where(digest_incidents.c.incident_id == incident_id)
    return conn.execute(told.limit(1)).first() is not None


def undecided_beside(conn: Connection, incident_id: str, since: datetime) -> list[str]:
    """Other incidents of alerts, opened since then, that nobody has decided yet, the newest first; some of them where there are many."""
    c = incidents.c
    fresh = (OPEN, c.manual.is_(None), c.decided_at.is_(None), c.opened_at >= micros(since))
    query = select(c.id).where(*fresh, c.id != incident_id).order_by(c.id.desc()).limit(_BESIDE)
    return list(conn.execute(query).scalars())


def holder_of(conn: Connection, incident_id: str) -> Holder | None:
    """Who has the incident by their own word; None for nobody."""
    row = conn.execute(_HOLDER, {"incident": incident_id}).one_or_none()
    return None if row is None else Holder(row.given_by, row.through, moment(row.at), row.severity)
