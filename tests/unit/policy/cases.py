"""What the policy tests build their cases from: a small catalogue, a policy in text, facts where every gate allows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from textwrap import dedent, indent
from typing import Any

from pydantic import BaseModel

from app.domain.decision import GateResult
from app.domain.new_pods import Finding, NewPods, Part, PodCheck
from app.domain.owner import Owners
from app.domain.plan import Action, ActionKind, Step
from app.domain.procedure import Consent, Procedure
from app.domain.remediation import Params
from app.domain.target import Kind, ObjectRef, Target
from app.policy.facts import Case, Facts, Gate, Replicas, Spend
from app.policy.load import load_policy
from app.policy.match import scopes_for
from app.policy.model import Policy, Rule

NOW = datetime(2026, 3, 4, 3, 0, tzinfo=UTC)
TARGET = Target("rag7", Kind.DEPLOYMENT, "langgraph")
WORKLOAD = ObjectRef(Kind.DEPLOYMENT, "rag7", "langgraph", "uid-1", "100", 4)


class ErrorParams(Params):
    recent_deployment: str = "1h"
    scale_to: int = 5


class Restart(BaseModel):
    pass


@dataclass(frozen=True)
class FakeHandler:
    """What the loader knows of a remediation."""

    steps: tuple[str, ...]
    params: type[BaseModel]
    procedure: Procedure | None = None


class ReleaseParams(Params):
    image: str
    replicas: int = 3


CATALOGUE = {
    "high-error-rate": FakeHandler(("roll-back", "scale-up"), ErrorParams),
    "restart": FakeHandler(("restart",), Restart),
}
PROCEDURES = {
    **CATALOGUE,
    "release": FakeHandler(
        ("set",), ReleaseParams, Procedure(settle=timedelta(minutes=1), timeout=timedelta(minutes=7))
    ),
    "wipe": FakeHandler(("wipe",), Restart, Procedure(Consent.APPROVAL)),
    "recover": FakeHandler(("recover",), Restart, Procedure(Consent.TWO)),
}
"""The same with a procedure of each consent."""

HEAD = """\
version: 1
scope: {namespaces: [rag7, "team-*"], exclude_namespaces: [team-payments]}
"""
RULE = """\
name: errors
when: alertname="HighErrorRate"
target: {name: {label: deployment, default: langgraph}, namespace: {label: namespace, default: rag7}, pod: {label: pod}, on_default: act}
remediation: high-error-rate
mode: auto
"""


def text_of(head: str = "", rule: str = "", *, more_rules: str = "") -> str:
    """A policy file: the usual head and rule, each with more lines; a line of the rule takes the place of the usual one."""
    own = dedent(rule)
    keys = tuple(line.partition(":")[0] + ":" for line in own.splitlines() if line[:1].isalpha())
    usual = "".join(line for line in RULE.splitlines(keepends=True) if not (keys and line.startswith(keys)))
    body = indent(usual + own, "    ")
    return f"{HEAD}{dedent(head)}rules:\n  - {body.lstrip()}{indent(dedent(more_rules), '  ')}"


def policy_of(head: str = "", rule: str = "", **extra: str) -> Policy:
    return load_policy({"policy.yaml": text_of(head, rule, **extra)}, CATALOGUE)


def action_of(kind: ActionKind = ActionKind.ROLL_BACK, pods: int = 3, ref: ObjectRef = WORKLOAD) -> Action:
    return Action(kind, ref, TARGET, (), f"{kind} {ref.name}", pods, reversible=True, undo="put it back")


def step_of(*actions: Action, name: str = "roll-back") -> Step:
    return Step(name, "revision 8 is 14 min old", actions or (action_of(),))


def facts_of(policy: Policy, rule: Rule | None = None, **changes: Any) -> Facts:
    """Facts under which every gate allows, with changes. Who orders may also approve, unless a change says otherwise."""
    changes.setdefault("order_may_approve", bool(changes.get("ordered_by")))
    spend = {scope: Spend(0) for scope in scopes_for(policy, rule or policy.rules[0], TARGET)}
    facts = Facts(
        now=NOW,
        target=TARGET,
        firing=True,
        last_seen=NOW - timedelta(seconds=20),
        marks={},
        managers=(),
        rollout_paused=False,
        replicas=Replicas(desired=3, ready=3, updated=3, at_once=0),
        spend=spend,
        last_action=None,
        busy_with="",
        targets_in_flight=0,
        results=(),
        storm_targets=1,
        owners=Owners(),
        new_pods=NewPods((PodCheck(Part.CONFIGURATION, Finding.OK), PodCheck(Part.QUOTA, Finding.OK))),
    )
    return replace(facts, **changes)


def case_of(policy: Policy, step: Step | None = None, **changes: Any) -> Case:
    return Case(policy, policy.rules[0], step or step_of(), facts_of(policy, **changes))


def ask_gate(
    gate: Gate, head: str = "", rule: str = "", step: Step | None = None, **changes: Any
) -> GateResult:
    """One gate's answer under this policy and these facts."""
    return gate(case_of(policy_of(head, rule), step, **changes))
