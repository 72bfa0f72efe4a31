"""Testing: a team's cases against its policy, through the same matching, gates and decision as the live service.

Called by `policy test`. Pure. Also tells which rules and gates the cases exercise.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from app.domain.decision import Decision, Mode, Verdict, strongest
from app.domain.errors import BadInput
from app.domain.json import JsonValue
from app.domain.outcome import RunState
from app.domain.units import counted
from app.policy.consistency import Handler
from app.policy.decide import GATE_NAMES
from app.policy.facts import Facts, Past, Pause, Spend, Unknown
from app.policy.match import BudgetScope, ledger_keys
from app.policy.matchers import When
from app.policy.model import Per, Policy
from app.policy.trust import TrustLevel
from app.policytools.assumed import FRESH, Ground, Judged, World, judge
from app.policytools.cases import (
    NONE,
    Expectation,
    HistoryFacts,
    PastRun,
    PauseFact,
    PolicyCase,
    TrustFact,
    WrittenCase,
    before,
)

_FACT_OF = {
    "alert": "firing",
    "paused": "rollout_paused",
    "busy": "busy_with",
    "in_flight": "targets_in_flight",
}
"""Names in a case that differ from the fact's."""


@dataclass(frozen=True, slots=True)
class CaseResult:
    """One case: what differs, empty when it holds; and what was decided on each of its alerts."""

    case: PolicyCase
    differences: tuple[str, ...]
    judged: tuple[Judged, ...]

    @property
    def ok(self) -> bool:
        """True when everything came out as expected."""
        return not self.differences


@dataclass(frozen=True, slots=True)
class Report:
    """All cases, and what they cover."""

    results: tuple[CaseResult, ...]
    rules: tuple[str, ...]
    covered: frozenset[str] = field(default=frozenset())
    closed: frozenset[str] = field(default=frozenset())

    @property
    def failed(self) -> int:
        """Cases that did not come out as expected."""
        return sum(not r.ok for r in self.results)

    @property
    def uncovered(self) -> tuple[str, ...]:
        """Rules that no case reaches, in the policy's order."""
        return tuple(r for r in self.rules if r not in self.covered)

    @property
    def never_closed(self) -> tuple[str, ...]:
        """Gates that stood open in every case."""
        return tuple(g for g in GATE_NAMES if g not in self.closed)

    def to_json(self) -> dict[str, JsonValue]:
        """For `policy test --json`."""
        return {
            "ok": not self.failed,
            "cases": [_result_json(r) for r in self.results],
            "failed": self.failed,
            "rules": {"covered": len(self.rules) - len(self.uncovered), "uncovered": list(self.uncovered)},
            "gates": {"closed": sorted(self.closed), "never_closed": list(self.never_closed)},
        }


def run_cases(policy: Policy, catalogue: Mapping[str, Handler], cases: Sequence[PolicyCase]) -> Report:
    """Run all cases. Raises BadInput, with its place, for a case that cannot be judged (a step or target that is none)."""
    results = tuple(_run(policy, catalogue, case) for case in cases)
    decisions = [judged.decision for result in results for judged in result.judged]
    gates = {g.gate for d in decisions for g in d.gates if g.verdict is not Verdict.ALLOW}
    covered = frozenset(d.rule for d in decisions if d.rule)
    started = tuple(r.name for r in policy.rules if r.when.lists)  # a case is about an alert
    return Report(results, started, covered, frozenset(gates))


def _run(policy: Policy, catalogue: Mapping[str, Handler], case: PolicyCase) -> CaseResult:
    written = case.written
    world = World(policy, catalogue, written.cluster, written.step)
    differences: list[str] = []
    judged = []
    for labels in case.alerts:
        try:
            one = judge(
                world, labels, written.time.now, lambda ground, facts: _situation(written, ground, facts)
            )
        except BadInput as error:
            raise BadInput(
                error.message, code=error.code, where=f"{case.file}:{case.line}: {error.where}"
            ) from error
        judged.append(one)
        prefix = f"{labels.get('alertname', 'alert')}: " if len(case.alerts) > 1 else ""
        differences += [prefix + text for text in _differences(written.expect, one)]
    return CaseResult(case, tuple(differences), tuple(judged))


def _situation(case: WrittenCase, ground: Ground, facts: Facts) -> Facts:
    """The case's facts over the assumed ones."""
    time, past, people, now = case.time, case.history, case.people, case.time.now
    heard = time.last_seen if time.last_seen is not None else time.fired
    facts = replace(
        facts,
        firing=not time.resolved,
        last_seen=now - FRESH if heard is None else before(now, heard),
        spend=_spend(past, ground, facts),
        last_action=None if past.last_action is None else before(now, past.last_action),
        results=tuple(_past(now, at, result) for at, result in enumerate(past.results)),
        busy_with=past.busy,
        targets_in_flight=past.in_flight,
        storm_targets=past.storm_targets,
        pauses=tuple(_pause(p if isinstance(p, PauseFact) else PauseFact(scope=p)) for p in past.pauses),
        blocking={str(w): _blockers(past, w) for w in ground.rule.blocked_by},
        ceiling=people.ceiling,
        ordered_by=people.ordered_by,
        order_may_approve=people.may_approve,
        scheduled=people.scheduled,
        approved_by=people.approved_by,
        dry_run=people.dry_run,
        trust_level=_trust_level(past, now) if past.trust_level and facts.trust_level else facts.trust_level,
    )
    unread = Unknown("the case says that it cannot be read")
    unreadable: dict[str, Any] = {_FACT_OF.get(name, name): unread for name in case.unknown}
    return replace(facts, **unreadable)


def _trust_level(past: HistoryFacts, now: datetime) -> TrustLevel:
    """The trust level as the case gives it; a level alone has no counted run."""
    told = (
        past.trust_level
        if isinstance(past.trust_level, TrustFact)
        else TrustFact(level=past.trust_level or Mode.OBSERVE)
    )
    runs = told.fixed if told.runs is None else told.runs
    return TrustLevel(told.level, before(now, told.since), told.fixed, runs, told.waits, "the case says so")


def _past(now: datetime, at: int, result: RunState | PastRun) -> Past:
    """A result without a time of its own ended half an hour before the next newer one."""
    if isinstance(result, PastRun):
        return Past(result.state, before(now, result.ago))
    return Past(result, now - timedelta(minutes=30) * (at + 1))


def _pause(pause: PauseFact) -> Pause:
    return Pause(pause.scope, pause.reason, pause.author, pause.until)


def _blockers(past: HistoryFacts, when: When) -> tuple[str, ...]:
    firing = [{"alertname": f} if isinstance(f, str) else f for f in past.firing]
    return tuple(sorted({f.get("alertname", "unnamed") for f in firing if when.matches(f)}))


def _spend(past: HistoryFacts, ground: Ground, facts: Facts) -> dict[BudgetScope, Spend]:
    words = (*Per, "own")
    keys = dict(zip(ledger_keys(ground.rule, ground.target), words, strict=True))
    spent = {}
    for scope in () if isinstance(facts.spend, Unknown) else facts.spend:
        ages = past.spend.get(keys[scope.key], 0)
        if isinstance(ages, int):
            spent[scope] = Spend(ages, facts.now - scope.limit.window / 2 if ages else None)
            continue
        inside = [facts.now - age for age in ages if age <= scope.limit.window]
        spent[scope] = Spend(len(inside), min(inside, default=None))
    return spent


def _differences(expect: Expectation, judged: Judged) -> list[str]:
    decision = judged.decision
    got = {
        "verdict": decision.verdict.value,
        "code": decision.code.value,
        "rule": decision.rule or NONE,
        "target": judged.target or NONE,
        "step": decision.step or NONE,
    }
    wanted = expect.model_dump(mode="json", exclude={"gates"}, exclude_none=True)
    found = [f"{key}: expected {want}, got {got[key]}" for key, want in wanted.items() if want != got[key]]
    gates = {g.gate: g for g in decision.gates}
    for name, word in expect.gates.items():
        gate = gates.get(name)
        if gate is None:
            found.append(f"gate {name}: expected {word}, but no gate was asked")
        elif word not in (gate.verdict.value, gate.code.value):
            found.append(f"gate {name}: expected {word}, got {gate.verdict} ({gate.code}: {gate.value})")
    return [*found, f"because: {decision_reason(decision)}"] if found else []


def decision_reason(decision: Decision) -> str:
    """The gate that decided, with what it measured; without one the decision's own text."""
    gate = strongest(decision.gates)
    if gate is None or gate.code is not decision.code:
        return decision.text
    return f"{gate.gate}: {gate.code}: {gate.value} (allowed: {gate.threshold})"


def report_lines(report: Report) -> list[str]:
    """One line a case, what differs below it, then the coverage."""
    lines = []
    for r in report.results:
        place = r.case.file if r.ok else f"{r.case.file}:{r.case.line}"
        lines.append(f"{'ok' if r.ok else 'FAILED':<6}  {place}  {r.case.written.name}")
        lines += [f"        {text}" for text in r.differences]
    total, rules = len(report.results), len(report.rules)
    lines += ["", f"{counted(total, 'case')}: {total - report.failed} ok, {report.failed} failed"]
    lines.append(_coverage("rules reached by a case", rules, report.uncovered))
    lines.append(_coverage("gates that a case finds closed", len(GATE_NAMES), report.never_closed))
    return lines


def _coverage(what: str, total: int, missing: Iterable[str]) -> str:
    names = [f'"{name}"' for name in missing]
    rest = f"; not: {', '.join(names)}" if names else ""
    return f"{what}: {total - len(names)} of {total}{rest}"


def _result_json(result: CaseResult) -> dict[str, JsonValue]:
    return {
        "file": result.case.file,
        "line": result.case.line,
        "name": result.case.written.name,
        "ok": result.ok,
        "differences": list(result.differences),
        "decisions": [
            {
                "target": j.target,
                "verdict": j.decision.verdict.value,
                "code": j.decision.code.value,
                "rule": j.decision.rule,
            }
            for j in result.judged
        ],
    }
