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
        yield Cause(
            code=CauseCode.SCALED_TO_ZERO,
            object=f"{target.kind} {target.name}",
            sureness=Sureness.CERTAIN,
            text=f"{target.kind} {target.name} is scaled to 0{_by(seen, by, at)}",
            advice=f"ask {by or 'who scaled it'} whether that is meant; kubectl scale {target.kind.lower()}/{target.name} -n {target.namespace} --replicas=N starts it again",
            since=at,
        )
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
