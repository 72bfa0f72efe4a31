"""Procedures under a policy: what one asks for by itself, below what its rule says. Pure.

It can make the policy's terms for all rules stricter, never laxer; only its own rule can, by saying so.
"""

from __future__ import annotations

from datetime import timedelta

from app.domain.decision import Mode
from app.domain.procedure import Consent, Procedure
from app.policy.model import Approval, Rule, Verify


def agreed(head: Approval, procedure: Procedure) -> Approval:
    """Who has to agree: the stricter of what the policy says for all rules and what the procedure asks for."""
    match procedure.consent:
        case Consent.ORDER:
            return head
        case Consent.APPROVAL:
            return head.model_copy(update={"order_counts": False})
        case Consent.TWO:
            return head.model_copy(update={"order_counts": False, "approvals": max(2, head.approvals)})


def watched(head: Verify, procedure: Procedure) -> Verify:
    """How it is verified where its rule does not say: by the procedure's own times, else what the policy writes for all rules,
    which is written for alerts. Where these do not go together, the policy's alone."""
    own = {"settle": procedure.settle, "timeout": procedure.timeout, "poll": procedure.poll}
    given = {k: v for k, v in own.items() if v is not None}
    found = head.model_copy(update=given)
    return found if found.settle + found.poll <= found.timeout else head


def without_rule(defaults: Rule, remediation: str, procedure: Procedure | None) -> Rule:
    """The rule for an order whose remediation no rule names: the policy's defaults in mode approve, and what the procedure asks
    for."""
    found = defaults.model_copy(
        update={
            "name": f"manual {remediation}",
            "remediation": remediation,
            "mode": Mode.APPROVE,
            "params": {},
        }
    )
    if procedure is None:
        return found
    return found.model_copy(
        update={
            "approval": agreed(found.approval, procedure),
            "verify": watched(found.verify, procedure),
            "procedure": True,
            "order_cooldown": timedelta(),
        }
    )
