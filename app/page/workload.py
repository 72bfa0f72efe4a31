"""One target as a page: what happened to it in the last 30 days, what holds it, how far its rules are trusted, and what is left of their limits.

Called by `app.page.site`. Reads the store alone, and the cluster only when somebody asks for that: the page never waits for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from app.domain.errors import RemediatorError
from app.domain.target import WORKLOAD_KINDS, Kind, Target
from app.flow.diagnosing import look as screens
from app.flow.diagnosing.look import Present
from app.flow.services import Services
from app.flow.upkeep import views
from app.page.policy import mode_of
from app.policy.match import scopes_for
from app.policy.model import Per, Policy, Rule
from app.store import people, runs, work, workloads
from app.store.bulk import last_decisions
from app.store.incidents import Incident
from app.store.people import Pause
from app.store.runs import Run

SPAN = timedelta(days=30)
_ROWS = 100


@dataclass(frozen=True, slots=True)
class Limit:
    """What is left of a limit that holds for this target: `of` says whose it is."""

    of: str
    left: int
    limit: int
    window: timedelta


@dataclass(frozen=True, slots=True)
class Allowed:
    """A rule that decided about this target, and what it may do by itself."""

    rule: str
    remediation: str
    mode: str


@dataclass(frozen=True, slots=True)
class TargetPage:
    """Everything that the page shows. `live` is the run that holds it now, `rules` those in force of its decisions and runs, `limits` what holds
    for them here. `present` is what the cluster says, None before somebody asked, and `refused` why it says nothing."""

    target: Target
    incidents: Sequence[Incident]
    runs: Sequence[Run]
    live: Run | None
    pauses: Sequence[Pause]
    rules: Sequence[Allowed]
    limits: Sequence[Limit]
    trust: Sequence[Any]
    present: Present | None = None
    refused: str = ""

    @property
    def asked(self) -> bool:
        """Whether the cluster was asked."""
        return self.present is not None or bool(self.refused)


async def look(services: Services, key: str) -> TargetPage:
    """The page of one target. Raises BadInput for what is none."""
    target = _target(key)
    trusted = await views.trust(services)
    return await services.store.read(lambda conn: _look(conn, services, target, trusted))


async def now(services: Services, key: str) -> tuple[Present | None, str]:
    """What the cluster says of the target, or why it says nothing. Raises BadInput for what is no target."""
    target = _target(key)
    if target.kind not in (*WORKLOAD_KINDS, Kind.POD):
        look_at = f"kubectl describe {target.kind.lower()}/{target.name} -n {target.namespace}"
        return None, f"A {target.kind} is not changed here, and not read for this page: {look_at}"
    try:
        return await screens.present(services, target), ""
    except RemediatorError as error:
        return None, error.message


def _target(key: str) -> Target:
    """Of any kind that an incident can have, such as a Job. Raises BadInput."""
    with suppress(ValueError):
        target = Target.of_key(key)
        if target.namespace and target.name:
            return target
    return Target.parse(key)


def _look(conn: Connection, services: Services, target: Target, trusted: Sequence[Any]) -> TargetPage:
    now, policy = services.clock.now(), services.policy()
    since = now - SPAN
    found = workloads.runs_on(conn, target.key, since, _ROWS)
    alerts = workloads.incidents_on(conn, target.key, since, _ROWS)
    rules = _rules(conn, policy, alerts, found)
    names = {run.remediation for run in found} | {rule.remediation for rule in rules}
    covering = {"all", f"namespace:{target.namespace}", f"target:{target.key}"}
    classes = {target.namespace, f"{target.namespace}/{target.kind}", target.key}
    return TargetPage(
        target,
        alerts,
        found,
        runs.live_for_target(conn, target.key),
        [p for p in people.pauses_in_force(conn, now) if p.scope in covering],
        [Allowed(r.name, r.remediation, mode_of(r, policy, services.ceiling)) for r in rules],
        _limits(conn, policy, rules, target, now),
        [t for t in trusted if t["remediation"] in names and t["class"] in classes],
    )


def _rules(
    conn: Connection, policy: Policy, alerts: Sequence[Incident], found: Sequence[Run]
) -> Sequence[Rule]:
    """The rules in force that decided about these incidents or made these runs."""
    decided = last_decisions(conn, [one.id for one in alerts])
    names = {run.rule for run in found} | {str(body.get("rule") or "") for _, body in decided.values()}
    return [rule for rule in policy.rules if rule.name in names]


def _limits(
    conn: Connection, policy: Policy, rules: Sequence[Rule], target: Target, now: datetime
) -> list[Limit]:
    """What is left of the limits of these rules on this target, and of what every rule shares here."""
    shared = {
        Per.CLUSTER: "cluster",
        Per.NAMESPACE: f"namespace:{target.namespace}",
        Per.TARGET: f"target:{target.key}",
    }
    keyed = {
        (shared[b.per], one.count, one.window): None
        for b in policy.budgets
        if b.per in shared
        for one in b.limit.each
    }
    for rule in rules:
        keyed |= {(s.key, s.limit.count, s.limit.window): None for s in scopes_for(policy, rule, target)}
    return [
        Limit(_whose(key, target), max(0, count - work.spent_since(conn, key, now - window)), count, window)
        for key, count, window in sorted(keyed)
    ]


def _whose(key: str, target: Target) -> str:
    """The key of a limit in words."""
    if key == f"target:{target.key}":
        return "this target"
    kind, _, name = key.partition(":")
    return f"{kind} {name.removesuffix(f'@{target.key}')}" + (
        ", on this target" if name.endswith(f"@{target.key}") else ""
    )
