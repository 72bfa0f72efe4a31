"""Views: what the API shows of the catalogue, the policy and the budgets, and the checks of an order before it is stored."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from pydantic import BaseModel
from sqlalchemy import Connection

from app.domain.alert import ManualRequest
from app.domain.decision import Mode
from app.domain.errors import BadInput, ObjectMissing, Refused, RemediatorError
from app.domain.remediation import AnyRemediation
from app.domain.target import Target
from app.flow.deciding.history import as_trust_level, terms_of
from app.flow.deciding.marks import namespace_off_limits
from app.flow.diagnosing import look
from app.flow.services import Services
from app.policy.match import rule_for_order
from app.policy.model import Per, Policy, Rule
from app.policy.ordered import order_params, orderable
from app.policy.trust import lower_bound, next_text, proof, proof_text
from app.store import runs, schedule_ends, trust_levels, work
from app.store import schedules as stored_schedules
from app.store.trust_levels import StoredTrustLevel

NEXT = 3
"""Times of a schedule that are told ahead."""
_LOOK_SECONDS = 3.0  # for the look whether an order's target is there


async def remediations(services: Services) -> Sequence[Mapping[str, Any]]:
    """The catalogue: names, steps, runbook sections, parameters as JSON Schema and in short, and for a procedure what its orders
    need by the policy in force."""
    policy = services.policy()
    return [
        {
            "name": r.name,
            "runbook": r.runbook,
            "steps": list(r.steps),
            "procedure": r.procedure is not None,
            "order": _order_terms(policy, r),
            "parameters": parameters(r.params, orderable(policy, r)),
            "params": r.params.model_json_schema(),
        }
        for r in services.catalogue.values()
    ]


def parameters(model: type[BaseModel], ordered: Collection[str]) -> list[dict[str, Any]]:
    """Each parameter: its name, type, default as JSON, whether an order has to give it and whether it may (`ordered`), and what it is."""
    schema = model.model_json_schema()
    required = schema.get("required", ())
    return [
        {
            "name": name,
            "type": _type(part, schema.get("$defs", {})),
            "required": name in required,
            "ordered": name in ordered,
            "default": part.get("default"),
            "about": part.get("description", ""),
        }
        for name, part in schema.get("properties", {}).items()
    ]


def _type(part: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    """The type in words: `integer`, `text or null`, `one of a, b`."""
    if "$ref" in part:
        return _type(definitions[part["$ref"].rsplit("/", 1)[1]], definitions)
    if "enum" in part or "const" in part:
        return f"one of {', '.join(map(str, part.get('enum', [part.get('const')])))}"
    if "anyOf" in part:
        return " or ".join(dict.fromkeys(_type(one, definitions) for one in part["anyOf"]))
    word = str(part.get("type", "any"))
    if word == "array":
        return f"list of {_type(part.get('items', {}), definitions)}"
    return {"string": "text", "object": "keys with values"}.get(word, word)


def _order_terms(policy: Policy, remediation: AnyRemediation) -> dict[str, Any]:
    """Under which rule an order stands, and who has to agree besides whoever ordered."""
    rule = rule_for_order(policy, remediation.name, {}, remediation.procedure)
    asked = rule.approval
    return {
        "rule": rule.name,
        "mode": rule.mode.value,
        "approvals": asked.approvals,
        "four_eyes": asked.four_eyes,
        "order_counts": asked.order_counts,
        "needs": _needs(rule),
    }


def _needs(rule: Rule) -> str:
    """Who has to agree to an order besides whoever gives it, in words."""
    asked = rule.approval
    if rule.mode is Mode.OBSERVE:
        return "nothing: its rule only observes, so nothing is done"
    if asked.approvals > 1:
        return f"{asked.approvals} approvals"
    if asked.four_eyes:
        return "another person's approval"
    if not asked.order_counts:
        return "an approval"
    return "nothing" if rule.mode is Mode.AUTO else "an approval, unless who orders it may approve"


async def policies(services: Services) -> Sequence[Mapping[str, Any]]:
    """The rules in force, in order."""
    policy = services.policy()
    return [{"policy_version": policy.version, **rule.to_json()} for rule in policy.rules]


def _stamp(at: datetime | None) -> str | None:
    return at.isoformat() if at is not None else None


async def schedules(services: Services) -> Sequence[Mapping[str, Any]]:
    """The rules with a schedule, in order: when they are due next, and what became of their last time. Raises StoreUnavailable."""
    now = services.clock.now()
    found = [(rule, rule.schedule) for rule in services.policy().rules if rule.schedule is not None]

    def read(conn: Connection) -> list[dict[str, Any]]:
        rows = []
        for rule, schedule in found:
            last = next(iter(stored_schedules.newest(conn, rule.name)), None)
            rows.append(
                {
                    "rule": rule.name,
                    "remediation": rule.remediation,
                    **schedule.model_dump(mode="json"),
                    "next": [due.isoformat() for due in schedule.coming(now, NEXT)],
                    "last_due": last.due.isoformat() if last else None,
                    "last_result": last.fate if last else None,
                    "last_incident": (last.incident_id if last else "") or None,
                    "last_outcome": (schedule_ends.outcome_of(conn, last) if last else "") or None,
                    "last_good": _stamp(schedule_ends.last_good(conn, rule.name)),
                }
            )
        return rows

    return await services.store.read(read) if found else []


async def budgets(services: Services) -> Sequence[Mapping[str, Any]]:
    """Shared budgets and what is spent of each, for the keys that were used."""
    policy = services.policy()
    now = services.clock.now()

    def count(conn: Connection) -> list[dict[str, Any]]:
        rows = []
        for budget in policy.budgets:
            for key in _keys(conn, policy, budget.per):
                for one in budget.limit.each:
                    spent = work.spent_since(conn, key, now - one.window)
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


async def trust(services: Services) -> Sequence[Mapping[str, Any]]:
    """Trust levels in the order of their keys, with their numbers and what would have to happen for the next level."""
    policy = services.policy()
    rows = await services.store.read(trust_levels.listed)
    return [_trust_level_json(policy, row) for row in rows]


def _trust_level_json(policy: Policy, row: StoredTrustLevel) -> dict[str, Any]:
    trust_level, terms = as_trust_level(row), terms_of(policy, row)
    wanted = proof(trust_level, terms)
    bound = lower_bound(row.successes, row.trials, terms.confidence) if terms else None
    return {
        "key": row.key,
        "alertname": row.alertname,
        "remediation": row.remediation,
        "class": row.target_class,
        "rule": row.rule,
        "in_use": terms is not None,
        "level": row.level.value,
        "since": row.since.isoformat(),
        "fixed": row.successes,
        "runs": row.trials,
        "lower_bound": None if bound is None else round(bound, 4),
        "needed": {"runs": wanted.runs, "bound": wanted.bound} if wanted else None,
        "waits": row.asked_at is not None,
        "agreed": sorted(row.agreed or {}),
        "numbers": proof_text(trust_level, terms),
        "next": next_text(trust_level, terms),
        "why": row.why,
        "run": row.run_id or None,
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


async def diagnosis(services: Services, namespace: str, kind: str, name: str) -> Mapping[str, Any]:
    """One screen about a workload, or about its namespace where kind and name are empty. Raises what `look.diagnose` does."""
    return (await look.diagnose(services, namespace, kind, name)).to_json()


def order_check(services: Services) -> Callable[[ManualRequest], None]:
    """A check of manual orders before they are stored. It raises BadInput with the place of the fault."""

    def check(order: ManualRequest) -> None:
        remediation = services.catalogue.get(order.remediation)
        if remediation is None:
            allowed = ", ".join(sorted(services.catalogue))
            raise BadInput(f"there are {allowed}", code="unknown_remediation", where="remediation")
        Target.parse(order.target)
        order_params(services.policy(), remediation, order.params)

    return check


def target_check(services: Services) -> Callable[[ManualRequest], Awaitable[None]]:
    """A check whether the workload of a manual order is there, so that a slip of the pen is told at once. It raises Refused
    (`no_such_target`). What is off limits is not looked for, and what cannot be told is left to the run."""

    async def check(order: ManualRequest) -> None:
        target = Target.parse(order.target)
        try:
            async with asyncio.timeout(_LOOK_SECONDS):
                if not await namespace_off_limits(
                    services.cluster, services.policy().scope, target.namespace
                ):
                    await services.cluster.get(target.kind, target.namespace, target.name)
        except ObjectMissing as error:
            text = f"there is no {target.kind} {target.name} in the namespace {target.namespace}"
            raise Refused(text, code="no_such_target", where="/target/name") from error
        except (RemediatorError, TimeoutError):
            return

    return check
