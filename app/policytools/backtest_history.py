"""A replay's history: incidents, runs, spent budgets and storms, on the recorded alerts' own time.

It moves as the service's store does: a decision reserves under every key at once, a run holds its target, and a question
that nobody answers reserves nothing. Called by `app.policytools.backtest`. Pure; forgets what no gate can ask for any
more, so that memory does not grow with the number of alerts. Instants and spans are microseconds.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, deque
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeAlias

from app.domain.decision import Mode
from app.domain.outcome import RunState
from app.domain.plan import Step
from app.policy.facts import Facts, Past, Spend
from app.policy.match import BudgetScope, scopes_for
from app.policy.trust import Evidence, TrustLevel, count, fresh, key_of
from app.policytools.assumed import Ground
from app.policytools.backtest_records import instant, micros

Key: TypeAlias = "tuple[object, ...]"
_RESULTS = 20
_TRIM = 64
_NOTHING = Spend(0)
_US = timedelta(microseconds=1)
_EVIDENCE = {RunState.FIXED: Evidence.FIXED, RunState.NOT_FIXED: Evidence.NOT_FIXED}


@dataclass(frozen=True, slots=True)
class Prepared:
    """What stays the same about a rule on a target over a replay: the assumed step, the facts of a quiet moment (also of
    another target under the same rule), and the key of its runs there (`past`)."""

    ground: Ground
    step: Step
    quiet: Facts
    target: str
    past: tuple[str, str]

    @property
    def scopes(self) -> tuple[BudgetScope, ...]:
        """The limits that hold for it."""
        return scopes_for(self.ground.policy, self.ground.rule, self.ground.target)

    @property
    def keys(self) -> tuple[str, ...]:
        """What its actions are counted under."""
        return tuple(dict.fromkeys(scope.key for scope in self.scopes))


@dataclass(slots=True, eq=False)
class Run:
    """One run. `asks`: it waits for a person and touches nothing yet."""

    incident: Incident
    at: int
    prepared: Prepared
    asks: bool
    over: bool = False


@dataclass(slots=True, eq=False)
class Incident:
    """Alerts of one name on one target. `until` is the latest recorded end of its firings, `unended` those without one."""

    key: Key
    prepared: Prepared | None
    heard: int
    until: int = 0
    unended: set[object] = field(default_factory=set)
    run: Run | None = None
    closed: bool = False
    fixed_at: int = -1
    with_person: bool = False
    due: int = -1

    def fires(self, now: int) -> bool:
        """True while one of its firings has not ended, as far as was heard."""
        return now < self.until or bool(self.unended)


class History:
    """What the gates ask of the past."""

    def __init__(self, storm_within: int, longest: int, level: Mode | None = None) -> None:
        """`level` is where every trust level begins; None: where its rule says."""
        self.live: dict[str, Run] = {}
        self._level = level
        self._trust_levels: dict[str, TrustLevel] = {}
        self._storm_within = storm_within
        self._longest = longest
        self._spent: dict[str, list[int]] = {}
        self._ended: dict[tuple[str, str], int] = {}
        self._results: dict[tuple[str, str], deque[Past]] = {}
        self._opened: deque[tuple[int, object]] = deque()
        self._names: Counter[object] = Counter()

    def open(self, name: object, now: int) -> None:
        """An incident opened: its target is in trouble now."""
        self._opened.append((now, name))
        self._names[name] += 1

    def measure(self, p: Prepared, incident: Incident, now: int) -> Facts:
        """The facts of this moment, as the live gates take them."""
        quiet, run, at = p.quiet, self.live.get(p.target), instant(now)
        last = self._ended.get(p.past)
        if run is not None and run.prepared.past[1] == p.past[1]:
            last = run.at if last is None else max(last, run.at)
        return Facts(  # written out: `replace` takes five times as long, and a replay asks a million times
            now=at,
            target=p.ground.target,
            firing=incident.fires(now) or incident.heard == now,
            last_seen=at if now < incident.until else instant(incident.heard),
            marks=quiet.marks,
            managers=quiet.managers,
            rollout_paused=quiet.rollout_paused,
            replicas=quiet.replicas,
            spend=_Spending(self, p, now),
            last_action=None if last is None else instant(last),
            busy_with="an earlier run" if run is not None else "",
            targets_in_flight=len(self.live) - (run is not None),
            results=tuple(self._results.get(p.past, ())),
            storm_targets=self._storm(now),
            blocking=quiet.blocking,
            new_pods=quiet.new_pods,
            owners=quiet.owners,
            trust_level=None if quiet.trust_level is None else self._trust_level(p, incident, now),
        )

    def _trust_level(self, p: Prepared, incident: Incident, now: int) -> TrustLevel:
        found = self._trust_levels.get(_name(p, incident))
        if found is not None:
            return found
        begins = instant(now)
        return TrustLevel(self._level, begins) if self._level else fresh(p.ground.rule.trust, begins)

    def start(self, p: Prepared, incident: Incident, now: int, *, asks: bool) -> Run:
        """A run is requested: it holds its target, and reserves unless it only asks."""
        run = Run(incident, now, p, asks)
        incident.run = self.live[p.target] = run
        for key in () if asks else p.keys:
            self._spent.setdefault(key, []).append(now)
        return run

    def end(self, run: Run, state: RunState, now: int) -> None:
        """The run is over; one that never acted gives back what it reserved."""
        run.over, run.incident.run = True, None
        p = run.prepared
        del self.live[p.target]
        name = p.past
        self._results.setdefault(name, deque(maxlen=_RESULTS)).appendleft(Past(state, instant(now)))
        self._count(run.incident, state, now)
        if state in (RunState.EXPIRED, RunState.ABANDONED):
            for key in () if run.asks else p.keys:
                self._spent[key].remove(run.at)
        else:
            self._ended[name] = now

    def _count(self, incident: Incident, state: RunState, now: int) -> None:
        """The run's result in the trust level of its alert, as the service counts it."""
        p, evidence = incident.prepared, _EVIDENCE.get(state)
        if p is None or p.quiet.trust_level is None or evidence is None:
            return
        before = self._trust_level(p, incident, now)
        after, _ = count(before, evidence, p.ground.rule.trust, instant(now), "a run")
        self._trust_levels[_name(p, incident)] = after

    def forget(self, now: int) -> None:
        """Drop what lies further back than any gate looks."""
        since = now - self._longest
        self._spent = {key: at for key, at in self._spent.items() if at and at[-1] >= since}
        self._ended = {name: at for name, at in self._ended.items() if at >= since}
        self._results = {name: past for name, past in self._results.items() if micros(past[0].at) >= since}

    def spent(self, scope: BudgetScope, now: int) -> Spend:
        """What was spent of this scope inside its window."""
        times, window = self._spent.get(scope.key), scope.limit.window // _US
        if not times or times[-1] < now - window:
            return _NOTHING
        first = bisect_left(times, now - window)
        if first > _TRIM and times[_TRIM] < now - self._longest:
            del times[: bisect_left(times, now - self._longest)]
            first = bisect_left(times, now - window)
        return Spend(len(times) - first, instant(times[first])) if first < len(times) else _NOTHING

    def _storm(self, now: int) -> int:
        since = now - self._storm_within
        while self._opened and self._opened[0][0] < since:
            _, name = self._opened.popleft()
            self._names[name] -= 1
            if not self._names[name]:
                del self._names[name]
        return len(self._names)


class _Spending(dict[BudgetScope, Spend]):
    """What was spent at one moment, counted when a gate asks for it: most decisions are settled before that."""

    def __init__(self, history: History, p: Prepared, now: int) -> None:
        super().__init__()
        self._history, self._p, self._now = history, p, now

    def __missing__(self, scope: BudgetScope) -> Spend:
        if not self._count():
            raise KeyError(scope)
        return self[scope]

    def __contains__(self, scope: object) -> bool:
        return super().__contains__(scope) or (self._count() and super().__contains__(scope))

    def _count(self) -> bool:
        """Count all; False when that was done before."""
        if self:
            return False
        self.update((s, self._history.spent(s, self._now)) for s in self._p.scopes)
        return True


def _name(p: Prepared, incident: Incident) -> str:
    rule = p.ground.rule
    return key_of(str(incident.key[0]), rule.remediation, rule.trust.per, p.ground.target)
