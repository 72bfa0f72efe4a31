"""The gates over a replay, cheaply: the same words as `decide`, without texts.

Whatever does not depend on history is asked of the live gates once for each rule, namespace and kind (in calm and in a storm);
the rest is compared here in numbers. A property test holds both against each other, gate by gate. Called by
`app.policy.backtest`; never used by the running service. Pure.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import takewhile
from typing import NamedTuple

from app.domain.decision import Code, Mode, Verdict
from app.domain.outcome import RunState
from app.domain.plan import Step
from app.policy.assumed import GATE_NAMES, Ground, assumed_facts
from app.policy.backtest_records import instant, micros
from app.policy.budgets import BudgetScope, Origin, scopes_for
from app.policy.facts import Facts, Past, Spend
from app.policy.gates import GATES, Case
from app.policy.gates.flapping import DID_NOT_HELP
from app.policy.gates.window import window as window_gate
from app.policy.model import Rule
from app.policy.trust import LEVELS, TrustLevel

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
_STORM_MOVES = tuple(GATE_NAMES.index(name) for name in ("ownership", "storm", "trust", "approval"))
_LASTING = (
    *(GATE_NAMES.index(name) for name in ("kill switch", "scope", "blocking alerts", "blast radius")),
    *_STORM_MOVES,
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


class Lasting(NamedTuple):
    """What history does not move at one level: the words in calm and in a storm, what a question of flapping is then, and
    the decision as long as history has nothing against it."""

    calm: tuple[Word, ...]
    stormy: tuple[Word, ...]
    question: tuple[Word, Word]
    quiet: tuple[Quick, Quick]


@dataclass(frozen=True, slots=True)
class Shape:
    """What a rule is like on every target of one kind in one namespace; for a rule with mode earned at each level. Spans
    are microseconds; `rooms` are those that are not a single target's."""

    rule: Rule
    lasting: dict[Mode, Lasting]
    make_step: Callable[[Ground], Step]
    freshness: int
    cooldown: int
    in_flight: int
    not_fixed: int
    fixed: int
    flapping: int
    storm: int
    rooms: dict[BudgetScope, Room]

    @property
    def earned(self) -> bool:
        """Its trust level decides."""
        return self.rule.mode is Mode.EARNED


@dataclass(frozen=True, slots=True)
class Prepared:
    """Everything about a rule on a target that stays the same over a replay. `past` is the key of its runs there."""

    ground: Ground
    shape: Shape
    rooms: tuple[Room, ...]
    keys: tuple[str, ...]
    target: str
    past: tuple[str, str]

    @property
    def step(self) -> Step:
        """The step that is assumed; made anew each time, as only explanations and tests ask for it."""
        return self.shape.make_step(self.ground)

    @property
    def earned(self) -> bool:
        """Its trust level decides."""
        return self.shape.earned


class Measured(NamedTuple):
    """The facts of one moment that history makes. `spend` is (count, oldest) for each room; `results` newest first; `level`
    is that of the trust level, where the rule goes by it."""

    now: int
    firing: bool
    last_seen: int
    spend: tuple[tuple[int, int | None], ...]
    last_action: int | None
    busy: bool
    in_flight: int
    results: tuple[tuple[RunState, int], ...]
    storm_targets: int
    level: Mode = Mode.OBSERVE


def prepare(ground: Ground, step: Step) -> Prepared:
    """Ask the live gates what does not depend on history, for this target alone."""
    return place(shape_of(ground, lambda _: step), ground)


def shape_of(ground: Ground, make_step: Callable[[Ground], Step]) -> Shape:
    """Ask the live gates what does not depend on history. They look at a target's namespace and kind only, as nobody pauses
    a single target in a replay; the tests hold each decision of a replay against the live gates."""
    rule = ground.rule
    step = make_step(ground)
    levels = LEVELS if rule.mode is Mode.EARNED else (Mode.OBSERVE,)
    return Shape(
        rule=rule,
        lasting={level: _at_level(ground, step, level) for level in levels},
        make_step=make_step,
        freshness=rule.freshness // _US,
        cooldown=rule.cooldown // _US,
        in_flight=rule.blast_radius.targets_in_flight,
        not_fixed=rule.flapping.not_fixed,
        fixed=rule.flapping.fixed,
        flapping=rule.flapping.within // _US,
        storm=ground.policy.storm.targets,
        rooms={},
    )


def place(shape: Shape, ground: Ground) -> Prepared:
    """The rule on one target: its limits, those of several targets shared with the other targets."""
    target, rooms = ground.target.key, []
    names: dict[str, str] = {}  # equal keys are one text
    for scope in scopes_for(ground.policy, ground.rule, ground.target):
        room = shape.rooms.get(scope)
        if room is None:
            key = names.setdefault(scope.key, scope.key)
            own = scope.origin is Origin.RULE
            room = Room(key, scope.limit.count, scope.limit.window // _US, own)
            if not key.endswith(target):
                shape.rooms[scope] = room
        rooms.append(room)
    keys = tuple(dict.fromkeys(room.key for room in rooms))
    return Prepared(ground, shape, tuple(rooms), keys, target, (target, ground.rule.remediation))


def _at_level(ground: Ground, step: Step, level: Mode) -> Lasting:
    policy, rule = ground.policy, ground.rule
    facts = replace(assumed_facts(ground, instant(0)), trust_level=TrustLevel(level, instant(0)))
    calm = Case(policy, rule, step, replace(facts, storm_targets=0))
    stormy = Case(policy, rule, step, replace(facts, storm_targets=policy.storm.targets))
    words = _words(calm)
    storm_words = _words(stormy, words)
    questions = (word(calm.question, Code.FLAPPING), word(stormy.question, Code.FLAPPING))
    return Lasting(words, storm_words, questions, (_decide(words, {}), _decide(storm_words, {})))


def _words(case: Case, calm: tuple[Word, ...] = ()) -> tuple[Word, ...]:
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
            gate = window_gate(Case(policy, p.ground.rule, p.step, facts))
            retry = micros(gate.retry_at) if gate.retry_at else None
            self._minute, self._answer = minute, (word(gate.verdict, gate.code), retry)
        return self._answer


def judge_quickly(p: Prepared, m: Measured, hours: Hours) -> Quick:
    """The words of all gates and the one that decides."""
    shape = p.shape
    storming = m.storm_targets >= shape.storm
    lasting = shape.lasting[m.level if shape.earned else Mode.OBSERVE]
    moved: dict[int, tuple[Word, int | None]] = {}
    if not m.firing:
        moved[_FRESHNESS] = _DENIED[Code.NOT_FIRING], None
    elif m.now - m.last_seen > shape.freshness:
        moved[_FRESHNESS] = _DENIED[Code.STALE], None
    hour = hours.at(p, m.now)
    if hour[0].rank:
        moved[_WINDOW] = hour
    if m.last_action is not None and m.now < m.last_action + shape.cooldown:
        moved[_COOLDOWN] = _DENIED[Code.COOLING_DOWN], m.last_action + shape.cooldown
    _spending(p, m, moved)
    if m.in_flight >= shape.in_flight:
        moved[_BLAST] = _DENIED[Code.BLAST_RADIUS], None
    if m.busy:
        moved[_BUSY] = _DENIED[Code.TARGET_BUSY], None
    if m.results and _flaps(shape, m):
        moved[_FLAPPING] = lasting.question[storming], None
    if not moved:
        return lasting.quiet[storming]
    return _decide(lasting.stormy if storming else lasting.calm, moved)


def _decide(lasting: tuple[Word, ...], moved: dict[int, tuple[Word, int | None]]) -> Quick:
    """The first of the strongest words decides; it may change by itself when all of the strongest may."""
    words = list(lasting)
    for at, (said, _) in moved.items():
        words[at] = said
    rank = max([said.rank for said in words])
    if not rank:
        return Quick(Verdict.ALLOW, Code.ALLOWED, "", None, tuple(words))
    strongest = [at for at, said in enumerate(words) if said.rank == rank]
    retry = 0
    for at in strongest:
        until = moved[at][1] if at in moved else None
        if until is None:
            retry = -1
            break
        retry = max(retry, until)
    first = words[strongest[0]]
    end = None if retry < 0 else retry
    return Quick(first.verdict, first.code, GATE_NAMES[strongest[0]], end, tuple(words))


def _spending(p: Prepared, m: Measured, moved: dict[int, tuple[Word, int | None]]) -> None:
    """The limits that are used up, and when the last of each kind has room again (None: one never has)."""
    for room, (count, oldest) in zip(p.rooms, m.spend, strict=True):
        if count < room.most:
            continue
        gate, code = (_RATE, Code.RATE_LIMITED) if room.own else (_BUDGET, Code.BUDGET_SPENT)
        ends = None if oldest is None or not room.most else oldest + room.window
        before = moved.get(gate)
        if before is not None:
            ends = None if ends is None or before[1] is None else max(ends, before[1])
        moved[gate] = _DENIED[code], ends


def _flaps(shape: Shape, m: Measured) -> bool:
    since = m.now - shape.flapping
    tried = [
        state for state, at in m.results if at > since and (state is RunState.FIXED or state in DID_NOT_HELP)
    ]
    failures = len(list(takewhile(lambda state: state in DID_NOT_HELP, tried)))
    return failures >= shape.not_fixed or tried.count(RunState.FIXED) >= shape.fixed


def facts_of(p: Prepared, m: Measured) -> Facts:
    """The same facts as the live gates take them: for explanations, and for the proof that both say the same."""
    scopes = scopes_for(p.ground.policy, p.ground.rule, p.ground.target)
    spend = {
        scope: Spend(count, None if oldest is None else instant(oldest))
        for scope, (count, oldest) in zip(scopes, m.spend, strict=True)
    }
    return replace(
        assumed_facts(p.ground, instant(m.now)),
        trust_level=TrustLevel(m.level, instant(m.now)) if p.earned else None,
        firing=m.firing,
        last_seen=instant(m.last_seen),
        spend=spend,
        last_action=None if m.last_action is None else instant(m.last_action),
        busy_with="an earlier run" if m.busy else "",
        targets_in_flight=m.in_flight,
        results=tuple(Past(state, instant(at)) for state, at in m.results),
        storm_targets=m.storm_targets,
    )
