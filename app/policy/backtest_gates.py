"""The gates over a replay, cheaply: the same words as `decide`, without texts.

Whatever does not depend on history is asked of the live gates once for each rule and target (in calm and in a storm);
the rest is compared here in numbers. A property test holds both against each other, gate by gate. Called by
`app.policy.backtest`; never used by the running service. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import takewhile
from typing import NamedTuple

from app.domain.decision import Code, Verdict
from app.domain.outcome import RunState
from app.domain.plan import Rung
from app.policy.assumed import GATE_NAMES, Ground, assumed_facts
from app.policy.backtest_records import instant, micros
from app.policy.budgets import Origin, scopes_for
from app.policy.facts import Facts, Past, Spend
from app.policy.gates import GATES, Case
from app.policy.gates.flapping import DID_NOT_HELP
from app.policy.gates.window import window as window_gate

_RANK = {Verdict.DENY: 3, Verdict.ASK: 2, Verdict.OBSERVE: 1, Verdict.ALLOW: 0}
_US = timedelta(microseconds=1)
_MINUTE = 60_000_000
(_FRESHNESS, _WINDOW, _COOLDOWN, _RATE, _BUDGET, _BLAST, _BUSY, _FLAPPING) = (
    GATE_NAMES.index(name)
    for name in (
        "freshness",
        "window",
        "cooldown",
        "rate limit",
        "budget",
        "blast radius",
        "target busy",
        "flapping",
    )
)


class Word(NamedTuple):
    """A gate's answer without its text."""

    rank: int
    verdict: Verdict
    code: Code


def word(verdict: Verdict, code: Code) -> Word:
    """The word with its strength."""
    return Word(_RANK[verdict], verdict, code)


_ALLOWED = word(Verdict.ALLOW, Code.ALLOWED)
_DENIED = {code: word(Verdict.DENY, code) for code in Code}
_OPEN = (_ALLOWED,) * len(GATE_NAMES)
_STORM_MOVES = tuple(GATE_NAMES.index(name) for name in ("ownership", "storm", "approval"))
_LASTING = tuple(
    GATE_NAMES.index(name)
    for name in ("kill switch", "scope", "ownership", "blocking alerts", "blast radius", "storm", "approval")
)


class Quick(NamedTuple):
    """A decision without its texts. `gate` is the one that decided, empty when all allow; `retry_at` as in `Decision`."""

    verdict: Verdict
    code: Code
    gate: str
    retry_at: int | None
    words: tuple[Word, ...]


class Room(NamedTuple):
    """One limit: its ledger key, how many in how many microseconds, and whether it is the rule's own."""

    key: str
    most: int
    window: int
    own: bool


@dataclass(frozen=True, slots=True)
class Prepared:
    """Everything about a rule on a target that stays the same over a replay. Spans are microseconds."""

    ground: Ground
    rung: Rung
    calm: tuple[Word, ...]
    stormy: tuple[Word, ...]
    rooms: tuple[Room, ...]
    keys: tuple[str, ...]
    freshness: int
    cooldown: int
    in_flight: int
    not_fixed: int
    fixed: int
    flapping: int
    storm: int
    question: tuple[Word, Word]


class Measured(NamedTuple):
    """The facts of one moment that history makes. `spend` is (count, oldest) for each room; `results` newest first."""

    now: int
    firing: bool
    last_seen: int
    spend: tuple[tuple[int, int | None], ...]
    last_action: int | None
    busy: bool
    in_flight: int
    results: tuple[tuple[RunState, int], ...]
    storm_targets: int


def prepare(ground: Ground, rung: Rung) -> Prepared:
    """Ask the live gates what does not depend on history."""
    policy, rule = ground.policy, ground.rule
    facts = assumed_facts(ground, instant(0))
    calm = Case(policy, rule, rung, replace(facts, storm_targets=0))
    stormy = Case(policy, rule, rung, replace(facts, storm_targets=policy.storm.targets))
    scopes = scopes_for(policy, rule, ground.target)
    words = _lasting(calm)
    rooms = tuple(Room(s.key, s.limit.count, s.limit.window // _US, s.origin is Origin.RULE) for s in scopes)
    return Prepared(
        ground=ground,
        rung=rung,
        calm=words,
        stormy=_lasting(stormy, words),
        rooms=rooms,
        keys=tuple(dict.fromkeys(room.key for room in rooms)),
        freshness=rule.freshness // _US,
        cooldown=rule.cooldown // _US,
        in_flight=rule.blast_radius.targets_in_flight,
        not_fixed=rule.flapping.not_fixed,
        fixed=rule.flapping.fixed,
        flapping=rule.flapping.within // _US,
        storm=policy.storm.targets,
        question=(word(calm.question, Code.FLAPPING), word(stormy.question, Code.FLAPPING)),
    )


def _lasting(case: Case, calm: tuple[Word, ...] = ()) -> tuple[Word, ...]:
    """The words of the gates that history does not move; the others allow until they are measured. With the words of a
    calm time only those are asked again that a storm moves."""
    words = list(calm or _OPEN)
    for at in _STORM_MOVES if calm else _LASTING:
        result = GATES[at](case)
        words[at] = word(result.verdict, result.code)
    return tuple(words)


class Hours:
    """The window gate of one policy, asked once a minute: a wall clock's windows change at full minutes only."""

    def __init__(self) -> None:
        self._minute = -1
        self._answer: tuple[Word, int | None] = (_ALLOWED, None)

    def at(self, p: Prepared, now: int) -> tuple[Word, int | None]:
        """The word, and when it changes by itself."""
        policy = p.ground.policy
        if not policy.windows and not policy.freeze:
            return self._answer
        minute = now // _MINUTE
        if minute != self._minute:
            facts = assumed_facts(p.ground, instant(minute * _MINUTE))
            gate = window_gate(Case(policy, p.ground.rule, p.rung, facts))
            retry = micros(gate.retry_at) if gate.retry_at else None
            self._minute, self._answer = minute, (word(gate.verdict, gate.code), retry)
        return self._answer


def judge_quickly(p: Prepared, m: Measured, hours: Hours) -> Quick:
    """The words of all gates and the one that decides."""
    storming = m.storm_targets >= p.storm
    words = list(p.stormy if storming else p.calm)
    retries: dict[int, int | None] = {}
    words[_FRESHNESS] = _freshness(p, m)
    words[_WINDOW], retries[_WINDOW] = hours.at(p, m.now)
    if m.last_action is not None and m.now < m.last_action + p.cooldown:
        words[_COOLDOWN], retries[_COOLDOWN] = _DENIED[Code.COOLING_DOWN], m.last_action + p.cooldown
    for gate, own, code in ((_RATE, True, Code.RATE_LIMITED), (_BUDGET, False, Code.BUDGET_SPENT)):
        full, retry = _full(p, m, own=own)
        words[gate] = _DENIED[code] if full else _ALLOWED
        retries[gate] = retry
    if m.in_flight >= p.in_flight:
        words[_BLAST] = _DENIED[Code.BLAST_RADIUS]
    if m.busy:
        words[_BUSY] = _DENIED[Code.TARGET_BUSY]
    if _flaps(p, m):
        words[_FLAPPING] = p.question[storming]
    best = max(words)
    if not best.rank:
        return Quick(Verdict.ALLOW, Code.ALLOWED, "", None, tuple(words))
    deciding = next(at for at, w in enumerate(words) if w.rank == best.rank)
    times = [retries.get(at) for at, w in enumerate(words) if w.rank == best.rank]
    known = [t for t in times if t is not None]
    retry = max(known) if len(known) == len(times) else None
    return Quick(words[deciding].verdict, words[deciding].code, GATE_NAMES[deciding], retry, tuple(words))


def _freshness(p: Prepared, m: Measured) -> Word:
    if not m.firing:
        return _DENIED[Code.NOT_FIRING]
    return _DENIED[Code.STALE] if m.now - m.last_seen > p.freshness else _ALLOWED


def _full(p: Prepared, m: Measured, *, own: bool) -> tuple[bool, int | None]:
    """Is a limit used up, and when has the last of those room again?"""
    full, ends, never = False, 0, False
    for room, (count, oldest) in zip(p.rooms, m.spend, strict=True):
        if room.own is own and count >= room.most:
            full = True
            if oldest is None or not room.most:
                never = True
            else:
                ends = max(ends, oldest + room.window)
    return full, (ends if full and not never else None)


def _flaps(p: Prepared, m: Measured) -> bool:
    if not m.results:
        return False
    since = m.now - p.flapping
    tried = [
        state for state, at in m.results if at > since and (state is RunState.FIXED or state in DID_NOT_HELP)
    ]
    failures = len(list(takewhile(lambda state: state in DID_NOT_HELP, tried)))
    return failures >= p.not_fixed or tried.count(RunState.FIXED) >= p.fixed


def facts_of(p: Prepared, m: Measured) -> Facts:
    """The same facts as the live gates take them: for explanations, and for the proof that both say the same."""
    scopes = scopes_for(p.ground.policy, p.ground.rule, p.ground.target)
    spend = {
        scope: Spend(count, None if oldest is None else instant(oldest))
        for scope, (count, oldest) in zip(scopes, m.spend, strict=True)
    }
    return replace(
        assumed_facts(p.ground, instant(m.now)),
        firing=m.firing,
        last_seen=instant(m.last_seen),
        spend=spend,
        last_action=None if m.last_action is None else instant(m.last_action),
        busy_with="an earlier run" if m.busy else "",
        targets_in_flight=m.in_flight,
        results=tuple(Past(state, instant(at)) for state, at in m.results),
        storm_targets=m.storm_targets,
    )
