"""Gate: who else writes this object? A change that its owner reverts helps nobody and surprises the owner."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from app.domain.decision import Code, GateResult
from app.domain.owner import Owner, Owners, Relation
from app.domain.plan import ActionKind, Step
from app.domain.target import Kind
from app.domain.workload import Manager
from app.policy.facts import Fact, Unknown
from app.policy.gates.case import Case, Voice
from app.policy.model import OwnedMode, Ownership

_SAY = Voice("ownership")
_REPLICAS = frozenset({ActionKind.SCALE, ActionKind.RAISE_MIN_REPLICAS, ActionKind.ADJUST_AUTOSCALER})
_SPEC = _REPLICAS | {ActionKind.ROLL_BACK, ActionKind.RAISE_MEMORY_LIMIT, ActionKind.SET_IMAGE}
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
_SCALED_OBJECT = "ScaledObject"


@_SAY.of
def ownership(case: Case) -> GateResult:
    """Deny on a rollout that somebody paused; deny or ask when another writer owns what the step changes."""
    rules, facts = case.rule.ownership, case.facts
    threshold = (
        f"rollout not paused; autoscaler {rules.hpa}, GitOps {rules.gitops}, Helm {rules.helm}, "
        f"other controllers {rules.controller}, VPA {rules.vpa}"
    )
    if isinstance(facts.rollout_paused, Unknown):
        return _SAY.unknown("pause of the rollout", facts.rollout_paused, threshold)
    if facts.rollout_paused:
        remedy = "whoever paused the rollout resumes it"
        return _SAY.deny(Code.ROLLOUT_PAUSED, "the rollout is paused", threshold, remedy)
    if isinstance(facts.managers, Unknown):
        return _SAY.unknown("other writers of the object", facts.managers, threshold)
    if case.step is None:
        return _without_step(facts.owners, threshold)
    if isinstance(facts.owners, Unknown):
        return _SAY.unknown("other controllers of the object", facts.owners, threshold)
    return _judged(case, case.step, facts.owners, threshold)


class _Writer(NamedTuple):
    """Somebody else who writes what the step changes: what to do about it, a name, a clause, and where to change it instead."""

    mode: OwnedMode
    name: str
    clause: str
    where: str


def _without_step(owners: Fact[Owners], threshold: str) -> GateResult:
    """Nothing is changed; but what is only a template has no pods of its own, and that explains what was found."""
    found = () if isinstance(owners, Unknown) else owners.found
    for owner in found:
        if owner.relation is Relation.TEMPLATE:
            clause = f"{owner.of} is only the template of {owner}"
            return _SAY.deny(Code.OWNED, clause, threshold, f"it is changed in {owner}: {owner.edit}")
    return _SAY.allow("no step, so nothing is changed", threshold)


def _judged(case: Case, step: Step, owners: Owners, threshold: str) -> GateResult:
    rules, facts = case.rule.ownership, case.facts
    managers = () if isinstance(facts.managers, Unknown) else _concerned(facts.managers, step)
    writers = [_Writer(_mode(rules, m), _TITLES[m], "", "") for m in managers]
    writers += [_writer(rules, o, step) for o in owners.found if _changes(o, step)]
    value = _value(writers, owners)
    denied = [w for w in writers if w.mode is OwnedMode.DENY]
    if denied:
        through = " and ".join(w.name for w in denied if not w.where)
        where = [w.where for w in denied if w.where] + (
            [f"the change is made through {through}"] if through else []
        )
        return _SAY.deny(Code.OWNED, value, threshold, "; ".join(where))
    asked = [w for w in writers if w.mode is OwnedMode.ASK]
    if not asked:
        return _SAY.allow(value, threshold)
    if facts.approved_by:
        return _SAY.allow(f"{value}; approved by {facts.approved_by}", threshold)
    revert = f"a person approves that {' and '.join(w.name for w in asked)} may revert it"
    elsewhere = "; ".join(w.where for w in asked if w.where)
    remedy = f"{elsewhere}, or {revert}" if elsewhere else revert
    return _SAY.hold(case.question, Code.OWNED, value, threshold, remedy)


def _value(writers: Sequence[_Writer], owners: Owners) -> str:
    managed = " and ".join(w.name for w in writers if not w.clause)
    clauses = [f"managed by {managed}"] if managed else []
    clauses += [w.clause for w in writers if w.clause]
    told = "; ".join(clauses) or "nobody else writes what this changes"
    return told + (
        f"; not known: {', '.join(owners.untold)}, which may not be listed" if owners.untold else ""
    )


def _changes(owner: Owner, step: Step) -> bool:
    """Whether the step changes what this owner owns. A pod that is deleted belongs to its workload's owner too."""
    kinds = {a.kind for a in step.actions}
    if owner.relation is Relation.SIZES:
        return ActionKind.RAISE_MEMORY_LIMIT in kinds
    touched = {a.object.kind for a in step.actions}
    return owner.of in touched or (owner.of is not Kind.HPA and Kind.POD in touched)


def _writer(rules: Ownership, owner: Owner, step: Step) -> _Writer:
    """What one owner means for this step. What only an owner's own object can change is denied: nobody can approve that
    KEDA leaves its autoscaler alone, or that a Deployment without pods restarts some."""
    where = f"it is changed in {owner}: {owner.edit}"
    if owner.relation is Relation.SIZES:
        clause = f"{owner} sets its requests" + (f" ({owner.note})" if owner.note else "")
        return _Writer(rules.vpa, str(owner), clause, where)
    if owner.relation is Relation.TEMPLATE:
        clause = f"{owner.of} is only the template of {owner}"
        return _Writer(OwnedMode.DENY, str(owner), clause, where)
    clause = f"{owner.of} is owned by {owner}"
    if owner.of is Kind.HPA and owner.kind == _SCALED_OBJECT:
        return _Writer(OwnedMode.DENY, str(owner), clause, _keda_patch(owner, step) or where)
    return _Writer(rules.controller, str(owner), clause, where)


def _keda_patch(owner: Owner, step: Step) -> str:
    """The same minimum on the ScaledObject, from which KEDA makes its autoscaler."""
    wanted = [c.after for a in step.actions if a.kind is ActionKind.RAISE_MIN_REPLICAS for c in a.changes]
    if not wanted:
        return ""
    patch = f'{{"spec":{{"minReplicaCount":{wanted[0]}}}}}'
    return f"kubectl patch {owner.resource} -n {owner.namespace} --type merge -p '{patch}'"


def _concerned(managers: tuple[Manager, ...], step: Step) -> list[Manager]:
    kinds = {a.kind for a in step.actions}
    return [m for m in managers if kinds & _CONCERNS[m]]


def _mode(rules: Ownership, manager: Manager) -> OwnedMode:
    if manager is Manager.HPA:
        return rules.hpa
    return rules.helm if manager is Manager.HELM else rules.gitops
