"""Backtest: recorded alerts through a policy as it would have decided them, with everything that follows simulated.

The rules, targets and gates are the live ones; what nobody recorded is assumed and said so: the cluster, that a run takes
a fixed time and then fixed it (or not), that nobody answers questions (or somebody at once). Called by `policy backtest`.
Pure and streaming. Instants and spans are microseconds since 1970, UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from heapq import heappop, heappush
from itertools import islice
from typing import NamedTuple

from app.domain.decision import Decision, Verdict, strongest
from app.domain.outcome import RunState
from app.policy.consistency import Handler
from app.policy.decide import decide_briefly
from app.policy.model import Policy
from app.policytools.backtest_history import History, Incident, Key, Prepared, Run
from app.policytools.backtest_known import Assumptions, Known, Lookup, Said
from app.policytools.backtest_records import Heard, micros

_US = timedelta(microseconds=1)
_WOKEN = 20  # refused incidents that have their turn when a run ends, as in the service
_SWEEP = 20_000  # records between two rounds of forgetting
_WORDS = {
    Verdict.ALLOW: "acted",
    Verdict.ASK: "asked",
    Verdict.OBSERVE: "observed",
    Verdict.DENY: "blocked",
}
_IDLE = timedelta(hours=24) // _US  # an incident of which nothing was heard for so long is over


class Acted(NamedTuple):
    """An automatic action or a question at some moment, also one that came later than its record."""

    at: int
    what: str
    alertname: str
    said: Said


@dataclass(slots=True)
class Replay:
    """One policy over one stream of records, oldest first. The caller empties `acted` after each record."""

    policy: Policy
    catalogue: Mapping[str, Handler]
    assumed: Assumptions
    acted: list[Acted] = field(default_factory=list)
    late: int = 0
    now: int = 0
    _incidents: dict[Key, Incident] = field(default_factory=dict)
    _episodes: dict[object, Incident] = field(default_factory=dict)
    _resting: dict[int, Incident] = field(default_factory=dict)
    _queue: list[tuple[int, int, Run | Incident]] = field(default_factory=list)
    _lookup: Lookup = field(init=False)
    _past: History = field(init=False)
    _records: int = 0
    _number: int = 0
    _next_sweep: int = _SWEEP

    def __post_init__(self) -> None:
        """An empty history before the first record."""
        self._lookup = Lookup(self.policy, self.catalogue, self.assumed)
        looks_back = _looks_back(self.policy) // _US
        self._past = History(self.policy.storm.within // _US, looks_back, self.assumed.level)

    def hear(self, record: Heard) -> Said:
        """What becomes of this record. What acted or asked meanwhile, this record included, is added to `acted`."""
        if record.at < self.now:
            self.late += 1
        self.now = max(self.now, record.at)
        self._advance()
        self._records += 1
        if self._records >= self._next_sweep:
            self._forget()
        if not record.firing:
            return self._resolved(record)
        known = self._lookup.at(record.labels)
        key = known.key or (known.name, *sorted(record.labels.items()))
        incident = self._incidents.get(key)
        if incident is not None and incident.fixed_at >= record.starts:
            incident.heard = self.now
            return Said("fixed", "", "", known.rule, known.target)
        if incident is None or incident.closed or (incident.run is None and not incident.fires(self.now)):
            incident = self._open(key, known)
        self._note(incident, record)
        if known.said is not None:
            return known.said
        if incident.run is not None:
            return Said("joined", "", "", known.rule, known.target)
        if incident.with_person:
            return Said("person", "", "", known.rule, known.target)
        return self._decide(incident)

    def judge(self, prepared: Prepared, incident: Incident) -> Decision:
        """The live decision at this moment."""
        ground, facts = prepared.ground, self._past.measure(prepared, incident, self.now)
        return decide_briefly(ground.policy, ground.rule, prepared.step, facts)

    def _open(self, key: Key, known: Known) -> Incident:
        before = self._incidents.get(key)
        if before is not None:
            self._drop(before)
        incident = self._incidents[key] = Incident(key, known.prepared, self.now)
        self._past.open(known.name if known.key else key, self.now)
        return incident

    def _note(self, incident: Incident, record: Heard) -> None:
        incident.heard = self.now
        if record.ends is not None:
            incident.until = max(incident.until, record.ends)
            return
        episode = record.episode or (record.starts, *sorted(record.labels.items()))
        incident.unended.add(episode)
        self._episodes[episode] = incident

    def _resolved(self, record: Heard) -> Said:
        episode = record.episode or (record.starts, *sorted(record.labels.items()))
        incident = self._episodes.pop(episode, None)
        if incident is not None:
            incident.unended.discard(episode)
            if not incident.fires(self.now):
                self._over(incident)
        return Said("resolved", "", "", "", "")

    def _over(self, incident: Incident) -> None:
        """The alert is gone by itself: a question about it is void, a run goes on to its end."""
        run = incident.run
        if run is not None and not run.asks:
            return
        incident.closed = True
        self._resting.pop(id(incident), None)
        if run is not None:
            self._end(run, RunState.ABANDONED)

    def _decide(self, incident: Incident) -> Said:
        p = incident.prepared
        if p is None:
            raise AssertionError("only what has a rule and a target is decided")
        decision = self.judge(p, incident)
        what, decisive = _WORDS[decision.verdict], strongest(decision.gates)
        said = Said(what, decision.code, decisive.gate if decisive else "", decision.rule, p.target)
        if what in ("acted", "asked"):
            self._resting.pop(id(incident), None)
            self.acted.append(Acted(self.now, what, str(incident.key[0]), said))
            self._start(p, incident, asks=what == "asked")
            return said
        if what == "blocked":
            self._resting.setdefault(id(incident), incident)
        else:
            self._resting.pop(id(incident), None)
        due = -1 if decision.retry_at is None else max(micros(decision.retry_at), self.now + 1)
        if due >= 0 and due != incident.due:
            self._push(due, incident)
        incident.due = due
        return said

    def _start(self, p: Prepared, incident: Incident, *, asks: bool) -> None:
        asks = asks and self.assumed.approvals == "nobody"
        run = self._past.start(p, incident, self.now, asks=asks)
        end = self.now + self.assumed.run // _US
        if asks:
            end = self.now + p.ground.rule.approval.expires // _US
            if not incident.unended:
                end = min(end, max(incident.until, self.now))
        self._push(end, run)

    def _push(self, at: int, what: Run | Incident) -> None:
        self._number += 1
        heappush(self._queue, (at, self._number, what))

    def _advance(self) -> None:
        """Everything that was due until now, in its order."""
        end = self.now
        while self._queue and self._queue[0][0] <= end:
            self.now, _, what = heappop(self._queue)
            if isinstance(what, Run):
                if not what.over:
                    self._run_over(what)
            elif what.due >= 0 and what.due <= self.now:
                what.due = -1
                self._again(what)
        self.now = end

    def _run_over(self, run: Run) -> None:
        incident = run.incident
        if run.asks:
            fires = incident.fires(self.now)
            incident.closed, incident.with_person = not fires, fires
            self._end(run, RunState.EXPIRED if fires else RunState.ABANDONED)
            return
        if self.assumed.fixed:
            incident.closed, incident.fixed_at = True, self.now
        else:
            incident.with_person = True
        self._end(run, RunState.FIXED if self.assumed.fixed else RunState.NOT_FIXED)

    def _end(self, run: Run, state: RunState) -> None:
        self._past.end(run, state, self.now)
        for incident in list(islice(self._resting.values(), _WOKEN)):
            self._again(incident)

    def _again(self, incident: Incident) -> None:
        """Look at an incident once more, without a new word about it."""
        if incident.closed or incident.run is not None or incident.with_person:
            return
        if not incident.fires(self.now):
            self._over(incident)
            return
        self._decide(incident)

    def _forget(self) -> None:
        self._past.forget(self.now)
        since = self.now - _IDLE
        idle = [i for i in self._incidents.values() if i.heard < since and i.until < since and i.run is None]
        for incident in idle:
            self._drop(incident)
            del self._incidents[incident.key]
        self._next_sweep = self._records + max(_SWEEP, len(self._incidents))

    def _drop(self, incident: Incident) -> None:
        """Nothing follows from it any more."""
        incident.closed = True
        self._resting.pop(id(incident), None)
        for episode in incident.unended:
            self._episodes.pop(episode, None)


def _looks_back(policy: Policy) -> timedelta:
    """How far back a gate may look."""
    spans = [limit.window for budget in policy.budgets for limit in budget.limit.each]
    for rule in policy.rules:
        own = (rule.limits.per_target, rule.limits.in_all)
        spans += [limit.window for limits in own if limits for limit in limits.each]
        spans += [rule.cooldown, rule.flapping.within]
    return max(spans, default=timedelta())
