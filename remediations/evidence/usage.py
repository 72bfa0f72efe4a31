"""Momentary CPU and memory of a workload's pods against their limits: the runbook's `kubectl top pods`.

Called by the handlers. Reads the metrics API through the cluster port; without it, the finding says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.domain.cluster import Cluster, PodUsage
from app.domain.errors import ClusterRefused, TryLater
from app.domain.evidence import Certainty, Finding
from app.domain.json import JsonValue
from app.domain.workload import Pod, Workload
from remediations.evidence.units import count, memory, millicores, percent

_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Load:
    """One pod's usage: memory in bytes, CPU in millicores; shares are of the fullest container's limit, None without
    a limit."""

    pod: str
    memory: int
    cpu: int
    memory_share: float | None
    cpu_share: float | None
    text: str


async def usage_finding(cluster: Cluster, workload: Workload, pods: Sequence[Pod]) -> Finding:
    """The finding `usage.pods`; its data has `cpu_share` (mean of the pods) and `memory_share` (highest), each None
    when no limit is set."""
    try:
        measured = await cluster.pod_usage(workload.target.namespace, workload.selector)
    except (TryLater, ClusterRefused) as e:
        return Finding("usage.pods", f"Usage of the pods is not known: {e.message}", Certainty.UNKNOWN)
    known = {p.name: p for p in pods}
    loads = [load_of(u, known[u.pod]) for u in measured if u.pod in known]
    if not loads:
        return Finding("usage.pods", "The metrics API has no values for these pods yet", Certainty.UNKNOWN)
    loads.sort(key=lambda x: (-x.memory, x.pod))
    cpu = [x.cpu_share for x in loads if x.cpu_share is not None]
    used = [x.memory_share for x in loads if x.memory_share is not None]
    cpu_share = round(sum(cpu) / len(cpu), 4) if cpu else None
    memory_share = round(max(used), 4) if used else None
    data: dict[str, JsonValue] = {
        "pods": len(loads),
        "cpu_share": cpu_share,
        "memory_share": memory_share,
        "cpu": sum(x.cpu for x in loads),
        "memory": sum(x.memory for x in loads),
    }
    text = f"{count(len(loads), 'pod')} measured: {_cpu(loads, cpu_share)}, {_memory(loads, memory_share)}"
    return Finding("usage.pods", text, data=data, details=tuple(x.text for x in loads[:_SHOWN]))


def _cpu(loads: Sequence[Load], share: float | None) -> str:
    mean = sum(x.cpu for x in loads) // len(loads)
    if share is None:
        return f"CPU {millicores(mean)} on average without a limit"
    return f"CPU {percent(share)} of the limit on average"


def _memory(loads: Sequence[Load], share: float | None) -> str:
    if share is None:
        return f"memory {memory(loads[0].memory)} at most without a limit"
    return f"memory {percent(share)} of the limit at most"


def load_of(usage: PodUsage, pod: Pod) -> Load:
    """Usage of one pod against the limits of its containers."""
    limits = {s.name: s for s in pod.specs if not s.init}
    memory_shares, cpu_shares = [], []
    for name, spec in limits.items():
        if spec.memory_limit and name in usage.memory:
            memory_shares.append(usage.memory[name] / spec.memory_limit)
        if spec.cpu_limit and name in usage.cpu:
            cpu_shares.append(usage.cpu[name] / spec.cpu_limit)
    used, cpu = usage.total_memory, sum(usage.cpu.values())
    memory_limit = _total([s.memory_limit for s in limits.values()])
    cpu_limit = _total([s.cpu_limit for s in limits.values()])
    row = (
        f"{usage.pod}: CPU {millicores(cpu)} of {millicores(cpu_limit) if cpu_limit else 'no limit'}, "
        f"memory {memory(used)} of {memory(memory_limit) if memory_limit else 'no limit'}"
    )
    return Load(usage.pod, used, cpu, max(memory_shares, default=None), max(cpu_shares, default=None), row)


def _total(limits: Sequence[int | None]) -> int | None:
    """A pod has a limit only when all its containers have one."""
    known = [x for x in limits if x is not None]
    return sum(known) if known and len(known) == len(limits) else None
