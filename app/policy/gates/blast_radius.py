"""Gate: how much could go wrong at once? Ready pods put at risk, and targets changed at the same time.

At risk are ready pods that the step could take down at once, not pods that are broken already: a workload with no ready
pod endangers nothing by being rolled back. Broken pods count as spent instead. Shares are rounded down, with an explicit
minimum, so that rounding never exceeds the limit.
"""

from __future__ import annotations

from app.domain.decision import Code, GateResult
from app.domain.plan import ActionKind, Step
from app.domain.target import Kind
from app.domain.units import counted
from app.policy.facts import Replicas, Unknown
from app.policy.gates.case import Case, Voice

_SAY = Voice("blast radius")
_ROLLING = frozenset(
    {
        ActionKind.ROLL_BACK,
        ActionKind.ROLLOUT_RESTART,
        ActionKind.RAISE_MEMORY_LIMIT,
        ActionKind.SET_IMAGE,
    }
)
_COUNTS_BROKEN = frozenset({Kind.DEPLOYMENT, Kind.DAEMON_SET})
"""Kinds whose controller takes pods that are already unavailable out of maxUnavailable before it touches ready ones. A
StatefulSet replaces by ordinal, so a ready pod may be the next one."""


@_SAY.of
def blast_radius(case: Case) -> GateResult:
    """Deny when more ready pods are at risk than the rule allows, or when too many targets would be in flight."""
    rules = case.rule.blast_radius
    threshold = f"{rules.pods} of the ready pods, at least {rules.minimum}; {counted(rules.targets_in_flight, 'target')} in flight"
    in_flight = case.facts.targets_in_flight
    if isinstance(in_flight, Unknown):
        return _SAY.unknown("targets in flight", in_flight, threshold)
    targets = f"{counted(in_flight + 1, 'target')} in flight"
    if in_flight >= rules.targets_in_flight:
        value = f"{targets} with this one"
        return _SAY.deny(Code.BLAST_RADIUS, value, threshold, "a run on another target ends")
    if case.step is None or case.step.pods_affected == 0:
        return _SAY.allow(f"0 pods at risk; {targets}", threshold)
    replicas = case.facts.replicas
    if isinstance(replicas, Unknown):
        return _SAY.unknown("ready pods", replicas, threshold)
    risk, allowed = at_risk(case.step, replicas), allowance(case, replicas)
    pods = f"{risk} of {counted(replicas.ready, 'ready pod')} at risk, {allowed} allowed, {replicas.broken} broken"
    value = f"{pods}; {targets}"
    if risk > allowed:
        remedy = f"more of the {replicas.desired} pods are ready, or the step touches fewer"
        return _SAY.deny(Code.BLAST_RADIUS, value, threshold, remedy)
    return _SAY.allow(value, threshold)


def at_risk(step: Step, replicas: Replicas) -> int:
    """Ready pods that the step could take down at once, in pods.

    `pods_affected` of a rolling change counts every pod that it replaces in the end; at once it takes down what the
    controller's own bound lets it, less (for a Deployment or DaemonSet) what is broken already.
    """
    risk = 0
    for action in step.actions:
        if action.kind is ActionKind.SCALE:  # the pods that go are what was asked for
            continue
        if action.kind not in _ROLLING:
            # A pod that is not ready serves nobody: to delete it takes nothing away.
            risk += 0 if action.params.get("ready") is False else action.pods_affected
            continue
        bound = action.pods_affected if replicas.at_once is None else replicas.at_once
        spent = replicas.broken if action.object.kind in _COUNTS_BROKEN and bound < replicas.desired else 0
        risk += max(0, min(action.pods_affected, bound) - spent)
    return min(replicas.ready, risk)


def allowance(case: Case, replicas: Replicas) -> int:
    """Ready pods that may be at risk now: the share of the ready ones, less what is broken, but at least the minimum."""
    rules = case.rule.blast_radius
    return max(rules.minimum, rules.pods.of(replicas.ready) - replicas.broken)
