"""What stands around the pods: dependencies that failed first, missing rights, and what keeps their traffic away (Services
without endpoints, the autoscaler, network policies). Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from app.domain.json import Obj
from app.domain.target import Kind
from app.kube.lineage import last_write
from app.kube.owners import last_applied, who_changed
from app.kube.parse import parse_time, selects, serves
from app.kube.quoted import told_by
from remediations.causes.alike import in_trouble
from remediations.causes.creation import unobserved
from remediations.causes.demands import named, unselected, without_port
from remediations.causes.edits import Edit, edit_of
from remediations.causes.endpoints import endpoint_causes
from remediations.causes.model import STARTING, Cause, CauseCode, Neighbour, Snapshot, Sureness
from remediations.causes.sizes import asked, everywhere, less_promised
from remediations.evidence.usage import count, span

# What others have to do with pods that are not ready: a dependency that failed first, a right that the application
# lacks, a resize that no node can carry, a disruption budget that holds evictions. Pure.

_FORBIDDEN = re.compile(
    r'forbidden: User "system:serviceaccount:(?P<space>[a-z0-9-]{1,63}):(?P<account>[a-z0-9.-]{1,253})" '
    r'cannot (?P<verb>[a-z]{1,20}) resource "(?P<resource>[a-z0-9./-]{1,100})"'
)
"""The API server's refusal, as client libraries print it."""


def other_causes(seen: Snapshot) -> Iterator[Cause]:
    """In the order in which they explain each other."""
    yield from _said(seen)
    yield from _resized(seen)
    yield from _budgets(seen)


def _said(seen: Snapshot) -> Iterator[Cause]:
    """What containers in trouble said last: a neighbour that is away, or a right that they lack."""
    for (pod, container), words in seen.words.items():
        for neighbour in seen.neighbours:
            shown = in_trouble(seen, container, neighbour.named_in)
            if shown and not neighbour.ready and neighbour.named_in(words.text):
                cause = _neighbour(seen, neighbour, (pod, container), shown)
                yield cause if not neighbour.exists else _in_time(seen, neighbour, cause)
        found = _FORBIDDEN.search(words.text)
        if found and (shown := in_trouble(seen, container, _FORBIDDEN.search)):
            yield _right(seen, (pod, container), shown, found)


def _neighbour(seen: Snapshot, away: Neighbour, where: tuple[str, str], shown: tuple[str, ...]) -> Cause:
    pod, container = where
    group = (
        "initContainers"
        if any(c.init and c.name == container for c in seen.workload.containers)
        else "containers"
    )
    why = f"has no ready pod ({away.state})" if away.exists else "does not exist"
    restore = (
        f"restore {away.name} first (ready are {away.state})"
        if away.exists
        else f"create Service {away.name}"
    )
    return Cause(
        code=CauseCode.DEPENDENCY,
        object=f"Service {away.name}",
        sureness=Sureness.CERTAIN,
        text=f"Service {away.name} {why}, and container {container} of {pod} "
        f'needs it: it said last "{seen.words[where].shown}"',
        advice=restore if away.exists else f"{restore} again, or correct the name that {container} asks for",
        pods=shown,
        # A new version can ask for a Service that never was; one that is there is not asked for by mistake.
        fields=() if away.exists else (f"{group}[{container}]",),
        objects=((Kind.SERVICE, away.name),),
        since=away.since,
        container=container,
    )


def _in_time(seen: Snapshot, away: Neighbour, cause: Cause) -> Cause:
    """What is away for so long that the containers have run without it, or nobody knows since when, is told, and explains nothing."""
    mine = [p for p in seen.alive if p.name in cause.pods]
    ready = [c for p in mine if (c := p.condition("Ready")) is not None and c.status == "False"]
    fits = away.fits(min([seen.fired_at, *(c.since for c in ready if c.since is not None)]))
    if fits:
        return cause
    text = f"{cause.text}; {away.since_when(seen.now)}"
    return replace(cause, sureness=Sureness.POSSIBLE, text=text, pods=(), container="", since=None)


def _right(seen: Snapshot, where: tuple[str, str], shown: tuple[str, ...], found: re.Match[str]) -> Cause:
    pod, container = where
    account, verb, resource = found["account"], found["verb"], found["resource"]
    group = (
        "initContainers"
        if any(c.init and c.name == container for c in seen.workload.containers)
        else "containers"
    )
    return Cause(
        code=CauseCode.RIGHT,
        object=f"ServiceAccount {account}",
        sureness=Sureness.CERTAIN,
        text=f"ServiceAccount {account} of namespace {found['space']} may not {verb} {resource}, which container {container} of "
        f"{pod} asked for before it ended",
        advice=f"grant it: a Role with {verb} on {resource} and a RoleBinding to ServiceAccount {account}, or restore what was there",
        pods=shown,
        fields=(f"{group}[{container}]",),
        demands=(named("serviceAccountName", account, "ServiceAccount", default="default"),),
        doubt=f"whether the revision before asks for the right to {verb} {resource} as well is not known",
        objects=((Kind.SERVICE_ACCOUNT, account),),
        container=container,
    )  # fmt: skip


_PENDING = {
    "Infeasible": "its node can never carry",
    "Deferred": "its node cannot carry for now",
}


def _resized(seen: Snapshot) -> Iterator[Cause]:
    """Pods whose requests were changed in place, and whose node has not given them what they ask for."""
    for pod in seen.alive:
        found = pod.condition("PodResizePending")
        if found is None or found.status != "True":
            continue
        said = told_by(found.message, 200)
        why = _PENDING.get(found.reason, "its node has not given it")
        yield Cause(
            code=CauseCode.RESIZE,
            object=f"Pod {pod.name}",
            sureness=Sureness.POSSIBLE,
            text=f"pod {pod.name} was resized in place to what {why} ({found.reason}: {said})",
            advice=f"move pod {pod.name} to a node with room, or ask for less ({said})",
            pods=() if pod.ready else (pod.name,),
            demands=(asked("cpu"), asked("memory")),
            since=found.since,
        )


def _budgets(seen: Snapshot) -> Iterator[Cause]:
    """Budgets that let nobody evict a pod: a drain of a node waits for them, and so does whoever wants to move pods."""
    for budget in seen.budgets:
        status, name = budget.get("status") or {}, budget["metadata"]["name"]
        if status.get("disruptionsAllowed", 1) or not status.get("expectedPods"):
            continue
        healthy, wanted = status.get("currentHealthy", 0), status.get("desiredHealthy", 0)
        never = wanted >= status["expectedPods"]
        why = "it wants all of them" if never else f"{healthy} are healthy"
        yield Cause(
            code=CauseCode.DISRUPTION_BUDGET,
            object=f"PodDisruptionBudget {name}",
            sureness=Sureness.POSSIBLE,
            text=f"PodDisruptionBudget {name} allows no eviction: of {count(status['expectedPods'], 'pod')} {wanted} have to be "
            f"healthy, and {why}",
            advice=f"a drain waits for it: make the pods healthy first, or let PodDisruptionBudget {name} allow one more",
            objects=((Kind.PDB, name),),
        )


# What stands around the pods and keeps their traffic away: Services without endpoints, the autoscaler, network
# policies.
#
# Pure. Ready pods that get no requests are an outage too, and no change of the pods ends it.

_FRESH_POLICY = timedelta(hours=1)


def around_causes(seen: Snapshot) -> Iterator[Cause]:
    """The workload's own controller, Services, then the autoscaler, then network policies."""
    yield from unobserved(seen)
    found = [(s, _service(seen, s)) for s in seen.services]
    serving = any(cause is None and serves(s, seen.workload.pod_labels) for s, cause in found)
    for service, cause in found:
        judged = _judged(seen, service, cause, serving=serving) if cause is not None else None
        if judged is not None:
            yield judged
    yield from endpoint_causes(seen) if seen.slices else ()
    yield from _autoscaler(seen)
    yield from _policies(seen, seen.workload.pod_labels)


def _judged(seen: Snapshot, service: Obj, cause: Cause, *, serving: bool) -> Cause | None:
    """A Service that does not fit the pods is a fault where it fitted those of the revision before, or was edited about when the trouble
    began. Any other is a bystander, such as the idle side of a blue/green pair: nothing while another Service `serves` the pods, unless
    it was edited away from them, and at most possible."""
    template = seen.workload.manifest["spec"]["template"]
    now = {d.acquits: d.of(template) for d in cause.demands}
    older = [r.template for r in seen.revisions if seen.current and r.fingerprint != seen.current.fingerprint]
    fitted = any(d.of(t)[n] < now[d.acquits][n] for t in older[:1] for d in cause.demands for n in d.of(t))
    own = service["metadata"]["name"] == seen.workload.target.name
    edited = _edited(seen, service)
    if fitted or (edited and edited.sure and (own or not serving)):
        return cause
    bystander = serving and not (edited and (own or was_for(seen, service)))
    return None if bystander else replace(cause, sureness=Sureness.POSSIBLE)


def _edited(seen: Snapshot, service: Obj) -> Edit | None:
    """Who changed it since an hour before the alert, and did not only make it."""
    edit = edit_of(service, seen.workload.manifest)
    made = parse_time(service["metadata"].get("creationTimestamp"))
    if edit is None or edit.write.at < seen.fired_at - _FRESH_POLICY:
        return None
    return edit if made is None or edit.write.at - made >= STARTING else None


def _service(seen: Snapshot, service: Obj) -> Cause | None:
    """What is wrong with a Service; None when it serves the pods, or is not for them."""
    labels = seen.workload.pod_labels
    spec, name = service.get("spec") or {}, service["metadata"]["name"]
    selector: Mapping[str, str] = spec.get("selector") or {}
    if not selector or spec.get("type") == "ExternalName":
        return None
    if serves(service, labels):
        return _ports(seen, service) if seen.ready else None
    own = name == seen.workload.target.name
    chosen, ready = seen.selected.get(name, (1, 1))
    if not meant(seen, service) or (
        ready and not ((own or was_for(seen, service)) and _turned(seen, service))
    ):
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
    sure = Sureness.CERTAIN if own else Sureness.LIKELY
    if (
        ready
    ):  # others answer in place of the pods, which may be meant: so one version is put in another's place
        sure, what = Sureness.POSSIBLE, f"sends requests to {count(ready, 'other pod')}"
    else:
        what = f"has no {'ready ' if chosen else ''}endpoint"
    none = f" ({count(chosen, 'other pod')}, none ready)" if chosen and not ready else ""
    return Cause(
        code=CauseCode.SERVICE_SELECTOR,
        object=f"Service {name}",
        sureness=sure,
        text=f"Service {name} {what}: it selects {wanted}{none}, and the pods have {wrong}{when}",
        advice=f"correct the selector of Service {name}, or the labels of the pod template",
        demands=(unselected(name, selector),),
        objects=((Kind.SERVICE, name),),
        since=write.at if write else None,
    )


def meant(seen: Snapshot, service: Obj) -> bool:
    """Is this Service for the workload, although it does not select its pods? By its name, by most of its selector, or by the one it had."""
    selector, labels = (service.get("spec") or {}).get("selector") or {}, seen.workload.pod_labels
    fits = sum(labels.get(k) == v for k, v in selector.items())
    if not selector or fits == len(selector):
        return False
    named: bool = service["metadata"]["name"] == seen.workload.target.name
    return named or fits * 2 >= len(selector) > 1 or was_for(seen, service)


def was_for(seen: Snapshot, service: Obj) -> bool:
    """Did it select the pods when it was last applied? What is edited or patched leaves kubectl's note of that as it is."""
    spec = last_applied(service).get("spec")
    selector = spec.get("selector") if isinstance(spec, dict) else None
    return isinstance(selector, dict) and serves({"spec": {"selector": selector}}, seen.workload.pod_labels)


def _turned(seen: Snapshot, service: Obj) -> bool:
    """Has somebody written its selector since an hour before the alert, and did not only make the Service?"""
    made = parse_time(service["metadata"].get("creationTimestamp"))
    at = next((at for _, at in who_changed(service, "/spec/selector") if at is not None), None)
    return at is not None and at >= seen.fired_at - _FRESH_POLICY and (made is None or at - made >= STARTING)


def _ports(seen: Snapshot, service: Obj) -> Cause | None:
    """A port of a Service that its pods do not have."""
    name, write = service["metadata"]["name"], last_write(service)
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
            # A port that is not declared may be open all the same; one that was just set and is not declared hardly is.
            fresh = write is not None and seen.now - write.at <= _FRESH_POLICY and bool(write.by)
            sure = Sureness.LIKELY if fresh else Sureness.POSSIBLE
            what = f"targetPort {target}, which no container declares"
        else:
            continue
        have = ", ".join([*sorted(named), *map(str, sorted(numbers))]) or "none"
        return Cause(
            code=CauseCode.SERVICE_PORT,
            object=f"Service {name}",
            sureness=sure,
            text=f"Service {name} sends port {port.get('port')} to {what} (they have {have})",
            advice=f"correct targetPort of Service {name}, or the ports of the pod template",
            demands=(without_port(name, target),),
            objects=((Kind.SERVICE, name),),
            since=write.at if write else None,
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
        said = told_by(active.get("message", ""), 200)
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
        said = told_by(able.get("message", ""), 200)
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
        fields=("containers", "resources"),
        demands=everywhere(less_promised, seen.workload.manifest["spec"]["template"], "cpu", "memory"),
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
