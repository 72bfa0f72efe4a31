"""Gate: who else writes this object? A change that its owner reverts helps nobody and surprises the owner."""

from __future__ import annotations

from collections.abc import Iterable

from app.domain.decision import Code, GateResult
from app.domain.plan import ActionKind, Step
from app.domain.workload import Manager
from app.policy.facts import Unknown
from app.policy.gates.case import Case, Voice
from app.policy.model import OwnedMode, Ownership

_SAY = Voice("ownership")
_REPLICAS = frozenset({ActionKind.SCALE, ActionKind.RAISE_MIN_REPLICAS})
_SPEC = _REPLICAS | {ActionKind.ROLL_BACK, ActionKind.RAISE_MEMORY_LIMIT}
_CONCERNS = {
    Manager.HPA: _REPLICAS,
    Manager.ARGO_CD: _SPEC,
    Manager.FLUX: _SPEC,
    Manager.HELM: _SPEC,
}
"""Which actions write what a manager writes too. A restart and a deleted pod change nothing that is declared."""

_TITLES = {
    Manager.HPA: "an autoscaler",
    Manager.ARGO_CD: "Argo CD",
    Manager.FLUX: "Flux",
    Manager.HELM: "Helm",
}


@_SAY.of
def ownership(case: Case) -> GateResult:
    """Deny on a rollout that somebody paused; deny or ask when another writer owns what the step changes."""
    rules, facts = case.rule.ownership, case.facts
    threshold = f"rollout not paused; autoscaler {rules.hpa}, GitOps {rules.gitops}, Helm {rules.helm}"
    if isinstance(facts.rollout_paused, Unknown):
        return _SAY.unknown("pause of the rollout", facts.rollout_paused, threshold)
    if facts.rollout_paused:
        remedy = "whoever paused the rollout resumes it"
        return _SAY.deny(Code.ROLLOUT_PAUSED, "the rollout is paused", threshold, remedy)
    if isinstance(facts.managers, Unknown):
        return _SAY.unknown("other writers of the object", facts.managers, threshold)
    owners = _concerned(facts.managers, case.step)
    value = f"managed by {_names(owners)}" if owners else "nobody else writes what this changes"
    modes = {_mode(rules, m) for m in owners}
    if OwnedMode.DENY in modes:
        denied = _names(m for m in owners if _mode(rules, m) is OwnedMode.DENY)
        return _SAY.deny(Code.OWNED, value, threshold, f"the change is made through {denied}")
    if OwnedMode.ASK in modes:
        asked = _names(m for m in owners if _mode(rules, m) is OwnedMode.ASK)
        if facts.approved_by:
            return _SAY.allow(f"{value}; approved by {facts.approved_by}", threshold)
        remedy = f"a person approves that {asked} may revert it"
        return _SAY.hold(case.question, Code.OWNED, value, threshold, remedy)
    return _SAY.allow(value, threshold)


def _concerned(managers: tuple[Manager, ...], step: Step | None) -> list[Manager]:
    kinds = {a.kind for a in step.actions} if step else set()
    return [m for m in managers if kinds & _CONCERNS[m]]


def _mode(rules: Ownership, manager: Manager) -> OwnedMode:
    if manager is Manager.HPA:
        return rules.hpa
    return rules.helm if manager is Manager.HELM else rules.gitops


def _names(managers: Iterable[Manager]) -> str:
    return " and ".join(_TITLES[m] for m in managers)
