"""Bulk: decides many due incidents in one transaction, where one look at a time would never come to the end.

Two kinds of them need no look: those whose alerts are all gone, and, in a storm of many times the policy's size, all
others, because whatever one saw the answer is to observe. Called by the decide loop before it looks one by one. Reads the
store only: an API server in trouble is not asked about ten thousand targets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from zlib import crc32

from sqlalchemy import Connection

from app.domain.alert import Source
from app.domain.decision import Decision, Mode, Verdict
from app.domain.outcome import IncidentState
from app.domain.target import Target
from app.flow.deciding.facts import pauses
from app.flow.notifying import record
from app.flow.notifying.fan_out import join
from app.flow.services import Services
from app.notify.wording import RESOLVED_ALONE
from app.policy import decide as policy_decide
from app.policy.facts import Facts, Past, Pause, Spend, Unknown
from app.policy.match import BudgetScope, NoHint, match_rule, scopes_for, severity_rank, target_hint
from app.policy.model import Policy, Rule
from app.store import bulk, runs, work
from app.store import facts as counts
from app.store.bulk import Firing, Word
from app.store.connection import micros
from app.store.incidents import Incident
from app.store.tx import Tx

MANY = 32
"""So many due incidents are taken together; fewer are looked at one by one as always."""
_BATCH = 200  # a fraction of a second in which nothing else is written
_LOADED_BATCH = 50
_PER_SECOND = 10  # looks at what was not looked at, once the storm is over
_STEP = timedelta(seconds=30)  # they are due in steps, so that many share one statement
_NOT_LOOKED = Unknown("nobody looks at single targets in a storm of this size")


async def settle_due(services: Services, *, loaded: bool = False) -> int:
    """Decide of the due incidents what needs no look; how many that were, 0 when there are few. Raises StoreUnavailable."""
    now = micros(services.clock.now())
    if await services.store.read(lambda conn: bulk.waiting(conn, now, MANY + 1)) <= MANY:
        return 0
    limit = _LOADED_BATCH if loaded else _BATCH
    settled = await services.store.write(lambda tx: _settle(tx, services, limit))
    record.count_decided_many(services, [(incident, decision) for incident, decision in settled if decision])
    return len(settled)


def _settle(tx: Tx, services: Services, limit: int) -> list[tuple[Incident, Decision | None]]:
    work.lock_ledger(tx)
    taken = bulk.take(tx, limit)
    firing = bulk.firing(tx.conn, taken, severity_rank)
    quiet = [i for i in taken if i.id not in firing]
    bulk.settle(tx, [Word(i, IncidentState.RESOLVED, RESOLVED_ALONE, None) for i in quiet])
    storm = _measure(tx, services)
    if storm.targets < storm.policy.storm.blinding:
        return [(i, None) for i in quiet]
    unseen = [(i, firing[i.id]) for i in taken if i.id in firing and not _poor(services, firing[i.id])]
    return [*((i, None) for i in quiet), *storm.decide(tx, unseen)]


def _poor(services: Services, alert: Firing) -> bool:
    """Its labels have still to be fetched from PagerDuty; the slow way does that."""
    fetches = services.incident_bodies is not None and alert.source is Source.PAGERDUTY
    return fetches and not alert.labels.get("namespace")


def _measure(tx: Tx, services: Services) -> _Storm:
    policy = services.policy()
    return _Storm(
        policy,
        services.ceiling,
        tx.now,
        counts.targets_since(tx.conn, tx.now - policy.storm.within),
        pauses(tx.conn, tx.now),
        frozenset(runs.held_targets(tx.conn)),
    )


@dataclass(slots=True)
class _Storm:
    """What all the incidents of one transaction share. `live` are the targets that a run is at work on."""

    policy: Policy
    ceiling: Mode
    now: datetime
    targets: int
    paused: tuple[Pause, ...]
    live: frozenset[str]
    _spent: dict[BudgetScope, Spend] = field(default_factory=dict)

    def decide(
        self, tx: Tx, unseen: Sequence[tuple[Incident, Firing]]
    ) -> list[tuple[Incident, Decision | None]]:
        """Decide all of these, let them join the storm's digest, and put them to rest."""
        if not unseen:
            return []
        grounds = [(i, alert, *self._ground(alert.labels)) for i, alert in unseen]
        touched = bulk.with_runs(tx.conn, {target.key for *_, target in grounds if target is not None})
        last = bulk.last_decisions(tx.conn, [i.id for i, _ in unseen if i.decided_at is not None])
        settled: list[tuple[Incident, Decision | None]] = []
        words = []
        for incident, alert, found, target in grounds:
            decision = found if isinstance(found, Decision) else None
            if decision is None and isinstance(found, Rule) and target is not None:
                facts = self._facts(tx.conn, found, target, alert, known=target.key in touched)
                decision = policy_decide.decide_unseen(self.policy, found, facts)
            if decision is None:
                raise AssertionError("what has a rule and a target is decided")
            settled.append((incident, decision))
            words.append(self._word(incident, decision, last.get(incident.id)))
        bulk.settle(tx, words)
        join(tx, [i.id for i, _ in unseen], storm=True)
        return settled

    def _ground(self, labels: Mapping[str, str]) -> tuple[Rule | Decision, Target | None]:
        """Rule and target as the labels name them, or the decision that there is none. Who owns a pod is not asked."""
        matched = match_rule(self.policy, labels)
        if matched is None:
            return policy_decide.no_rule(self.policy, labels.get("alertname", "")), None
        hint = target_hint(matched.rule, labels)
        if isinstance(hint, NoHint):
            return policy_decide.no_target(self.policy, matched.rule, hint.why), None
        return matched.rule, Target(hint.namespace, hint.kind, hint.name)

    def _facts(self, conn: Connection, rule: Rule, target: Target, alert: Firing, *, known: bool) -> Facts:
        """What the store knows; `known` when there ever was a run on the target."""
        remediation = rule.remediation
        past = counts.results(conn, target.key, remediation, 20, excluding="") if known else []
        return Facts(
            now=self.now,
            target=target,
            firing=True,
            last_seen=alert.last_seen,
            marks=_NOT_LOOKED,
            managers=_NOT_LOOKED,
            changed_by=_NOT_LOOKED,
            rollout_paused=_NOT_LOOKED,
            replicas=_NOT_LOOKED,
            spend={
                s: self._spend(conn, s) if known or not s.key.endswith(target.key) else Spend(0)
                for s in scopes_for(self.policy, rule, target)
            },
            last_action=counts.last_action(conn, target.key, remediation, excluding="") if known else None,
            busy_with=counts.busy_with(conn, target.key, excluding="") if target.key in self.live else "",
            targets_in_flight=len(self.live - {target.key}),
            results=tuple(Past(state, at) for state, at in past),
            storm_targets=self.targets,
            pauses=self.paused,
            blocking=_NOT_LOOKED if rule.blocked_by else {},
            ceiling=self.ceiling,
            trust_level=_NOT_LOOKED if rule.mode is Mode.EARNED else None,
        )

    def _spend(self, conn: Connection, scope: BudgetScope) -> Spend:
        if scope not in self._spent:
            since = self.now - scope.limit.window
            self._spent[scope] = Spend(*counts.spent(conn, scope.key, since, excluding=("", -1)))
        return self._spent[scope]

    def _word(
        self, incident: Incident, decision: Decision, last: tuple[int, Mapping[str, Any]] | None
    ) -> Word:
        state = IncidentState.REFUSED if decision.verdict is Verdict.DENY else IncidentState.OBSERVED
        number, body = last or (0, {})
        due = decision.retry_at or self._again(incident)
        if decision.repeats(body):
            return Word(incident, state, decision.text, due)
        told = {**decision.to_json(), "plan": None, "ladder": []}
        return Word(incident, state, decision.text, due, f"{incident.id}/{number + 1}", told)

    def _again(self, incident: Incident) -> datetime:
        """When the storm may be over, and then not all at once."""
        steps = 1 + self.targets // (_PER_SECOND * int(_STEP.total_seconds()))
        return self.now + self.policy.storm.within + _STEP * (crc32(incident.id.encode()) % steps)
