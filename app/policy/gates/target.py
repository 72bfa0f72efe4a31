"""Gates about what a step would touch: scope, ownership, new pods, blast radius. Pure; a gate answers and never acts."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from app.domain.cluster import OPT
from app.domain.decision import Code, GateResult
from app.domain.new_pods import Finding, NewPods, PodCheck
from app.domain.owner import Owner, Owners, Relation
from app.domain.plan import ROLLING, ActionKind, Step, kinds_touched
from app.domain.redact import in_one_line
from app.domain.target import Kind, Target
from app.domain.units import counted, few
from app.domain.workload import Manager
from app.policy.facts import Case, Fact, Replicas, Unknown, Voice
from app.policy.model import PROTECTED_NAMESPACES, Opt, OwnedMode, Ownership, Scope

# Gate: may the service touch this object at all? Namespaces, kinds, and the mark its owners put on it.

_SCOPE = Voice("scope")
_Marks: TypeAlias = "Fact[Mapping[str, str]] | None"


def off_limits_by_name(rules: Scope, namespace: str) -> bool:
    """Whether the namespace is none of ours, so that nothing in it is read. A protected kind in one of ours is read: what is
    wrong with it is what its people want to know."""
    return namespace in PROTECTED_NAMESPACES or not rules.covers(namespace)


def mark_of(metadata: Mapping[str, Any]) -> str | None:
    """The opt-in or opt-out mark on an object, by its label or else its annotation; None without one."""
    found = (metadata.get(part) or {} for part in ("labels", "annotations"))
    return next((str(marks[OPT]) for marks in found if marks.get(OPT) is not None), None)


def kept_away(rules: Scope, marks: Mapping[str, str]) -> bool:
    """Whether these marks, of a namespace and an object in it, keep us away: any that is not "true", or none where it takes one."""
    return any(mark != "true" for mark in marks.values()) or (rules.opt is Opt.IN and not marks)


@_SCOPE.of
def scope(case: Case) -> GateResult:
    """Deny outside of the namespaces, for protected namespaces and kinds, and where the owners opted out."""
    facts = case.facts
    return within_scope(case.policy.scope, (facts.target, facts.touched), _touched(case), facts.marks)


def within_scope(
    rules: Scope, written: tuple[Target, Sequence[Target]], touched: Collection[Kind], marks: _Marks
) -> GateResult:
    """What the scope says of a change of a target and of others, where only an excluded namespace is out of it, by these marks; None: not asked."""
    target, others = written
    within = f"namespaces {', '.join(rules.namespaces)}"
    if rules.exclude_namespaces:
        within += f" except {', '.join(rules.exclude_namespaces)}"
    if target.namespace in PROTECTED_NAMESPACES:
        value = f"namespace {target.namespace} is protected"
        return _SCOPE.deny(Code.PROTECTED, value, within, "never: the cluster itself lives there")
    if not rules.covers(target.namespace):
        remedy = "the policy's scope names the namespace"
        return _SCOPE.deny(Code.OUT_OF_SCOPE, f"namespace {target.namespace}", within, remedy)
    all_but = rules.model_copy(update={"namespaces": ("*",)})
    if shut := next((o for o in others if off_limits_by_name(all_but, o.namespace)), None):
        return _SCOPE.deny(
            Code.OUT_OF_SCOPE, f"{shut} is written too", within, "its namespace is not excluded"
        )
    protected = sorted(set(touched) & set(rules.protected_kinds))
    if protected:
        remedy = "the policy no longer protects the kind"
        return _SCOPE.deny(Code.PROTECTED, f"kind {protected[0]} is protected", within, remedy)
    value = f"namespace {target.namespace}"
    if marks is None:
        return _SCOPE.allow(value, within)
    if isinstance(marks, Unknown):
        return _SCOPE.unknown("opt-in and opt-out marks", marks, within)
    return _opted(rules.opt, marks, value, within)


def _touched(case: Case) -> set[Kind]:
    """The kinds of objects that are changed; without a step the target's. What goes on inside of or beside it is no change of it."""
    kind = case.facts.target.kind
    if case.step is None or not case.step.actions:  # a procedure without a step says itself why
        return set() if case.rule.procedure else {kind}
    return kinds_touched(kind, case.step.actions)


def _opted(opt: Opt, marks: Mapping[str, str], value: str, within: str) -> GateResult:
    for where, mark in sorted(marks.items()):
        if mark not in ("true", "false"):
            remedy = f'{OPT} on the {where} is "true" or "false"'
            return _SCOPE.deny(
                Code.OPTED_OUT, f"{OPT}={in_one_line(mark, 60)!r} on the {where}", within, remedy
            )
        if mark == "false":
            remedy = f"{OPT} on the {where} is removed"
            return _SCOPE.deny(Code.OPTED_OUT, f"{OPT}=false on the {where}", within, remedy)
    if opt is Opt.IN and not marks:
        remedy = f"{OPT}=true is set on the object or its namespace"
        return _SCOPE.deny(Code.OPTED_OUT, f"{OPT} is not set", f"{within}, opted in", remedy)
    return _SCOPE.allow(value, within if opt is Opt.OUT else f"{within}, opted in")


# Gate: who else writes this object? A change that its owner reverts helps nobody and surprises the owner.

_OWNERSHIP = Voice("ownership")
_REPLICAS = frozenset({ActionKind.SCALE, ActionKind.RAISE_MIN_REPLICAS, ActionKind.ADJUST_AUTOSCALER})
# That is KEDA's own way to them, and left to no one else.
_SIZED = _REPLICAS | {ActionKind.ADJUST_SCALED_OBJECT}
_SPEC = _SIZED | {ActionKind.ROLL_BACK, ActionKind.RAISE_MEMORY_LIMIT, ActionKind.SET_IMAGE}
_CONCERNS = {
    Manager.HPA: _SIZED,
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
_SHOWN = 3
"""Owners, or pods' obstacles, that are told one by one: an object may have thousands."""
_SCALED_OBJECT = "ScaledObject"
_ELSEWHERE = {
    Relation.DECLARES: "is applied again and again by {}",
    Relation.DEPLOYS: "is deployed by {}, whose next deployment brings its own version again",
}


@_OWNERSHIP.of
def ownership(case: Case) -> GateResult:
    """Deny on a rollout that somebody paused; deny or ask when another writer owns what the step changes."""
    rules, facts = case.rule.ownership, case.facts
    threshold = (
        f"rollout not paused; autoscaler {rules.hpa}, GitOps {rules.gitops}, Helm {rules.helm}, "
        f"other controllers {rules.controller}, VPA {rules.vpa}"
    )
    if isinstance(facts.rollout_paused, Unknown):
        return _OWNERSHIP.unknown("pause of the rollout", facts.rollout_paused, threshold)
    if facts.rollout_paused:
        remedy = "whoever paused the rollout resumes it, once what it rolls out is right"
        return _OWNERSHIP.deny(Code.ROLLOUT_PAUSED, "the rollout is paused", threshold, remedy)
    if isinstance(facts.managers, Unknown):
        return _OWNERSHIP.unknown("other writers of the object", facts.managers, threshold)
    if case.step is None:
        return _without_step(facts.owners, threshold)
    if isinstance(facts.owners, Unknown):
        return _OWNERSHIP.unknown("other controllers of the object", facts.owners, threshold)
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
            return _OWNERSHIP.deny(
                Code.OWNED, owner.clause, threshold, f"it is changed in {owner}: {owner.edit}"
            )
    return _OWNERSHIP.allow("no step, so nothing is changed", threshold)


def _judged(case: Case, step: Step, owners: Owners, threshold: str) -> GateResult:
    rules, facts = case.rule.ownership, case.facts
    managers = () if isinstance(facts.managers, Unknown) else _concerned(facts.managers, step)
    writers = [_Writer(_mode(rules, m), _TITLES[m], "", "") for m in managers]
    writers += [_writer(rules, o, step) for o in owners.found if _changes(o, step)]
    value = _value(writers, owners)
    denied = [w for w in writers if w.mode is OwnedMode.DENY]
    if denied:
        through = _all_of([w.name for w in denied if not w.where])
        where = few([w.where for w in denied if w.where], _SHOWN) + (
            [f"the change is made through {through}"] if through else []
        )
        return _OWNERSHIP.deny(Code.OWNED, value, threshold, "; ".join(where))
    asked = [w for w in writers if w.mode is OwnedMode.ASK]
    if not asked:
        return _OWNERSHIP.allow(value, threshold)
    if facts.approved_by:
        return _OWNERSHIP.allow(f"{value}; approved by {facts.approved_by}", threshold)
    revert = f"a person approves that {_all_of([w.name for w in asked])} may revert it"
    elsewhere = "; ".join(few([w.where for w in asked if w.where], _SHOWN))
    remedy = f"{elsewhere}, or {revert}" if elsewhere else revert
    return _OWNERSHIP.hold(case.question, Code.OWNED, value, threshold, remedy)


def _all_of(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return " and ".join([*names[:_SHOWN], *([f"{more:,} more"] if more > 0 else [])])


def _value(writers: Sequence[_Writer], owners: Owners) -> str:
    managed = " and ".join(w.name for w in writers if not w.clause)
    clauses = [f"managed by {managed}"] if managed else []
    clauses += few([w.clause for w in writers if w.clause], _SHOWN)
    told = "; ".join(clauses) or "nobody else writes what this changes"
    return told + (
        f"; not known: {', '.join(owners.untold)}, which may not be listed" if owners.untold else ""
    )


def _changes(owner: Owner, step: Step) -> bool:
    """Whether the step changes what this owner owns. A pod that is deleted belongs to its workload's owner too."""
    kinds = {a.kind for a in step.actions}
    if owner.relation is Relation.SIZES:
        paths = [c.path for a in step.actions if a.kind is ActionKind.RAISE_MEMORY_LIMIT for c in a.changes]
        mine = [f"/[name={part}]/" for part in owner.parts]
        return ActionKind.RAISE_MEMORY_LIMIT in kinds and (
            not mine or any(one in path for path in paths for one in mine)
        )
    if owner.relation in (Relation.SCALES, Relation.RESIZES):
        return bool(kinds & _REPLICAS)
    if owner.relation in _ELSEWHERE and not kinds & _SPEC:
        return False
    touched = {a.object.kind for a in step.actions}
    return owner.of in touched or (owner.of not in (Kind.HPA, Kind.SCALED_OBJECT) and Kind.POD in touched)


def _writer(rules: Ownership, owner: Owner, step: Step) -> _Writer:
    """What one owner means for this step. What only an owner's own object can change is denied: nobody can approve that
    KEDA leaves its autoscaler alone, or that a Deployment without pods restarts some."""
    where = f"it is changed in {owner}: {owner.edit}"
    if owner.relation is Relation.SIZES:
        return _Writer(rules.vpa, str(owner), owner.clause, where)
    if owner.relation is Relation.TEMPLATE:
        return _Writer(OwnedMode.DENY, str(owner), owner.clause, where)
    if owner.relation is Relation.SCALES:
        return _Writer(OwnedMode.DENY, str(owner), owner.clause, owner.bounds(step.actions) or where)
    if owner.relation is Relation.RESIZES:
        return _Writer(rules.controller, str(owner), owner.clause, "")
    if owner.relation in _ELSEWHERE:
        mode = rules.gitops if owner.relation is Relation.DECLARES else rules.helm
        return _Writer(
            mode,
            str(owner),
            f"{owner.of} {_ELSEWHERE[owner.relation].format(owner)}",
            f"it is changed where {owner} takes it from",
        )
    clause = owner.clause
    if owner.of is Kind.HPA and owner.kind == _SCALED_OBJECT:
        return _Writer(OwnedMode.DENY, str(owner), clause, owner.bounds(step.actions) or where)
    return _Writer(rules.controller, str(owner), clause, where)


def _concerned(managers: tuple[Manager, ...], step: Step) -> list[Manager]:
    kinds = {a.kind for a in step.actions}
    return [m for m in managers if kinds & _CONCERNS[m]]


def _mode(rules: Ownership, manager: Manager) -> OwnedMode:
    if manager is Manager.HPA:
        return rules.hpa
    return rules.helm if manager is Manager.HELM else rules.gitops


# Gate: could a new pod start? A step that replaces or adds pods helps nobody when the cluster cannot start them, and
# takes running ones down without a replacement at worst.

_NEW_PODS = Voice("new pods")


@_NEW_PODS.of
def new_pods(case: Case) -> GateResult:
    """Deny when something stands in the way of a new pod; ask (or as the rule says) when a part of the proof cannot be read. What takes a right
    that is optional, and was not granted, closes nothing."""
    mode = case.rule.new_pods.unknown
    threshold = f"nothing stands in a new pod's way; what cannot be read: {mode}"
    if case.step is None:
        return _NEW_PODS.allow("no step, so no new pods", threshold)
    facts = case.facts.new_pods
    if isinstance(facts, Unknown):
        return _NEW_PODS.unknown("whether a new pod could start", facts, threshold)
    if facts.found(Finding.UNTOLD):
        threshold += "; what takes an optional right that was not granted, or cannot be told: allow"
    if obstacles := facts.found(Finding.MISSING):
        remedy = _remedies(obstacles)
        return _NEW_PODS.deny(Code.POD_CANNOT_START, _told(obstacles), threshold, remedy)
    unproven = facts.found(Finding.UNKNOWN)
    if not unproven:
        return _NEW_PODS.allow(_proven(facts), threshold)
    return _unproven(case, facts, unproven, threshold)


def _unproven(case: Case, facts: NewPods, unproven: Sequence[PodCheck], threshold: str) -> GateResult:
    """What cannot be read opens by the rule's word, but never for a step that may take all running pods down."""
    mode = case.rule.new_pods.unknown
    value = f"not proven: {_told(unproven)}"
    if facts.all_down:
        value += "; the step may take all running pods down at once"
    if mode is OwnedMode.DENY:
        return _NEW_PODS.deny(Code.POD_UNPROVEN, value, threshold, _read_it(unproven))
    if mode is OwnedMode.ALLOW and not facts.all_down:
        return _NEW_PODS.allow(value, threshold)
    if case.facts.approved_by:
        return _NEW_PODS.allow(f"{value}; approved by {case.facts.approved_by}", threshold)
    remedy = f"{_read_it(unproven)}, or a person approves without"
    return _NEW_PODS.hold(case.question, Code.POD_UNPROVEN, value, threshold, remedy)


def _read_it(unproven: Sequence[PodCheck]) -> str:
    return _remedies(unproven) or "it can be read again"


def _remedies(checks: Sequence[PodCheck]) -> str:
    return "; ".join(few(list(dict.fromkeys(c.remedy for c in checks if c.remedy)), _SHOWN))


def _proven(facts: NewPods) -> str:
    if not facts.checks:
        return "nothing known stands in the way of a new pod"
    proven = ", ".join(c.part for c in facts.found(Finding.OK))
    untold = facts.found(Finding.UNTOLD)
    rest = f"; not known: {_told(untold)}" if untold else ""
    return f"a new pod could start ({proven}){rest}"


def _told(checks: Sequence[PodCheck]) -> str:
    return "; ".join(few([c.text for c in checks], _SHOWN))


# Gate: how much could go wrong at once? Ready pods put at risk, and targets changed at the same time.
#
# At risk are ready pods that the step could take down at once, not pods that are broken already: a workload with no
# ready pod endangers nothing by being rolled back. Broken pods count as spent instead. Shares are rounded down, with
# an explicit minimum, so that rounding never exceeds the limit.

_BLAST_RADIUS = Voice("blast radius")
_COUNTS_BROKEN = frozenset({Kind.DEPLOYMENT, Kind.DAEMON_SET})
"""Kinds whose controller takes pods that are already unavailable out of maxUnavailable before it touches ready ones. A
StatefulSet replaces by ordinal, so a ready pod may be the next one."""


@_BLAST_RADIUS.of
def blast_radius(case: Case) -> GateResult:
    """Deny when more ready pods are at risk than the rule allows, or when too many targets would be in flight."""
    rules = case.rule.blast_radius
    threshold = f"{rules.pods} of the ready pods, at least {rules.minimum}; {counted(rules.targets_in_flight, 'target')} in flight"
    in_flight = case.facts.targets_in_flight
    if isinstance(in_flight, Unknown):
        return _BLAST_RADIUS.unknown("targets in flight", in_flight, threshold)
    targets = f"{counted(in_flight + 1, 'target')} in flight"
    if in_flight >= rules.targets_in_flight:
        value = f"{targets} with this one"
        return _BLAST_RADIUS.deny(Code.BLAST_RADIUS, value, threshold, "a run on another target ends")
    if case.step is None or case.step.pods_affected == 0:
        return _BLAST_RADIUS.allow(f"0 pods at risk; {targets}", threshold)
    replicas = case.facts.replicas
    if isinstance(replicas, Unknown):
        return _BLAST_RADIUS.unknown("ready pods", replicas, threshold)
    risk, allowed = at_risk(case.step, replicas), allowance(case, replicas)
    pods = f"{risk} of {counted(replicas.ready, 'ready pod')} at risk, {allowed} allowed, {replicas.broken} broken"
    value = f"{pods}; {targets}"
    if risk > allowed:
        remedy = f"more of the {replicas.desired} pods are ready, or the step touches fewer"
        return _BLAST_RADIUS.deny(Code.BLAST_RADIUS, value, threshold, remedy)
    return _BLAST_RADIUS.allow(value, threshold)


def at_risk(step: Step, replicas: Replicas) -> int:
    """Ready pods that the step could take down at once, in pods.

    `pods_affected` of a rolling change counts every pod that it replaces in the end; at once it takes down what the
    controller's own bound lets it, less (for a Deployment or DaemonSet) what is broken already.
    """
    risk = 0
    for action in step.actions:
        if action.kind is ActionKind.SCALE:  # the pods that go are what was asked for
            continue
        if action.kind not in ROLLING:
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
