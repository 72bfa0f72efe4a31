"""Views: what the API shows of the catalogue, the policy and the budgets, and the check of an order's params."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Connection

from app.domain.alert import ManualRequest
from app.domain.errors import BadInput
from app.domain.outcome import RunState
from app.domain.remediation import AnyRemediation
from app.domain.target import Target
from app.flow.services import Services
from app.policy.model import Per, Policy
from app.store import ledger, runs
from app.store import scorecard as counted


async def remediations(services: Services) -> Sequence[Mapping[str, Any]]:
    """The catalogue: names, rungs, runbook sections, parameters as JSON Schema."""
    return [
        {
            "name": r.name,
            "runbook": r.runbook,
            "rungs": list(r.rungs),
            "params": r.params.model_json_schema(),
        }
        for r in services.catalogue.values()
    ]


async def policies(services: Services) -> Sequence[Mapping[str, Any]]:
    """The rules in force, in order."""
    policy = services.policy()
    return [{"policy_version": policy.version, **rule.to_json()} for rule in policy.rules]


async def budgets(services: Services) -> Sequence[Mapping[str, Any]]:
    """Shared budgets and what is spent of each, for the keys that were used."""
    policy = services.policy()
    now = services.clock.now()

    def count(conn: Connection) -> list[dict[str, Any]]:
        rows = []
        for budget in policy.budgets:
            for key in _keys(conn, policy, budget.per):
                for one in budget.limit.each:
                    spent = ledger.spent_since(conn, key, now - one.window)
                    rows.append(
                        {
                            "per": budget.per.value,
                            "key": key,
                            "limit": one.count,
                            "window_seconds": one.window.total_seconds(),
                            "spent": spent,
                            "left": max(0, one.count - spent),
                        }
                    )
        return rows

    return await services.store.read(count)


async def scorecard(services: Services, days: int) -> Mapping[str, Any]:
    """What the last `days` days were worth."""
    until = services.clock.now()
    since = until - timedelta(days=days)
    card = await services.store.read(lambda conn: counted.scorecard(conn, since, until))
    return {
        "since": since.isoformat(),
        "until": until.isoformat(),
        "alerts": card.alerts,
        "incidents": card.incidents,
        "acted": card.acted,
        "fixed": card.fixed,
        "not_fixed": card.runs.get(RunState.NOT_FIXED, 0),
        "harmful": card.harmful,
        "runs": card.runs,
        "mitigate_seconds": {"median": card.percentile(0.5), "p90": card.percentile(0.9)},
        "offenders": [{"target": target, "incidents": number} for target, number in card.offenders],
    }


def _keys(conn: Connection, policy: Policy, per: Per) -> list[str]:
    targets = [Target.parse(t) for t in runs.live_targets(conn)]
    match per:
        case Per.CLUSTER:
            return ["cluster"]
        case Per.NAMESPACE:
            return [f"namespace:{n}" for n in policy.scope.namespaces if "*" not in n]
        case Per.TARGET:
            return [f"target:{t.key}" for t in targets]
        case Per.RULE:
            return [f"rule:{r.name}" for r in policy.rules]
        case Per.REMEDIATION:
            return [f"remediation:{name}" for name in sorted({r.remediation for r in policy.rules})]


def order_check(catalogue: Mapping[str, AnyRemediation]) -> Callable[[ManualRequest], None]:
    """A check of manual orders before they are stored. It raises BadInput with the place of the fault."""

    def check(order: ManualRequest) -> None:
        remediation = catalogue.get(order.remediation)
        if remediation is None:
            allowed = ", ".join(sorted(catalogue))
            raise BadInput(f"there are {allowed}", code="unknown_remediation", where="remediation")
        Target.parse(order.target)
        try:
            remediation.params.model_validate(dict(order.params))
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            where = ".".join(str(part) for part in ("params", *first["loc"]))
            raise BadInput(str(first["msg"]), code="bad_params", where=where) from error

    return check
