"""The sections about a namespace. What belongs to a workload that opted out is in none of them. Called by `look`; reads only."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from functools import partial

from app.domain.cluster import Cluster, measured_lately
from app.domain.target import Kind
from app.domain.workload import RolloutState, Workload
from app.flow.diagnosing import workload as of
from app.flow.diagnosing.inside import Inside
from app.kube.rollout import rollout_status

Asked = tuple[str, Callable[[], Awaitable[Sequence[str]]], str]


def about(cluster: Cluster, namespace: str, now: datetime, inside: Inside) -> tuple[Asked, ...]:
    """Name, reading and what is said of none, of each section."""
    return (
        ("Workloads", partial(_workloads, inside), "none with pods or revisions"),
        ("Pods not ready", partial(_not_ready, inside, now), "none"),
        (
            "Usage",
            partial(_usage, cluster, namespace, now, inside),
            "the metrics API has no values of the last minutes",
        ),
        (
            "Warnings, last hour",
            partial(of.warnings_of, cluster, namespace, now, inside.only, inside.hidden),
            "none",
        ),
        ("Endpoints", partial(_endpoints, cluster, namespace, inside), "no Service"),
        ("Disruption budgets", partial(_budgets, cluster, namespace), "none"),
        ("Quota and limits", partial(of.quotas, cluster, namespace), "none"),
    )


def is_sound(workload: Workload) -> bool:
    """Rolled out, with all its pods ready."""
    return workload.ready >= workload.desired and rollout_status(workload).state is RolloutState.COMPLETE


async def _workloads(inside: Inside) -> Sequence[str]:
    lines = [f"{_line(w)}{f'; not read: {why}' if why else ''}" for w, why in inside.workloads]
    return [*lines, *inside.notes]


def _line(workload: Workload) -> str:
    managers = [m.value for m in workload.managers]
    by = f"; by {', '.join(managers)}" if managers else ""
    state = rollout_status(workload).state.value
    return f"{workload.target.kind}/{workload.target.name}: {workload.ready} of {workload.desired} ready, {state}{by}"


async def _not_ready(inside: Inside, now: datetime) -> Sequence[str]:
    broken = [p for p in sorted(inside.pods, key=lambda p: p.name) if not p.ready and not p.over]
    more = [f"{inside.more} more pods were not looked at"] if inside.more else []
    return [*more, *(of.pod_line(p, now) for p in broken)]


async def _usage(cluster: Cluster, namespace: str, now: datetime, inside: Inside) -> Sequence[str]:
    measured = measured_lately(await cluster.pod_usage(namespace, ""), now)
    used = [u for u in measured if u.pod not in inside.hidden]
    rows = sorted(used, key=lambda u: -u.total_memory)
    return [f"{u.pod}: CPU {sum(u.cpu.values())}m, memory {u.total_memory // 2**20} MiB" for u in rows]


async def _endpoints(cluster: Cluster, namespace: str, inside: Inside) -> Sequence[str]:
    """Of the pods that may be shown."""
    pods = [p for p in inside.pods if not p.over]
    lines = []
    for service in await cluster.list_objects(Kind.SERVICE, namespace):
        selector = service["spec"].get("selector") or {}
        chosen = [p for p in pods if selector and selector.items() <= p.labels.items()]
        told = f"{sum(p.ready for p in chosen)} of {len(chosen)} pods ready" if selector else "no selector"
        lines.append(f"Service {service['metadata']['name']}: {told}")
    return lines


async def _budgets(cluster: Cluster, namespace: str) -> Sequence[str]:
    found = await cluster.list_objects(Kind.PDB, namespace)
    return [
        f"PodDisruptionBudget {m['metadata']['name']}: {(m.get('status') or {}).get('disruptionsAllowed', '?')} disruptions allowed"
        for m in found
    ]
