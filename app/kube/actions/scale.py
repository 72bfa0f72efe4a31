"""More replicas: by the workload itself, or by its autoscaler's minimum where one would undo the former.

Built by handlers. Pure. Never scales down, and never starts what somebody scaled to zero.
"""

from __future__ import annotations

from app.domain.plan import Action, ActionKind, FieldChange
from app.domain.target import Kind
from app.domain.workload import Autoscaler, Workload
from app.kube.impossible import Impossible


def scale(workload: Workload, replicas: int) -> Action | Impossible:
    """At least `replicas` pods.

    A HorizontalPodAutoscaler sets spec.replicas every 15 s, so with one its minReplicas is raised instead, never
    beyond its maxReplicas. Where there are two, both stand still.
    """
    target = workload.target
    if target.kind is Kind.DAEMON_SET:
        return Impossible(f"{target} runs one pod a node: it has no replicas")
    if workload.desired == 0:
        return Impossible(
            f"{target} is scaled to 0: somebody stopped it on purpose",
            "see who scaled it down and why before starting it again",
        )
    if workload.autoscaler is not None:
        return _raise_minimum(workload, workload.autoscaler, replicas)
    if workload.desired >= replicas:
        return Impossible(
            f"{target} already has {workload.desired} replicas; {replicas} were asked for", stands=True
        )
    return resized(workload, replicas)


def resized(workload: Workload, replicas: int) -> Action:
    """The workload's own number of replicas set to another one. It affects the pods that go."""
    target = workload.target
    return Action(
        kind=ActionKind.SCALE,
        object=workload.ref,
        target=target,
        changes=(FieldChange("/spec/replicas", workload.manifest["spec"].get("replicas"), replicas),),
        summary=f"Scale {target} from {workload.desired} to {replicas} replicas",
        pods_affected=max(0, workload.desired - replicas),
        reversible=True,
        undo=f"scale back to {workload.desired} replicas",
        params={"from": workload.desired, "to": replicas},
    )


def _raise_minimum(workload: Workload, hpa: Autoscaler, replicas: int) -> Action | Impossible:
    if hpa.others:
        names = ", ".join((hpa.ref.name, *hpa.others))
        return Impossible(
            f"{1 + len(hpa.others)} autoscalers are for {workload.target} ({names}), and Kubernetes lets none of them scale it (AmbiguousSelector)",
            f"leave one autoscaler for {workload.target} and delete the others ({names})",
        )
    if hpa.never_up:
        return Impossible(
            f"autoscaler {hpa.ref.name} is told not to scale up (behavior.scaleUp.selectPolicy: Disabled): a higher minReplicas would override that",
            f"find out why {hpa.ref.name} may not scale up, and take selectPolicy: Disabled out when that is over",
        )
    goal = min(replicas, hpa.max_replicas)
    now = max(workload.desired, hpa.min_replicas)
    if now >= goal:
        limit = f" (maxReplicas {hpa.max_replicas})" if goal < replicas else ""
        return Impossible(
            f"autoscaler {hpa.ref.name} already holds {now} replicas{limit}; {replicas} were asked for",
            f"raise maxReplicas of {hpa.ref.name} above {hpa.max_replicas}" if limit else "",
        )
    shown = f" ({replicas} were asked for, maxReplicas is {hpa.max_replicas})" if goal < replicas else ""
    return Action(
        kind=ActionKind.RAISE_MIN_REPLICAS,
        object=hpa.ref,
        target=workload.target,
        changes=(FieldChange("/spec/minReplicas", hpa.min_replicas, goal),),
        summary=f"Raise minReplicas of autoscaler {hpa.ref.name} of {workload.target} from {hpa.min_replicas} to {goal}{shown}",
        pods_affected=0,
        reversible=True,
        undo=f"set minReplicas back to {hpa.min_replicas}; the autoscaler then scales down by its own rules",
        params={"from": hpa.min_replicas, "to": goal, "autoscaler": hpa.ref.name, "max": hpa.max_replicas},
    )
