"""What a PostgreSQL server says of its connections: how many, whose, idle in a transaction, waiting for a lock.

Called by the handler of database connections. A connection that cannot be made is unknown, and no word on the server; that none is
free, or that role or database take no more, is the server's own word. Findings and their data, by code:
`database.connection` `code` (empty, or why nobody could look), `crowded`; `database.idle` `sessions`, `denied`, `reason`, `vain` (why it helps nobody to end them);
`database.locks` stands in `database_locks`; `database.clients` `share`, `addresses`; `database.replication` `held`: the slots that nobody reads, in words.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from app.domain.cluster import Cluster
from app.domain.database import (
    ABSENT,
    CLOSED,
    EXHAUSTED,
    IDLE,
    LIMITED,
    Activity,
    Condition,
    DatabaseAddress,
    Databases,
    Replication,
    Session,
    Slot,
    Standby,
    Why,
)
from app.domain.errors import ProbeUnavailable
from app.domain.evidence import Certainty, Finding
from app.domain.json import JsonValue
from remediations.evidence.database_locks import in_vain, locks_finding
from remediations.evidence.looks import not_looked
from remediations.evidence.usage import count, joined, memory, percent, span

CONNECTION, CLIENTS, IDLERS, REPLICATION = (
    "database.connection", "database.clients", "database.idle", "database.replication"
)  # fmt: skip
_TOLD = frozenset({EXHAUSTED, LIMITED, CLOSED, ABSENT, "disk_full"})
"""Codes of a failed connection that are the server's own word on what is wrong."""
_SHOWN, _NAMED = 8, 2
_AGES = ((60, "under 1 min"), (600, "1 to 10 min"), (3_600, "10 to 60 min"), (float("inf"), "over 1 h"))


@dataclass(frozen=True, slots=True)
class Limits:
    """From when on something is wrong: seconds idle in a transaction, seconds that others wait for a lock, share of connections;
    `most` sessions are ended at once."""

    idle: float
    lock: float
    crowded: float
    most: int


async def database_findings(
    source: Databases | None, cluster: Cluster, at: DatabaseAddress, limits: Limits
) -> list[Finding]:
    """One look at the server."""
    if source is None or not at.secret:
        why = (
            "no Secret with its login is named in the rule's params" if source else "no database can be asked"
        )
        return [
            Finding(CONNECTION, f"{at} was not looked at: {why}", Certainty.UNKNOWN, {"code": "no_login"})
        ]
    try:
        seen = await source.activity(cluster, at)
    except ProbeUnavailable as error:
        return [not_looked(CONNECTION, at, error, _TOLD, {"crowded": error.code == EXHAUSTED})]
    return [
        _connection(at, seen, limits), _clients(seen), _idlers(seen, limits), locks_finding(seen, limits.lock), _replication(seen.replication)
    ]  # fmt: skip


def _connection(at: DatabaseAddress, seen: Activity, limits: Limits) -> Finding:
    hidden = sum(s.id is None for s in seen.sessions)
    text = (
        f"{at} answers in {seen.milliseconds:.0f} ms: {seen.used} of {seen.usable} connections in use "
        f"({percent(seen.share)}; max_connections {seen.max_connections})"
    )
    details = [f"PostgreSQL {seen.version}"]
    details += (
        [f"the database holds {memory(seen.size)}"] if seen.size is not None else ["its size may not be read"]
    )
    if hidden:
        details.append(f"{count(hidden, 'session')} may not be seen (grant the login pg_read_all_stats)")
    data: dict[str, JsonValue] = {
        "code": "", "crowded": seen.share >= limits.crowded, "used": seen.used, "usable": seen.usable,
        "share": seen.share,
    }  # fmt: skip
    return Finding(CONNECTION, text, data=data, details=tuple(details))


def _replication(seen: Replication | None) -> Finding:
    """Whether it follows another server, who follows it and how far behind, and the WAL that it keeps for slots."""
    if seen is None:
        return Finding(REPLICATION, "How it replicates may not be read", Certainty.UNKNOWN, {"held": []})
    told = []
    if seen.standby:
        late = "how far it is behind is not known" if seen.seconds is None else f"{span(seen.seconds)} behind"
        told.append(f"it is a standby, which takes no writes ({late})")
    if seen.standbys:
        number = len(seen.standbys)
        told.append(
            f"{number} {'standby follows' if number == 1 else 'standbys follow'} it, {_behind(seen.standbys[0])}"
        )
    held: list[JsonValue] = [
        f"the replication slot {s.name} holds {memory(s.held)} of WAL, and nobody reads it"
        for s in seen.slots
        if not s.active and s.held
    ]
    told += [
        *map(str, held[:_NAMED]),
        *([f"{len(held) - _NAMED} more such slots"] if len(held) > _NAMED else []),
    ]
    details = [f"{s.name}: {s.state}, {_behind(s)}" for s in seen.standbys[:_SHOWN]]
    details += [f"slot {s.name}: {_slot(s)}" for s in seen.slots[:_SHOWN]]
    words = joined(told)
    text = words[0].upper() + words[1:] if told else "No server follows it, and no replication slot holds WAL"
    return Finding(REPLICATION, text, data={"held": held}, details=tuple(details))


def _behind(standby: Standby) -> str:
    if standby.behind is None:
        return "how far behind is not known"
    seconds = "" if standby.seconds is None else f" and {span(standby.seconds)}"
    return f"{memory(standby.behind)}{seconds} behind"


def _slot(slot: Slot) -> str:
    if slot.lost:
        return "lost: its WAL is gone, and who reads it has to begin anew"
    held = "WAL of unknown size" if slot.held is None else f"{memory(slot.held)} of WAL"
    return f"{held}, {'read' if slot.active else 'read by nobody'}"


def _clients(seen: Activity) -> Finding:
    """By application, user, address, state and age, the most first."""
    groups = Counter(_group(seen, s) for s in seen.sessions if not _ours(s))
    rows = [f"{number} x {' · '.join(key)}" for key, number in groups.most_common(_SHOWN)]
    names = Counter((s.application or "no application name", s.user) for s in seen.sessions if not _ours(s))
    if not names:
        return Finding(CLIENTS, "Nobody is connected", data={"share": 0.0, "addresses": []})
    (name, user), most = names.most_common(1)[0]
    own = [s for s in seen.sessions if (s.application or "no application name", s.user) == (name, user)]
    share = most / max(seen.used, 1)
    addresses: list[JsonValue] = sorted({s.client for s in own if s.client})[:50]  # type: ignore[assignment]
    data: dict[str, JsonValue] = {"share": share, "client": name, "sessions": most, "addresses": addresses}
    text = f"{name} ({user}) has {most} of the {seen.used} connections ({percent(share)})"
    return Finding(CLIENTS, text, data=data, details=tuple(rows))


def _ours(session: Session) -> bool:
    return session.protected == "it is a session of this service"


def _group(seen: Activity, session: Session) -> tuple[str, ...]:
    age = (seen.now - session.state_since).total_seconds() if session.state_since else 0.0
    word = next(text for least, text in _AGES if age < least)
    return (
        session.application or "no application name", session.user or "no user", session.client or "no address",
        session.state or "unknown state", word,
    )  # fmt: skip


def _idlers(seen: Activity, limits: Limits) -> Finding:
    """Those that hold a transaction open for too long and may be ended, oldest first. Where connections are not short, only
    those that hold others up."""
    condition = Condition(Why.IDLE, limits.idle)
    idle = [s for s in seen.sessions if s.state in IDLE and s.database == seen.database]
    old = sorted(
        (s for s in idle if not condition.against(seen, s)), key=lambda s: (s.state_since or seen.now, s.pid)
    )
    crowded = seen.share >= limits.crowded
    holding = [s for s in old if seen.longest_wait(s) is not None]
    chosen = old if crowded else [s for s in holding if not in_vain(seen, s)]
    vain = "" if chosen or not holding else in_vain(seen, holding[0])
    able = [s for s in chosen if s.endable]
    reason = "connections are short" if crowded else "they hold others up" if chosen else ""
    sessions: list[JsonValue] = [list(s.id.to_json()) for s in able[: limits.most] if s.id]
    denied: list[JsonValue] = sorted({s.user for s in chosen if not s.endable})  # type: ignore[assignment]
    data: dict[str, JsonValue] = {
        "sessions": sessions, "denied": denied, "reason": reason, "old": len(old), "able": len(able), "vain": vain,
        "due": _due(seen, idle, condition, crowded=crowded),
    }  # fmt: skip
    least = span(limits.idle)
    if not old:
        return Finding(IDLERS, _no_old(seen, idle, limits.idle), data=data)
    first = old[0].idle_for(seen.now) or timedelta()
    text = (
        f"{count(len(old), 'session')} idle in a transaction for {least} or longer, "
        f"the oldest for {span(first.total_seconds())}: {old[0].who}"
    )
    return Finding(IDLERS, text, data=data, details=tuple(_rows(seen, old)))


def _due(seen: Activity, idle: Sequence[Session], condition: Condition, *, crowded: bool) -> float | None:
    """In how many seconds the first of them may be ended; None where no time brings that about."""
    wanted = [
        s
        for s in idle
        if s.endable and (crowded or (seen.longest_wait(s) is not None and not in_vain(seen, s)))
    ]
    return min((due for s in wanted if (due := condition.due(seen, s)) is not None), default=None)


def _no_old(seen: Activity, idle: Sequence[Session], least: float) -> str:
    """That none may be ended for it, with those that are never ended and those of other databases: they may be old."""
    old = [s for s in idle if (idle_for := s.idle_for(seen.now)) and idle_for.total_seconds() >= least]
    less = [idle_for for s in idle if s not in old and (idle_for := s.idle_for(seen.now)) is not None]
    longest = f", the longest for {span(max(less).total_seconds())}" if less else ""
    number = f"{len(idle) - len(old)} for less{longest}"
    text = f"No session is idle in a transaction for {span(least)} or longer ({number})"
    if old:
        text = f"{count(len(old), 'session')} idle in a transaction for {span(least)} or longer and never ended: {old[0].protected}"
    elsewhere = sum(s.state in IDLE and s.database != seen.database for s in seen.sessions)
    return joined(
        [text, f"{count(elsewhere, 'session')} of other databases idle in one" if elsewhere else ""]
    )


def _rows(seen: Activity, sessions: Sequence[Session]) -> Iterator[str]:
    for session in sessions[:_SHOWN]:
        idle = session.idle_for(seen.now) or timedelta()
        yield f"pid {session.pid} {session.who}: {span(idle.total_seconds())}; last {session.query or 'no statement'}"
