"""Why a pod whose containers are ready is not: a readiness gate is not passed, and its own condition says what its controller, mostly a load balancer's,
found. Pure."""

from __future__ import annotations

import re
from dataclasses import replace

from app.domain.workload import Pod, PodCondition
from app.kube.quoted import told_by
from remediations.causes import demands, sizes
from remediations.causes.model import At, Cause, CauseCode, Snapshot, Sureness

_CHECKED = re.compile(
    r"ResponseCodeMismatch|FailedHealthChecks|Target\.Timeout|health ?checks? (?:has |have )?failed|fail(?:ed|s|ing) (?:its |the )?health ?checks?|\bunhealthy\b",
    re.IGNORECASE,
)
"""What a load balancer's controller says of a pod that did not answer its health check well; not of one that it has yet to register or to ask."""


def gate_cause(seen: Snapshot, pod: Pod) -> Cause | None:
    """A readiness gate is not passed. The kubelet names one of them; what its controller found stands in the gate's own condition."""
    ready = pod.condition("Ready")
    if ready is None or not pod.gated:
        return None
    asked = (seen.specs.get(pod.name) or seen.spec).get("readinessGates") or ()
    told = [c for g in asked if (c := pod.condition(g.get("conditionType", ""))) and c.status != "True"]
    if failed := next((c for c in told if _CHECKED.search(c.reason) or _CHECKED.search(c.message)), None):
        return _unhealthy(seen, pod, failed)
    said = told_by(ready.message, 200)
    advice = "find out why the controller of that readiness gate does not set it (mostly a load balancer's)"
    if own := next((c for c in told if c.reason or c.message), None):
        said = f"{told_by(own.type, 100)} says {_told(own)}"
        advice = f"see why its controller, mostly a load balancer's, does not pass it: {_told(own)}"
    return Cause(
        code=CauseCode.READINESS_GATE,
        object=f"Pod {pod.name}",
        sureness=Sureness.CERTAIN,
        text=f"the containers of pod {pod.name} are ready, a readiness gate is not: {said}",
        advice=advice,
        pods=(pod.name,),
        demands=(demands.listed("readinessGates"),),
        since=ready.since,
    )


def _told(condition: PodCondition) -> str:
    return told_by(": ".join(filter(None, (condition.reason, condition.message))), 200)


def _unhealthy(seen: Snapshot, pod: Pod, gate: PodCondition) -> Cause | None:
    """A load balancer asks a pod as a readiness probe does, and what the pod's containers run answers: the one with a port, where only one has any."""
    listed = (seen.specs.get(pod.name) or seen.spec).get("containers") or ()
    names = [c.get("name") for c in listed if c.get("ports") or len(listed) == 1]
    states = [c for c in pod.containers if c.name in names] or list(pod.containers)
    if not states:
        return None
    at, ready = At(seen, pod, states[0]), pod.condition("Ready")
    found = at.cause(
        CauseCode.READINESS_PROBE,
        f"health check of a load balancer of pod {pod.name} fails (readiness gate {told_by(gate.type, 100)}): {_told(gate)}",
        f"find out why {'the pod' if len(states) > 1 else at.state.name} answers the load balancer so ({_told(gate)}), or correct that health check",
        demands=(
            demands.listed("readinessGates"),
            *sizes.of_container(CauseCode.READINESS_PROBE, at.where, killed=False),
        ),
        since=ready.since if ready is not None else gate.since,
    )
    return found if len(states) == 1 else replace(found, container="", fields=("containers", *found.fields))
