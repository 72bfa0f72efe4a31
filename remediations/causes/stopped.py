"""What stands at 0 replicas, in a paused rollout or in one that is under way: who did it, whether that is meant, and how it is started again; and what takes the
time to start that it was given. Pure; the writer stands in managedFields."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import Final

from app.domain.accusing import Sign
from app.domain.cluster import FIELD_MANAGER
from app.domain.json import Obj
from app.domain.target import Kind
from app.domain.tools import AUTOMATIC
from app.domain.workload import Pod, RolloutState
from app.kube.lineage import template_written_at, written_by_us
from app.kube.manifest import value_at
from app.kube.owners import who_changed
from app.kube.parse import parse_time
from app.kube.rollout import rollout_status
from app.kube.scaled_objects import at_zero, maker_of, paused
from remediations.causes.model import STARTING, At, Cause, CauseCode, Snapshot, Sureness
from remediations.causes.sizes import patience
from remediations.evidence.usage import count, span

BY_DESIGN: Final = "at 0 replicas by design"


def scaled_to_zero(seen: Snapshot) -> Cause:
    """Who stopped it decides how it is started again: what a controller holds at 0 cannot be scaled by hand."""
    target = seen.workload.target
    kind, namespace = target.kind.lower(), target.namespace
    by, at = writer(seen, "/spec/replicas")
    at = at if by and at else _scaled_down(seen)
    text = f"{target.kind} {target.name} is scaled to 0{written_by(seen.now, by, at)}"
    advice = (
        f"ask {_person(by) or 'who scaled it'} whether that is meant; kubectl scale {kind}/{target.name} -n {namespace} --replicas=N "
        "starts it again"
    )
    if seen.template_of:
        text = f"{target.kind} {target.name} is scaled to 0, because it is only the template of {seen.template_of}"
        advice = f"look at {seen.template_of} instead: its pods run from this template"
    elif seen.scalers or by.startswith("keda") or _made_by_keda(seen):
        text, advice = _by_keda(seen, at)
    return Cause(
        code=CauseCode.SCALED_TO_ZERO,
        object=f"{target.kind} {target.name}",
        sureness=Sureness.CERTAIN,
        text=text,
        advice=advice,
        since=at,
    )


_COMMANDS = re.compile(
    r"kubectl|k9s|lens|dashboard|python-requests|curl|mozilla|node-fetch|client-go|okhttp|unknown|helm$",
    re.IGNORECASE,
)


def _person(by: str) -> str:
    """The field manager where it can be asked: what a person works with cannot."""
    return "" if _COMMANDS.match(by) else by


def _made_by_keda(seen: Snapshot) -> str:
    """The ScaledObject from which KEDA makes the autoscaler: a scale to 0 leaves no owner of the replicas."""
    return maker_of(seen.autoscaler) if seen.autoscaler is not None else ""


def _by_keda(seen: Snapshot, at: datetime | None) -> tuple[str, str]:
    """What KEDA has to do with a workload at 0, and what a person does about it."""
    target = seen.workload.target
    look = f"kubectl describe scaledobject -n {target.namespace}"
    if not seen.scalers:
        name = (
            f"ScaledObject {_made_by_keda(seen)}"
            if _made_by_keda(seen)
            else f"the ScaledObject of {target.name}"
        )
        text = f"KEDA scaled {target.kind} {target.name} to 0{written_by(seen.now, '', at)}"
        return text, (
            f"see whether {name} is paused (annotation autoscaling.keda.sh/paused-replicas or paused) or sees no load: {look}; "
            "KEDA takes back what kubectl scale sets"
        )
    name, (why, meant) = seen.scalers[0]["metadata"]["name"], at_zero(seen.scalers[0])
    text = f"{target.kind} {target.name} is scaled to 0{written_by(seen.now, '', at)}, and ScaledObject {name} (KEDA) scales it: {why}"
    if held := paused(seen.scalers[0]):
        key = held.partition(": ")[0]
        return (
            text,
            f"ask who paused it; kubectl annotate scaledobject/{name} -n {target.namespace} {key}- ends the pause",
        )
    if meant:
        return (
            text,
            f"see whether there is load that its triggers do not see: {look} {name}; KEDA takes back what kubectl scale sets",
        )
    return text, f"see why KEDA does not start it: {look} {name}"


def stopped_by_design(seen: Snapshot) -> str:
    """Why a workload without replicas is as it is meant to be: its autoscaler is set to stop it and says nothing else, or somebody has set
    it to 0; empty otherwise."""
    target = seen.workload.target
    if seen.workload.desired or seen.alive or seen.template_of or target.kind is Kind.DAEMON_SET:
        return ""
    if seen.scalers:
        why, meant = at_zero(seen.scalers[0])
        name = seen.scalers[0]["metadata"]["name"]
        by_keda = meant and len(seen.scalers) == 1
        return f"{BY_DESIGN}: ScaledObject {name} (KEDA) scales it, and {why}" if by_keda else ""
    if to_zero := _autoscaled_to_zero(seen):
        return f"{BY_DESIGN}: {to_zero}"
    by, at = writer(seen, "/spec/replicas")
    if by == FIELD_MANAGER or by in AUTOMATIC or by.startswith("keda") or _made_by_keda(seen):
        return ""  # our own plan, or a controller, of which nobody knows here why
    return f"{BY_DESIGN}: {target.kind} {target.name} was scaled to 0{written_by(seen.now, by, at or _scaled_down(seen))}"


def paused_on_purpose(seen: Snapshot, causes: Collection[Cause]) -> str:
    """Why a rollout that stands still is as somebody wants it: they paused it, every pod that is wanted is ready, and nothing else is found;
    empty otherwise."""
    if not any(c.code is CauseCode.PAUSED for c in causes):
        return ""
    others = [c for c in causes if c.code is not CauseCode.PAUSED]
    wrong = any(c.sureness is not Sureness.POSSIBLE or c.pods for c in others)
    whole = seen.ready >= seen.workload.desired and all(p.ready for p in seen.alive)
    by, at = writer(seen, "/spec/paused")
    if wrong or not whole or by == FIELD_MANAGER or by in AUTOMATIC:
        return ""  # our own plan, or a controller, of which nobody knows here why
    ready = f"{seen.ready} of {count(seen.workload.desired, 'pod')} ready"
    return f"the rollout is paused{written_by(seen.now, by, at)}: {ready}"


_SLOW = frozenset({CauseCode.READINESS_PROBE, CauseCode.STARTUP_PROBE, CauseCode.NOT_READY})
"""What a new pod that only starts slowly looks like."""
_STARTS = frozenset({"ContainerCreating", "PodInitializing"})
_DEADLINE, _LONGEST = 600.0, 1800.0
"""Seconds without progress after which a rollout is stuck where its Deployment says nothing, and at most."""


def starting(at: At) -> str:
    """That a container which is not ready is within the time that its own startup probe gives it, and for how long; empty for any other. Until that time is over, or
    the kubelet ends the container for it, the probe has not failed, however often it got no answer; and no other probe asks before it has succeeded."""
    began, probe = at.state.running_since, at.own.get("startupProbe")
    if not probe or began is None or at.state.ready or at.state.started:
        return ""
    asked = (at.probe(other) for other in ("Readiness", "Liveness"))
    if any(e is not None and (e.last_seen is None or e.last_seen >= began) for e in asked):
        return ""
    given = float(patience(probe) + (probe.get("initialDelaySeconds") or 0))
    takes = (at.seen.now - began).total_seconds()
    if takes >= given:
        return ""
    return f"{at.name} for {span(takes)} of the {span(given)} that its startupProbe allows"


def starts(seen: Snapshot, pods: Iterable[Pod]) -> str:
    """What is told of the first container of these pods that is starting, with what it said last; empty without one."""
    for at in (At(seen, pod, state) for pod in pods for state in pod.containers):
        if told := starting(at):
            return f'{told}, said last "{said}"' if (said := at.said()) else told
    return ""


def waits_in_vain(at: At, told: str) -> Cause | None:
    """A container that is within its own time to start is no trouble while others serve; it is where too few do (`outage`): a person has to hear of that, with
    what the program says, and judges whether it will start yet."""
    if not (few := outage(at.seen)):
        return None
    said = at.said()
    words = f', said last "{said}"' if said else ""
    return at.cause(
        CauseCode.STARTUP_PROBE,
        f"{few}: {told}{words}",
        f"find out whether {at.state.name} will start yet{f': it said last {said!r}' if said else ''}",
        sureness=Sureness.LIKELY,
        since=at.state.running_since,
        doubt=f"{few}, and nobody knows whether it will start yet: {told}{words}",
    )


def outage(seen: Snapshot) -> str:
    """That no pod, or less than half of those that are wanted, is ready, in words. Those that were only just added are none that were lost."""
    wanted = seen.workload.desired
    few = 2 * seen.ready < wanted and not (seen.ready and _added(seen))
    return f"only {seen.ready} of {count(wanted, 'pod')} ready" if few else ""


def _added(seen: Snapshot) -> bool:
    """Were all pods that are not ready made right after somebody set the replicas, or the autoscaler did?"""
    status = (seen.autoscaler or {}).get("status") or {}
    times = [writer(seen, "/spec/replicas")[1], parse_time(status.get("lastScaleTime"))]
    made = [p.created_at for p in seen.alive if not p.ready]
    return any(at is not None and all(at - STARTING <= m <= at + STARTING for m in made) for at in times)


def _says_it_fails(seen: Snapshot, pods: Iterable[Pod]) -> bool:
    """Does a container that is starting accuse itself?"""
    found = (At(seen, p, c) for p in pods for c in p.containers)
    return any(at.heard().sign is Sign.OWN and not at.heard().follows for at in found if starting(at))


def under_way(seen: Snapshot, causes: Collection[Cause]) -> str:
    """Why a rollout of somebody else is waited for: its controller says that it progresses, within its deadline, or a new pod takes no longer to start than
    its probe allows; and its new pods fail at nothing. One that began after the alert is perhaps the repair, whatever older pods do; one from before, while
    all that is wanted is ready. Empty otherwise."""
    workload = seen.workload
    at = template_written_at(workload)
    if at is None or workload.target.kind is not Kind.DEPLOYMENT or written_by_us(workload, at):
        return ""
    spec, status = workload.manifest["spec"], workload.manifest.get("status") or {}
    told: Obj = {c.get("type"): c for c in status.get("conditions") or ()}.get("Progressing") or {}
    moved = max(filter(None, (at, parse_time(told.get("lastUpdateTime")))))
    deadline = timedelta(seconds=min(float(spec.get("progressDeadlineSeconds") or _DEADLINE), _LONGEST))
    progresses = rollout_status(workload).state is RolloutState.PROGRESSING and told.get("status") == "True"
    new = [p for p in seen.alive if seen.newest(p)]
    late = not progresses or seen.now - moved >= deadline
    if (late and not starts(seen, new)) or not new or any(map(_fails, new)):
        return ""
    if outage(seen) and _says_it_fails(seen, new):
        return ""
    after = at > seen.fired_at
    if not (after or seen.ready >= workload.desired):
        return ""
    names = {p.name for p in new}
    for cause in causes:
        of_old = cause.pods and names.isdisjoint(cause.pods)
        if cause.sureness is not Sureness.POSSIBLE and not (after and (of_old or cause.code in _SLOW)):
            return ""
    ready = (
        f"{sum(p.ready for p in new)} of {count(workload.desired, 'new pod')} ready, {seen.ready} pods in all"
    )
    by = writer(seen, "/spec/template")[0]
    return f"a rollout is under way: {ready}, deployed{written_by(seen.now, by, at)}"


def _fails(pod: Pod) -> bool:
    """Whether a container of it has ended badly, or cannot start."""
    return any(
        c.restarts or (c.waiting and c.waiting not in _STARTS) or (c.terminated and c.terminated.exit_code)
        for c in pod.containers
    )


_WITHOUT_PODS = frozenset(
    {"ScalingDisabled", "FailedGetResourceMetric", "FailedGetContainerResourceMetric", "FailedGetPodsMetric"}
)
"""Why an autoscaler does not scale for no other reason than that there are no pods."""


def _autoscaled_to_zero(seen: Snapshot) -> str:
    """That an autoscaler whose minimum is 0 has no load to scale for, as far as it says; empty for any other."""
    if seen.autoscaler is None or (seen.autoscaler.get("spec") or {}).get("minReplicas") != 0:
        return ""
    conditions = value_at(seen.autoscaler, "/status/conditions") or ()
    active: Obj = next((c for c in conditions if c.get("type") == "ScalingActive"), {})
    wanted = (seen.autoscaler.get("status") or {}).get("desiredReplicas") or 0
    blind = active.get("status") == "False" and active.get("reason") not in _WITHOUT_PODS
    name = seen.autoscaler["metadata"]["name"]
    return "" if blind or wanted else f"HorizontalPodAutoscaler {name} sees no load (minReplicas 0)"


def writer(seen: Snapshot, path: str) -> tuple[str, datetime | None]:
    """Who wrote a field last, and when; nobody where the API server has dropped the owner, as of a scale to 0."""
    found = who_changed(seen.workload.manifest, path)
    return found[0] if found else ("", None)


_DOWN = ("ScalingReplicaSet", "SuccessfulDelete", "SuccessfulRescale")


def _scaled_down(seen: Snapshot) -> datetime | None:
    """When its controller took pods away last, as its events tell."""
    about = f"{seen.workload.target.kind}/{seen.workload.target.name}"
    times = [e.last_seen for e in seen.events if e.about == about and e.reason in _DOWN and e.last_seen]
    return max(times, default=None)


def written_by(now: datetime, by: str, at: datetime | None) -> str:
    """` by kubectl 12 min ago`, as far as it is known."""
    who = f" by {by}" if by else ""
    when = f" {span((now - at).total_seconds())} ago" if at else ""
    return f"{who}{when}"
