"""Who holds the lock that a database's sessions wait for: the one that may be ended first, and the others as a note.

Called by `databases` with one look at the server. It is judged by the database that the look is connected to, as only its sessions
are ended: who blocks sessions of another database, or is never ended, hides nobody that holds up this one. Data of `database.locks`:
`session` (to end, or None), `who`, `against` or `denied` (why not), `due` (seconds until one may be ended), and `waiting`: sessions of the database behind it, without one all that wait.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from app.domain.database import PREPARED_PID, Activity, Condition, Session, Why
from app.domain.evidence import Finding
from app.domain.json import JsonValue
from app.domain.text import sql_value
from remediations.evidence.usage import count, joined, span

LOCKS = "database.locks"
_SHOWN, _NAMED = 8, 2


@dataclass(frozen=True, slots=True)
class _Holder:
    """One that waits for nobody itself, with those of the database behind it and how long they have waited. `against`: why it is not ended;
    `due`: in how many seconds it may be, None for never; `able` when nothing is against it and the login has the right to."""

    session: Session
    behind: tuple[Session, ...]
    waited: timedelta
    against: str
    due: float | None = None

    @property
    def able(self) -> bool:
        return not self.against and self.session.endable and self.session.id is not None

    @property
    def text(self) -> str:
        return (
            f"pid {self.session.pid} {self.session.who} blocks {count(len(self.behind), 'session')}, "
            f"the longest for {span(self.waited.total_seconds())}"
        )

    @property
    def note(self) -> str:
        """Beside another that is told first."""
        right = "" if self.session.endable else f"the login may not end sessions of {self.session.user}"
        why = self.against or right
        return f"{self.text} as well" + (f" ({why})" if why else "")


def locks_finding(seen: Activity, least: float) -> Finding:
    """Who may be ended and has held others up for longest; where nobody may be, who has held them up for longest, and why it may not."""
    waiting = seen.held_up()
    holders = _holders(seen, waiting, least)
    prepared, elsewhere = _prepared(seen, waiting), _elsewhere(seen, waiting)
    if not holders:
        text = prepared or _waits(waiting)
        data: dict[str, JsonValue] = {"session": None, "who": "", "waiting": len(waiting), "due": None}
        return Finding(LOCKS, joined([text, elsewhere]), data=data, details=tuple(_endings(seen)))
    first, *rest = holders
    holder = first.session
    session: JsonValue = list(holder.id.to_json()) if holder.id and first.able else None
    denied = "" if first.against or holder.endable else holder.user
    data = {
        "session": session, "who": holder.who, "against": first.against, "denied": denied, "waiting": len(first.behind),
        "due": min((h.due for h in holders if h.due is not None), default=None),
    }  # fmt: skip
    notes = [other.note for other in rest[:_NAMED]]
    if len(rest) > _NAMED:
        notes.append(f"{len(rest) - _NAMED} more block others")
    details = [line for one in holders[: _NAMED + 1] for line in _chain(seen, one)]
    text = joined([first.text, *notes, prepared, elsewhere])
    return Finding(LOCKS, text, data=data, details=(*details, *_endings(seen)))


def _holders(seen: Activity, waiting: Sequence[Session], least: float) -> list[_Holder]:
    """Those that may be ended first, then those that a grant would let be ended; of equals who has held others up for longest."""
    condition = Condition(Why.BLOCKS, least)
    found = []
    for session in seen.sessions:
        behind = tuple(s for s in waiting if session.pid in s.blocked_by)
        waited = seen.longest_wait(session)
        if session.blocked_by or not behind or waited is None:
            continue
        vain = in_vain(seen, session)
        against = condition.against(seen, session) or vain
        due = None if vain or not session.endable else condition.due(seen, session)
        found.append(_Holder(session, behind, waited, against, due))
    return sorted(found, key=lambda h: (h.able, not h.against, h.waited), reverse=True)


def in_vain(seen: Activity, holder: Session) -> str:
    """Why to end it would free nobody: each that waits for it waits for something else as well that nobody here ends. Empty otherwise."""
    behind = [s for s in seen.held_up() if holder.pid in s.blocked_by]
    others = [{pid for pid in s.blocked_by if pid != holder.pid and _stays(seen, pid)} for s in behind]
    if not others or not all(others):
        return ""
    pids = sorted(set[int]().union(*others))
    names = ["a prepared transaction" if pid == PREPARED_PID else f"pid {pid}" for pid in pids[:_NAMED]]
    return f"to end it would free nobody: who waits for it waits for {' and '.join(names)} too, which is not ended"


def _stays(seen: Activity, pid: int) -> bool:
    """It waits for nobody, and is none that may be ended."""
    if pid == PREPARED_PID:
        return True
    session = next((s for s in seen.sessions if s.pid == pid), None)
    if session is None or session.blocked_by:
        return False
    return bool(session.protected) or not session.endable or session.database != seen.database


def _waits(waiting: Sequence[Session]) -> str:
    text = f"{count(len(waiting), 'session')} {'waits' if len(waiting) == 1 else 'wait'} for a lock"
    return text if waiting else "Nobody waits for a lock"


def _elsewhere(seen: Activity, waiting: Sequence[Session]) -> str:
    """Waits of other databases of the server, where nothing is ended from here; empty for none."""
    there = [s for s in seen.sessions if s.blocked_by and s not in waiting]
    if not there:
        return ""
    longest = max(((seen.now - s.waits_since).total_seconds() for s in there if s.waits_since), default=0.0)
    names = sorted({s.database or "no database" for s in there})
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return (
        f"in other databases of the server ({', '.join(names[:_NAMED])}{more}) {count(len(there), 'session')} "
        f"{'waits' if len(there) == 1 else 'wait'} for locks, the longest for {span(longest)}: look at them from there"
    )


def _prepared(seen: Activity, waiting: Sequence[Session]) -> str:
    """Which prepared transaction holds a lock that others wait for; empty for none. No session can be ended for it, and who prepared it may be
    gone for days."""
    behind = [s for s in waiting if PREPARED_PID in s.blocked_by]
    if not behind:
        return ""
    since = min((s.waits_since for s in behind if s.waits_since), default=seen.now)
    number = f"{count(len(behind), 'session')}, the longest for {span((seen.now - since).total_seconds())}"
    if not seen.prepared:
        return f"A prepared transaction blocks {number}; its name is not known"
    one, several = seen.prepared[0], len(seen.prepared)
    which = "The" if several == 1 else f"One of {several} prepared transactions, the oldest of them the"
    age = span((seen.now - one.since).total_seconds())
    return (
        f"{which} prepared transaction {sql_value(one.name)} of {one.owner}, prepared {age} ago, blocks {number}. No session has it: who knows"
        f" what it did ends it with {one.command}, or COMMIT PREPARED"
    )


def _endings(seen: Activity) -> Iterator[str]:
    for one in seen.prepared[:_SHOWN]:
        yield f"{one.command}: of {one.owner}, prepared {span((seen.now - one.since).total_seconds())} ago"


def _chain(seen: Activity, holder: _Holder) -> Iterator[str]:
    session = holder.session
    yield f"pid {session.pid} ({session.state}): {session.query or 'no statement'}"
    for behind in holder.behind[:_SHOWN]:
        waits = (seen.now - behind.waits_since).total_seconds() if behind.waits_since else 0.0
        yield f"waits {span(waits)}: pid {behind.pid} {behind.who}: {behind.query or 'no statement'}"
