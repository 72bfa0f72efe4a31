"""What somebody has stopped on purpose: scaled to 0, a paused rollout. Pure; the writer stands in managedFields."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from app.domain.target import Kind
from app.kube.owners import who_changed
from remediations.causes.model import Cause, CauseCode, Snapshot, Sureness
from remediations.evidence.units import count, span


def stopped_causes(seen: Snapshot) -> Iterator[Cause]:
    """Scaled to 0, or paused with a change that is not rolled out."""
    workload = seen.workload
    target = workload.target
    if workload.desired == 0 and target.kind is not Kind.DAEMON_SET:
        by, at = _writer(seen, "/spec/replicas")
        if not by:
            at = _scaled_down(seen)
        yield _scaled_to_zero(seen, by, at)
    elif workload.desired == 0:
        yield Cause(
            code=CauseCode.SCALED_TO_ZERO,
            object=f"{target.kind} {target.name}",
            sureness=Sureness.CERTAIN,
            text=f"no node is chosen by the node selector and tolerations of {target.kind} {target.name}",
            advice="label a node as the pod template's nodeSelector wants it",
            fields=("nodeSelector", "affinity", "tolerations"),
        )
    elif workload.paused and (workload.updated < workload.desired or workload.unavailable):
        by, at = _writer(seen, "/spec/paused")
        behind = count(max(0, workload.desired - workload.updated), "pod")
        yield Cause(
            code=CauseCode.PAUSED,
            object=f"{target.kind} {target.name}",
            sureness=Sureness.CERTAIN if workload.updated < workload.desired else Sureness.POSSIBLE,
            text=f"the rollout of {target.name} is paused{_by(seen, by, at)}, {behind} not updated",
            advice=f"kubectl rollout resume {target.kind.lower()}/{target.name} -n {target.namespace}, when that is meant",
            since=at,
        )


def _scaled_to_zero(seen: Snapshot, by: str, at: datetime | None) -> Cause:
    """Who stopped it decides how it is started again: what a controller holds at 0 cannot be scaled by hand."""
    target = seen.workload.target
    kind, namespace = target.kind.lower(), target.namespace
    text = f"{target.kind} {target.name} is scaled to 0{_by(seen, by, at)}"
    advice = (
        f"ask {by or 'who scaled it'} whether that is meant; kubectl scale {kind}/{target.name} -n {namespace} --replicas=N "
        "starts it again"
    )
    if seen.template_of:
        text = f"{target.kind} {target.name} is scaled to 0, because it is only the template of {seen.template_of}"
        advice = f"look at {seen.template_of} instead: its pods run from this template"
    elif by.startswith("keda"):
        name = _scaled_object(seen)
        text = f"KEDA scaled {target.kind} {target.name} to 0{_by(seen, '', at)}"
        advice = (
            f"see whether {name} is paused (annotation autoscaling.keda.sh/paused-replicas or paused) or sees no load: kubectl "
            f"describe scaledobject -n {namespace}; KEDA takes back what kubectl scale sets"
        )
    return Cause(
        code=CauseCode.SCALED_TO_ZERO,
        object=f"{target.kind} {target.name}",
        sureness=Sureness.CERTAIN,
        text=text,
        advice=advice,
        since=at,
    )


def _scaled_object(seen: Snapshot) -> str:
    """KEDA's own object, by the label of its autoscaler."""
    labels = (seen.autoscaler or {}).get("metadata", {}).get("labels") or {}
    name = labels.get("scaledobject.keda.sh/name")
    return f"ScaledObject {name}" if name else f"the ScaledObject of {seen.workload.target.name}"


def _writer(seen: Snapshot, path: str) -> tuple[str, datetime | None]:
    found = who_changed(seen.workload.manifest, path)
    return found[0] if found else ("", None)


_DOWN = ("ScalingReplicaSet", "SuccessfulDelete", "SuccessfulRescale")


def _scaled_down(seen: Snapshot) -> datetime | None:
    """When its controller took pods away last, as its events tell."""
    about = f"{seen.workload.target.kind}/{seen.workload.target.name}"
    times = [e.last_seen for e in seen.events if e.about == about and e.reason in _DOWN and e.last_seen]
    return max(times, default=None)


def _by(seen: Snapshot, by: str, at: datetime | None) -> str:
    who = f" by {by}" if by else ""
    when = f" {span((seen.now - at).total_seconds())} ago" if at else ""
    return f"{who}{when}"
