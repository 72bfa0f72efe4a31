"""Merging: two incidents become one, with what was asked about either, and who has it.

Called where the cluster shows that an incident has the target of another. One round goes on, and one word on who has it counts: that
of the more severe incident; of two as severe an answer, and then that of the incident which stays. So an answer never silences
the steps of something more severe. Never asks a step: the walk goes on with the round that stays.
"""

from __future__ import annotations

from dataclasses import dataclass

from app.flow.calling import calls, severity
from app.flow.calling.calls import Do
from app.flow.notifying import record
from app.flow.notifying.record import tell
from app.notify.escalation import Acknowledged, StepAsked
from app.notify.timeline import Topic
from app.policy.match import rank_of
from app.store import escalations, incidents, outbox, people
from app.store.escalations import StoredEscalation
from app.store.people import Holder
from app.store.tx import Tx


@dataclass(frozen=True, slots=True)
class Standing:
    """One of the two before: its live round, who has it by their own word, how severe it is, and whether what somebody answered stands for that."""

    incident: str
    stays: bool
    walk: StoredEscalation | None
    holder: Holder | None
    severity: str
    stands: bool

    @property
    def rank(self) -> int:
        """0 the most severe."""
        return rank_of(self.severity)

    @property
    def known(self) -> bool:
        """Somebody was called for it, or has it."""
        return self.walk is not None or self.holder is not None

    @property
    def answer(self) -> tuple[str, str] | None:
        """Who answered and how; None while nobody has for what is as severe."""
        if not self.stands:
            return None
        if self.walk is not None:
            found = (self.walk.answered_by, self.walk.through)
            return found if self.walk.answered_at is not None else None
        return (self.holder.by, self.holder.through) if self.holder is not None else None

    @property
    def answered_for(self) -> str:
        """For how severe they answered."""
        given = self.walk.severity if self.walk is not None else self.holder.severity if self.holder else None
        return self.severity if given is None else given

    @property
    def order(self) -> tuple[int, bool, bool]:
        """The smaller counts."""
        return (self.rank, self.answer is None, not self.stays)


def merge(tx: Tx, incident_id: str, into: str) -> None:
    """Merge the incident into the other one. Raises Missing, and Refused (`merge_refused`) when `into` is closed."""
    for one in sorted({incident_id, into}):
        incidents.hold(tx, one)
    gone, here = _standing(tx, incident_id, stays=False), _standing(tx, into, stays=True)
    if incidents.merge(tx, incident_id, into):
        escalations.joined(tx, [into])
        _one_word(tx, gone, here)
        people.hand_on(tx, incident_id, into)  # whose word is not the one may be at work all the same


def _one_word(tx: Tx, gone: Standing, here: Standing) -> None:
    """One round goes on, and one word on who has it counts."""
    into = here.incident
    both = sorted((s for s in (here, gone) if s.known), key=lambda s: s.order)
    if not gone.known:
        record.holder_in_force(tx, into)
        return
    first = both[0]
    owner = next((s for s in both if s.walk is not None), None)
    if owner is None:
        if first is gone and gone.rank <= here.rank and gone.holder is not None and gone.stands:
            record.take_incident(tx, into, gone.holder.by, gone.holder.through, gone.answered_for)
        else:
            record.holder_in_force(tx, into)
        return
    walk = _the_one(tx, owner, (gone, here))
    if first.answer is None:
        people.let_go(tx, into)
    elif first is gone or here.walk is None:
        _answered(tx, walk, first, gone.incident)
        escalations.follow(tx, walk, severity=first.answered_for)
    if owner is gone and first.answer is None and walk.answered_at is None:
        _goes_on(tx, walk, gone.incident)


def _standing(tx: Tx, incident_id: str, *, stays: bool) -> Standing:
    walk = escalations.of_subject(tx, incident_id)
    followed = severity.of_incident(tx.conn, incident_id)
    if walk is not None and walk.severity is not None and rank_of(walk.severity) < rank_of(followed):
        followed = walk.severity  # what was asked for stays asked for
    holder = people.holder_of(tx.conn, incident_id)
    given = holder.severity if walk is None and holder is not None else walk.severity if walk else None
    stands = given is None or not severity.above(tx.conn, incident_id, given)
    return Standing(incident_id, stays, walk, holder, followed, stands)


def _the_one(tx: Tx, owner: Standing, both: tuple[Standing, Standing]) -> StoredEscalation:
    """The round that goes on, as one of the incident that stays; another one is over, and its page."""
    gone, here = both
    for other in both:
        if other is not owner and other.walk is not None:
            escalations.change(tx, other.walk.id, over_at=tx.stamp, due_at=None)
            if other.walk.page_key:
                calls.put_page(tx, other.walk, other.walk.page_key, Do.RESOLVE)
    if owner.walk is None:
        raise AssertionError("it owns the round")
    walk = _carried(tx, owner.walk, here.incident) if owner is gone else owner.walk
    told = [*(here.walk.merged if here.walk else ())]
    told += [gone.walk.subject, *gone.walk.merged] if gone.walk else []
    escalations.follow(tx, walk, merged=tuple(dict.fromkeys(told)), joined=True)
    return walk


def _carried(tx: Tx, gone: StoredEscalation, into: str) -> StoredEscalation:
    """The round in its new incident. A page that may not be out is made anew: the row that makes it is of the old round."""
    stays = bool(gone.page_key) and outbox.page_went_out(tx.conn, gone.page_key)
    walk = escalations.carry(tx, gone, into, page=stays)
    if gone.page_key and not stays:
        calls.put_page(tx, gone, gone.page_key, Do.RESOLVE)
        if gone.answered_at is None:
            key = calls.key_of(walk)
            escalations.change(tx, walk.id, page_key=key)
            calls.put_page(tx, walk, key, Do.TRIGGER)
    return walk


def _answered(tx: Tx, walk: StoredEscalation, of: Standing, merged: str) -> None:
    """Who has the more severe one has both."""
    if of.answer is None:
        raise AssertionError("it was answered")
    by, through = of.answer
    if walk.answered_at is None:
        escalations.answer(tx, walk, by, through, of.answered_for)
        if walk.page_key:
            calls.put_page(tx, walk, walk.page_key, Do.ACKNOWLEDGE)
    if of.holder is not None:
        record.take_incident(tx, walk.subject, of.holder.by, of.holder.through, of.answered_for)
    else:
        people.let_go(tx, walk.subject)
    fact = Acknowledged(by, through, len(walk.asked), tx.now, f"{merged} was merged into this incident")
    tell(tx, Topic.ACKNOWLEDGED, fact, incident_id=walk.subject, once=f"merged/{merged}")


def _goes_on(tx: Tx, walk: StoredEscalation, merged: str) -> None:
    """Say in the thread that stays who was asked already; nobody is mentioned a second time."""
    if not walk.asked:
        return
    last, number = walk.asked[-1], len(walk.asked)
    why = str(walk.why.get("reason", ""))
    fact = StepAsked(last.step, number, until=walk.due_at, reason=why, at=last.at, merged=merged)
    tell(tx, Topic.ASKED, fact, incident_id=walk.subject, once=f"merged/{merged}")
