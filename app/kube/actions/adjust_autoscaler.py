"""Other bounds or another target for a workload's HorizontalPodAutoscaler.

Built by handlers. Pure. An autoscaler that KEDA makes is changed in its ScaledObject (`adjust_scaled_object`), or KEDA sets it back.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from app.domain.json import JsonValue, Obj, canonical
from app.domain.plan import Action, ActionKind, FieldChange
from app.domain.target import Kind
from app.domain.workload import Workload
from app.kube.impossible import Impossible
from app.kube.look import HOLDS
from app.kube.manifest import same
from app.kube.parse import parse_ref
from app.kube.scaled_objects import FIELDS, maker_of


@dataclass(frozen=True, slots=True)
class Bounds:
    """What is wanted; None or empty stays as it is. `utilization` is the target in percent of the request of `resource`, `average` the
    target of a pod as a quantity of it: an autoscaler has one of the two for a resource. With `metric`, the name of a metric that is no
    resource, the target is that one's: `average` of a pod, or `value` as a whole."""

    minimum: int | None = None
    maximum: int | None = None
    utilization: int | None = None
    resource: str = "cpu"
    average: str = ""
    metric: str = ""
    value: str = ""


def adjust_autoscaler(workload: Workload, hpa: Obj, wanted: Bounds) -> Action | Impossible:
    """Set what differs of `wanted` on this autoscaler, as it was just read."""
    spec, name = hpa["spec"], hpa["metadata"]["name"]
    if owner := maker_of(hpa):
        return _of_keda(workload, name, owner, wanted)
    low = spec.get("minReplicas", 1) if wanted.minimum is None else wanted.minimum
    high = spec["maxReplicas"] if wanted.maximum is None else wanted.maximum
    if low > high:
        return Impossible(f"autoscaler {name} cannot hold at least {low} and at most {high} replicas")
    changes, words, holds = [], [], dict[str, JsonValue]()
    for key, value in (("minReplicas", low), ("maxReplicas", high)):
        before = spec.get(key)
        if value != (1 if before is None else before):
            changes.append(FieldChange(f"/spec/{key}", before, value))
            words.append(f"{key} from {before if before is not None else '1 (default)'} to {value}")
    for found in _targets(name, spec, wanted):
        if isinstance(found, str):
            return Impossible(found)
        changes.append(found.change)
        holds[found.change.path] = found.holds
        words.append(found.words)
    if not changes:
        return Impossible(f"autoscaler {name} has these values already", stands=True)
    return Action(
        kind=ActionKind.ADJUST_AUTOSCALER,
        object=parse_ref(Kind.HPA, hpa),
        target=workload.target,
        changes=tuple(changes),
        summary=f"Change autoscaler {name} of {workload.target}: {', '.join(words)}",
        pods_affected=0,
        reversible=True,
        undo=f"set autoscaler {name} back; it then scales by its own rules",
        params={"autoscaler": name, "min": low, "max": high},
        part={HOLDS: holds} if holds else {},
    )


_FIELDS: Final = {**FIELDS, "Value": "value"}
"""Where a target of this type stands."""
_SOURCES: Final = {
    "resource": "/name",
    "containerResource": "/name",
    "pods": "/metric/name",
    "object": "/metric/name",
    "external": "/metric/name",
}
"""The kinds of metrics, and where each has its name."""
_RESOURCES: Final = ("resource", "containerResource")


class _Metric(NamedTuple):
    """One metric of an autoscaler: where it stands, of which kind it is, where below it has its name, its name and its target."""

    path: str
    source: str
    named: str
    name: str
    target: Obj

    def __str__(self) -> str:
        type_ = str(self.target.get("type"))
        kind = "" if self.source == "resource" else f"{self.source} "
        return f"{kind}{self.name} ({type_} {self.target.get(_FIELDS.get(type_, ''))})"


def _metrics(spec: Obj) -> Iterator[_Metric]:
    for at, metric in enumerate(spec.get("metrics") or ()):
        for source, named in _SOURCES.items():
            if own := metric.get(source):
                name = (own.get("metric") or own).get("name", "")
                yield _Metric(
                    f"/spec/metrics/{at}/{source}", source, named, str(name), own.get("target") or {}
                )


class _Target(NamedTuple):
    """One target to be set: its change, what has to hold of the metric for it, and words."""

    change: FieldChange
    holds: JsonValue
    words: str


def _targets(name: str, spec: Obj, wanted: Bounds) -> Iterator[_Target | str]:
    """Each wanted target that differs, or why it cannot be set."""
    for type_, target, what, unit in (
        ("Utilization", wanted.utilization, "utilization", " %"),
        ("AverageValue", wanted.average, "average", ""),
        ("Value", wanted.value, "value", ""),
    ):
        if not target:
            continue
        found = _wanted(name, spec, wanted, type_, what)
        if isinstance(found, str):
            yield found
            continue
        field = _FIELDS[type_]
        change = FieldChange(f"{found.path}/target/{field}", found.target.get(field), target)
        if not same(change.path, change.before, change.after):
            holds = {f"{found.path}{found.named}": found.name}
            words = f"target {found.name} {what} from {change.before}{unit} to {change.after}{unit}"
            yield _Target(change, holds, words)


def _wanted(name: str, spec: Obj, wanted: Bounds, type_: str, what: str) -> _Metric | str:
    """The one metric that has the wanted target, or why there is none, with what there is."""
    all_of_it = list(_metrics(spec))
    asked = wanted.metric or wanted.resource
    own = [m for m in all_of_it if m.name == asked and (m.source in _RESOURCES) is not bool(wanted.metric)]
    found = [m for m in own if m.target.get("type") == type_]
    found = [
        m for m in found if m.source == "resource"
    ] or found  # of the pods before of one of their containers
    if len(found) == 1:
        return found[0]
    if found:
        return f"autoscaler {name} has {len(found)} targets for the {what} of {asked}; one of them is changed with kubectl edit"
    no = f"autoscaler {name} has no target for the {what} of {asked}"
    if own:
        has = str(own[0].target.get("type"))
        return f"{no}; it has a target of the type {has} ({own[0].target.get(_FIELDS.get(has, ''))})"
    told = ", ".join(map(str, all_of_it)) or "none"
    other = any(m.source not in _RESOURCES for m in all_of_it)
    how = "; the param metric names one that is no resource" if other and not wanted.metric else ""
    return f"{no}; its metrics: {told}{how}"


def _of_keda(workload: Workload, name: str, owner: str, wanted: Bounds) -> Impossible:
    """For whoever changes autoscalers alone; `adjust-hpa` changes the ScaledObject itself."""
    given = {"minReplicaCount": wanted.minimum, "maxReplicaCount": wanted.maximum}
    patch = canonical({"spec": {k: v for k, v in given.items() if v is not None}})
    how = f"kubectl patch scaledobject {owner} -n {workload.target.namespace} --type merge -p '{patch}'"
    low = f"--param min={wanted.minimum}" if wanted.minimum else "--param ..."
    order = f"remediator trigger adjust-hpa --target {workload.target} {low} --reason '...'"
    why = f"KEDA makes autoscaler {name} from ScaledObject {owner} and would set it back"
    return Impossible(why, f"{why}; change the ScaledObject: {order}, or {how}")
