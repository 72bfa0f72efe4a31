"""What stands around the pods and keeps their traffic away: Services without endpoints, the autoscaler, network policies.

Pure. Ready pods that get no requests are an outage too, and no change of the pods ends it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

from app.domain.json import Obj
from app.domain.redact import redact
from app.domain.target import Kind
from app.kube.parse import parse_time, selects
from remediations.causes.changes import last_write
from remediations.causes.model import Cause, CauseCode, Snapshot, Sureness
from remediations.evidence.units import count, short, span

_FRESH_POLICY = timedelta(hours=1)


def around_causes(seen: Snapshot) -> Iterator[Cause]:
    """Services, then the autoscaler, then network policies."""
    labels = seen.workload.pod_labels
    for service in seen.services:
        found = _service(seen, service, labels)
        if found is not None:
            yield found
    yield from _autoscaler(seen)
    yield from _policies(seen, labels)


def _service(seen: Snapshot, service: Obj, labels: Mapping[str, str]) -> Cause | None:
    spec, name = service.get("spec") or {}, service["metadata"]["name"]
    selector: Mapping[str, str] = spec.get("selector") or {}
    if not selector or spec.get("type") == "ExternalName":
        return None
    if all(labels.get(k) == v for k, v in selector.items()):
        return _ports(seen, service) if seen.ready else None
    if seen.selected.get(name, 1) or not meant(seen, service):
        return None
    wanted = ",".join(f"{k}={v}" for k, v in sorted(selector.items()))
    wrong = ", ".join(
        f"{k}={labels.get(k, 'nothing')}" for k, v in sorted(selector.items()) if labels.get(k) != v
    )
    write = last_write(service)
    when = (
        f"; the Service was last changed {span((seen.now - write.at).total_seconds())} ago{f' by {write.by}' if write.by else ''}"
        if write
        else ""
    )
    return Cause(
        code=CauseCode.SERVICE_SELECTOR,
        object=f"Service {name}",
        sureness=Sureness.CERTAIN if name == seen.workload.target.name else Sureness.LIKELY,
        text=f"Service {name} has no endpoint: it selects {wanted}, and the pods have {wrong}{when}",
        advice=f"correct the selector of Service {name}, or the labels of the pod template",
        fields=("metadata.labels",),
        objects=((Kind.SERVICE, name),),
        since=write.at if write else None,
    )


def meant(seen: Snapshot, service: Obj) -> bool:
    """Is this Service for the workload, although it does not select its pods? By its name, or by most of its selector."""
    selector, labels = (service.get("spec") or {}).get("selector") or {}, seen.workload.pod_labels
    fits = sum(labels.get(k) == v for k, v in selector.items())
    if not selector or fits == len(selector):
        return False
    named: bool = service["metadata"]["name"] == seen.workload.target.name
    return named or fits * 2 >= len(selector) > 1


def _ports(seen: Snapshot, service: Obj) -> Cause | None:
    """A port of a Service that its pods do not have."""
    name = service["metadata"]["name"]
    containers: Sequence[Obj] = [
        *(seen.spec.get("containers") or ()),
        *(c for c in seen.spec.get("initContainers") or () if c.get("restartPolicy") == "Always"),
    ]
    named = {p["name"] for c in containers for p in c.get("ports") or () if p.get("name")}
    numbers = {p["containerPort"] for c in containers for p in c.get("ports") or () if "containerPort" in p}
    for port in (service.get("spec") or {}).get("ports") or ():
        target: Any = port.get("targetPort", port.get("port"))
        if isinstance(target, str) and not target.isdecimal() and target not in named:
            sure, what = Sureness.CERTAIN, f"targetPort {target!r}, which no container names"
        elif str(target).isdecimal() and numbers and int(target) not in numbers:
            sure, what = Sureness.POSSIBLE, f"targetPort {target}, which no container declares"
        else:
            continue
        have = ", ".join([*sorted(named), *map(str, sorted(numbers))]) or "none"
        return Cause(
            code=CauseCode.SERVICE_PORT,
            object=f"Service {name}",
            sureness=sure,
            text=f"Service {name} sends port {port.get('port')} to {what} (they have {have})",
            advice=f"correct targetPort of Service {name}, or the ports of the pod template",
            fields=("containers[*].ports",),
            objects=((Kind.SERVICE, name),),
            since=write.at if (write := last_write(service)) else None,
        )
    return None


def _autoscaler(seen: Snapshot) -> Iterator[Cause]:
    manifest = seen.autoscaler
    if manifest is None:
        return
    status, spec = manifest.get("status") or {}, manifest.get("spec") or {}
    conditions = {c["type"]: c for c in status.get("conditions") or ()}
    active = conditions.get("ScalingActive") or {}
    if active.get("status") == "False" and active.get("reason") != "ScalingDisabled":
        said = short(redact(active.get("message", "")), 200)
        asks = (
            "set requests for every container"
            if "missing request" in said
            else "repair where its metrics come from"
        )
        yield _scaler(seen, f"does not scale ({active.get('reason', 'no reason')}): {said}", asks, active)
    able = conditions.get("AbleToScale") or {}
    if able.get("status") == "False" and able.get("reason") not in (
        "BackoffBoth",
        "BackoffUpscale",
        "BackoffDownscale",
    ):
        said = short(redact(able.get("message", "")), 200)
        yield _scaler(
            seen,
            f"cannot scale ({able.get('reason', 'no reason')}): {said}",
            "let it read and write the scale",
            able,
        )
    limited, most = conditions.get("ScalingLimited") or {}, spec.get("maxReplicas")
    if (
        limited.get("status") == "True"
        and limited.get("reason") == "TooManyReplicas"
        and status.get("desiredReplicas") == most
    ):
        text = f"is at its maximum of {count(int(most or 0), 'replica')} and would want more"
        yield _scaler(seen, text, f"raise maxReplicas above {most}, if the load is meant", limited)


def _scaler(seen: Snapshot, text: str, advice: str, condition: Mapping[str, Any]) -> Cause:
    name = (seen.autoscaler or {})["metadata"]["name"]
    return Cause(
        code=CauseCode.AUTOSCALER,
        object=f"HorizontalPodAutoscaler {name}",
        sureness=Sureness.POSSIBLE,
        text=f"HorizontalPodAutoscaler {name} {text}",
        advice=f"HorizontalPodAutoscaler {name}: {advice}",
        fields=("containers[*].resources",),
        objects=((Kind.HPA, name),),
        since=parse_time(condition.get("lastTransitionTime")),
    )


def _policies(seen: Snapshot, labels: Mapping[str, str]) -> Iterator[Cause]:
    """Policies that select the pods and are new: named as possible, because nothing tells whether they block."""
    for policy in seen.policies:
        spec, name = policy.get("spec") or {}, policy["metadata"]["name"]
        write = last_write(policy)
        if (
            not selects(spec.get("podSelector"), labels)
            or write is None
            or seen.now - write.at > _FRESH_POLICY
        ):
            continue
        kinds = " and ".join(spec.get("policyTypes") or ("Ingress",))
        yield Cause(
            code=CauseCode.NETWORK_POLICY,
            object=f"NetworkPolicy {name}",
            sureness=Sureness.POSSIBLE,
            text=f"NetworkPolicy {name} ({kinds}) selects the pods and was changed {span((seen.now - write.at).total_seconds())} ago",
            advice=f"check whether NetworkPolicy {name} lets through what the pods need",
            objects=((Kind.NETWORK_POLICY, name),),
            since=write.at,
        )
