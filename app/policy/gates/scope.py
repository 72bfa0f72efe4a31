"""Gate: may the service touch this object at all? Namespaces, kinds, and the mark its owners put on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.domain.cluster import OPT
from app.domain.decision import Code, GateResult
from app.domain.plan import INSIDE
from app.domain.target import Kind
from app.policy.facts import Unknown
from app.policy.gates.case import Case, Voice
from app.policy.model import PROTECTED_NAMESPACES, Opt, Scope

_SAY = Voice("scope")


def off_limits_by_name(rules: Scope, namespace: str) -> bool:
    """Whether the namespace is none of ours, so that nothing in it is read. A protected kind in one of ours is read: what is
    wrong with it is what its people want to know."""
    return namespace in PROTECTED_NAMESPACES or not rules.covers(namespace)


def mark_of(metadata: Mapping[str, Any]) -> str | None:
    """The opt-in or opt-out mark on an object, by its label or else its annotation; None without one."""
    value = (metadata.get("labels") or {}).get(OPT) or (metadata.get("annotations") or {}).get(OPT)
    return None if value is None else str(value)


@_SAY.of
def scope(case: Case) -> GateResult:
    """Deny outside of the namespaces, for protected namespaces and kinds, and where the owners opted out."""
    rules, target = case.policy.scope, case.facts.target
    within = f"namespaces {', '.join(rules.namespaces)}"
    if rules.exclude_namespaces:
        within += f" except {', '.join(rules.exclude_namespaces)}"
    if target.namespace in PROTECTED_NAMESPACES:
        value = f"namespace {target.namespace} is protected"
        return _SAY.deny(Code.PROTECTED, value, within, "never: the cluster itself lives there")
    if not rules.covers(target.namespace):
        remedy = "the policy's scope names the namespace"
        return _SAY.deny(Code.OUT_OF_SCOPE, f"namespace {target.namespace}", within, remedy)
    protected = sorted(_touched(case) & set(rules.protected_kinds))
    if protected:
        remedy = "the policy no longer protects the kind"
        return _SAY.deny(Code.PROTECTED, f"kind {protected[0]} is protected", within, remedy)
    marks = case.facts.marks
    if isinstance(marks, Unknown):
        return _SAY.unknown("opt-in and opt-out marks", marks, within)
    return _opted(rules.opt, marks, f"namespace {target.namespace}", within)


def _touched(case: Case) -> set[Kind]:
    """The kinds of objects that are changed; without a step the target's. What goes on inside of a workload, such as a
    session of a database, or beside it, such as a Job, is no change of it. A procedure without a step says itself why."""
    kind = case.facts.target.kind
    if case.step is None or not case.step.actions:
        return set() if case.rule.procedure else {kind}
    touched = {a.object.kind for a in case.step.actions if a.kind not in INSIDE}
    return {kind, *touched} if touched else set()


def _opted(opt: Opt, marks: Mapping[str, str], value: str, within: str) -> GateResult:
    for where, mark in sorted(marks.items()):
        if mark not in ("true", "false"):
            remedy = f'{OPT} on the {where} is "true" or "false"'
            return _SAY.deny(Code.OPTED_OUT, f"{OPT}={mark!r} on the {where}", within, remedy)
        if mark == "false":
            remedy = f"{OPT} on the {where} is removed"
            return _SAY.deny(Code.OPTED_OUT, f"{OPT}=false on the {where}", within, remedy)
    if opt is Opt.IN and not marks:
        remedy = f"{OPT}=true is set on the object or its namespace"
        return _SAY.deny(Code.OPTED_OUT, f"{OPT} is not set", f"{within}, opted in", remedy)
    return _SAY.allow(value, within if opt is Opt.OUT else f"{within}, opted in")
