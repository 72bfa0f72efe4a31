"""Higher memory limits for some containers of a workload, within the team's cap and the namespace's rules.

Built by handlers. Pure. LimitRanges and quotas are looked at first, because they refuse the *pods* and not the
workload: a limit beyond them would be accepted and then take the workload down.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from app.domain.plan import Action, ActionKind, FieldChange
from app.domain.units import say_memory
from app.domain.workload import ContainerSpec, Workload
from app.kube.impossible import Impossible
from app.kube.limits import MemoryRule, QuotaRoom
from app.kube.manifest import format_memory, pod_memory_limit, value_at
from app.kube.newpods.goal import refusal, surge_pods

_MIB = 1024**2


@dataclass(frozen=True, slots=True)
class Growth:
    """One container's new memory: limit, and request where it has one. Bytes."""

    container: ContainerSpec
    old_limit: int
    limit: int
    request: int | None
    bound: str = ""
    """What would have been more, and what does not allow it; empty where nothing bounds it."""

    @property
    def text(self) -> str:
        """For people."""
        grown = f"{self.container.name} {say_memory(self.old_limit)} -> {say_memory(self.limit)}"
        return f"{grown} [{self.bound}]" if self.bound else grown


@dataclass(frozen=True, slots=True)
class Killed:
    """Containers that were killed for memory. `ran_with`: the limits in bytes that their pods had, where those are not the template's;
    `before`: the higher limits of the revision before."""

    names: Collection[str]
    ran_with: Mapping[str, int] = field(default_factory=dict)
    before: Mapping[str, int] = field(default_factory=dict)


def raise_memory(
    workload: Workload,
    killed: Collection[str] | Killed,
    factor: float,
    cap_bytes: int,
    limit_ranges: Sequence[MemoryRule] = (),
    quota: Sequence[QuotaRoom] = (),
) -> Action | Impossible:
    """Multiply the memory limits of the named containers by `factor`, at most up to `cap_bytes` each: from what the pods that were killed
    had, and at least up to what the revision before had.

    A request equal to its limit is raised with it, so that the pod keeps its QoS class.
    """
    if no := refusal(workload, "a new limit"):
        return no
    growths: list[Growth] = []
    known = killed if isinstance(killed, Killed) else Killed(killed)
    for name in sorted(known.names):
        grown = _grow(workload, name, known, (factor, cap_bytes), limit_ranges)
        if isinstance(grown, Impossible):
            return grown
        growths.append(grown)
    if not growths:
        return Impossible("no container was named")
    if no := _pod_rules(workload, growths, limit_ranges) or _quota(workload, growths, quota):
        return no
    return Action(
        kind=ActionKind.RAISE_MEMORY_LIMIT,
        object=workload.ref,
        target=workload.target,
        changes=tuple(change for growth in growths for change in _changes(workload, growth)),
        summary=f"Raise memory limit of {workload.target}: {', '.join(g.text for g in growths)} ({workload.desired} pods)",
        pods_affected=workload.desired,
        reversible=True,
        undo="set back to " + ", ".join(f"{g.container.name} {say_memory(g.old_limit)}" for g in growths),
        params={
            "factor": factor,
            "cap": cap_bytes,
            "limits": {g.container.name: [g.old_limit, g.limit] for g in growths},
        },
    )


def _grow(
    workload: Workload, name: str, known: Killed, size: tuple[float, int], rules: Sequence[MemoryRule]
) -> Growth | Impossible:
    factor, cap = size
    spec = next((c for c in workload.containers if c.name == name), None)
    if spec is None:
        return Impossible(
            f"the template of {workload.target} has no container {name}: admission puts it in",
            f"raise the memory of {name} where admission takes it from: its injector's configuration, or an annotation of the pods",
        )
    if spec.memory_limit is None:
        return _no_limit(workload, name, rules)
    old = max(spec.memory_limit, known.ran_with.get(name, 0))
    wanted = max(_round_up(old, factor), known.before.get(name, 0))
    if wanted <= old:
        return Impossible(f"a factor of {factor:g} does not raise the {say_memory(old)} of container {name}")
    bounds = [(cap, f"the cap {say_memory(cap)}")]
    bounds += [
        (r.maximum, f"LimitRange {r.name}'s maximum {say_memory(r.maximum)}")
        for r in rules
        if r.per == "Container" and r.maximum is not None
    ]
    bound, bound_text = min(bounds)
    new = min(wanted, bound)
    if new <= old:
        return Impossible(
            f"container {name} has {say_memory(old)}; {say_memory(wanted)} is beyond {bound_text}",
            f"find out why {name} needs more than {say_memory(old)}, or raise {bound_text}",
        )
    request = new if spec.memory_request == spec.memory_limit else spec.memory_request
    less = f"{say_memory(wanted)} were wanted, {bound_text} allows no more" if new < wanted else ""
    return _ratio(rules, Growth(spec, spec.memory_limit, new, request, less))


def _no_limit(workload: Workload, name: str, rules: Sequence[MemoryRule]) -> Impossible:
    """Its template sets none: what bounds it then, and where a person raises that."""
    whole = pod_memory_limit(workload.manifest["spec"]["template"].get("spec") or {})
    if whole is not None:
        return Impossible(
            f"container {name} has no memory limit of its own, and its pod as a whole has {say_memory(whole)}",
            f"raise spec.resources.limits.memory of the pod template of {workload.target} beyond {say_memory(whole)}",
        )
    given = next((r for r in rules if r.per == "Container" and r.default is not None), None)
    if given is not None and given.default is not None:
        return Impossible(
            f"container {name} sets no memory limit and gets {say_memory(given.default)} from LimitRange {given.name}",
            f"set a memory limit for {name} in the pod template of {workload.target}, or raise the default of LimitRange {given.name}",
        )
    return Impossible(
        f"container {name} has no memory limit: it was the node that ran out of memory",
        f"give container {name} a memory request and limit that fit its usage",
    )


def _ratio(rules: Sequence[MemoryRule], growth: Growth) -> Growth | Impossible:
    for rule in rules:
        if rule.per != "Container" or rule.ratio is None or not growth.request:
            continue
        if growth.limit > growth.request * rule.ratio:
            name = growth.container.name
            return Impossible(
                f"container {name} would have a limit of {say_memory(growth.limit)} with a request of "
                f"{say_memory(growth.request)}; LimitRange {rule.name} allows {rule.ratio:g} times the request",
                f"raise the memory request of container {name} too",
            )
    return growth


def _pod_rules(
    workload: Workload, growths: Sequence[Growth], rules: Sequence[MemoryRule]
) -> Impossible | None:
    new = {g.container.name: g.limit for g in growths}
    total = sum(new.get(c.name, c.memory_limit or 0) for c in workload.containers if not c.first)
    for rule in rules:
        if rule.per == "Pod" and rule.maximum is not None and total > rule.maximum:
            return Impossible(
                f"a pod of {workload.target} would have {say_memory(total)}; LimitRange {rule.name} allows {say_memory(rule.maximum)} a pod",
                f"raise the maximum of LimitRange {rule.name}",
            )
    return None


def _quota(workload: Workload, growths: Sequence[Growth], rooms: Sequence[QuotaRoom]) -> Impossible | None:
    """At worst all pods are of the new size and the surge pods of the rolling update run besides."""
    surge = surge_pods(workload)
    for room in rooms:
        limits = room.resource == "limits.memory"
        more = sum(_increase(g, limits=limits) for g in growths)
        new = {g.container.name: (g.limit if limits else g.request or g.limit) for g in growths}
        pod = sum(new.get(c.name, _present(c, limits=limits)) for c in workload.containers if not c.first)
        needed = more * workload.desired + pod * surge
        if more and needed > room.left:
            return Impossible(
                f"{workload.desired} pods need {_mib(needed)} more {room.resource} during the rollout; quota "
                f"{room.name} has {_mib(max(0, room.left))} of {say_memory(room.hard)} left",
                f"raise {room.resource} of quota {room.name} by {_mib(needed - room.left)}",
            )
    return None


def _mib(amount: int) -> str:
    """In one unit, so that two numbers that are close can be told apart."""
    return f"{-(-amount // _MIB)} MiB"


def _increase(growth: Growth, *, limits: bool) -> int:
    if growth.container.first:
        return 0
    return growth.limit - growth.old_limit if limits else max(0, _asked(growth) - _present_request(growth))


def _asked(growth: Growth) -> int:
    return growth.request if growth.request is not None else growth.limit


def _present_request(growth: Growth) -> int:
    return (
        growth.container.memory_request if growth.container.memory_request is not None else growth.old_limit
    )


def _present(container: ContainerSpec, *, limits: bool) -> int:
    limit, request = container.memory_limit or 0, container.memory_request
    return limit if limits or request is None else request


def _round_up(amount: int, factor: float) -> int:
    """`amount` times `factor`, rounded up to whole MiB; the factor is taken as written (1.1 is 11/10)."""
    exact = amount * Fraction(str(factor))
    return -(-exact.numerator // (exact.denominator * _MIB)) * _MIB


def _changes(workload: Workload, growth: Growth) -> list[FieldChange]:
    group = "initContainers" if growth.container.init else "containers"
    base = f"/spec/template/spec/{group}/[name={growth.container.name}]/resources"
    limit, request = f"{base}/limits/memory", f"{base}/requests/memory"
    changes = [FieldChange(limit, value_at(workload.manifest, limit), format_memory(growth.limit))]
    if growth.request is not None and growth.request != growth.container.memory_request:
        before = value_at(workload.manifest, request)
        changes.append(FieldChange(request, before, format_memory(growth.request)))
    return changes
