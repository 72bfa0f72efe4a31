"""Manifests to the typed snapshots of `app.domain.workload`: pure parsing, field by field as the API server writes them.

Called by `app.kube.read`. Never reads the cluster; tolerates absent optional fields, as they are omitted when empty.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from app.domain.change import image_told
from app.domain.cluster import PodUsage
from app.domain.json import Obj, digest
from app.domain.redact import in_one_line
from app.domain.target import Kind, ObjectRef, Target
from app.domain.units import utc
from app.domain.workload import (
    Autoscaler,
    ContainerState,
    KubeEvent,
    Pod,
    PodCondition,
    Revision,
    Terminated,
    Workload,
)
from app.kube.manifest import containers_of, is_sidecar, parse_cpu, parse_memory, pod_memory_limit
from app.kube.quoted import told_by

RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"
TEMPLATE_HASH = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
REVISION_HISTORY = "deployment.kubernetes.io/revision-history"
CHANGE_CAUSE = "kubernetes.io/change-cause"
REVISION_HASH = "controller-revision-hash"


def parse_time(text: str | None) -> datetime | None:
    """An RFC 3339 time as UTC, also with nanoseconds; None for an absent or zero one."""
    if not text or text.startswith("0001-"):
        return None
    return datetime.fromisoformat(text).astimezone(UTC)


def being_deleted(what: str, manifest: Obj) -> str:
    """`namespace shop is being deleted since 2026-01-02 03:04:05 UTC`; empty for what stays. The stamp of what has time to stop is when
    that is over."""
    meta = manifest["metadata"]
    terminating = (manifest.get("status") or {}).get("phase") == "Terminating"
    at = parse_time(meta.get("deletionTimestamp"))
    if at is None and not terminating:
        return ""
    since = at - timedelta(seconds=meta.get("deletionGracePeriodSeconds") or 0) if at else None
    return f"{what} is being deleted" + (f" since {utc(since)}" if since else "")


def parse_ref(kind: Kind, manifest: Obj) -> ObjectRef:
    """The exact object: uid, resourceVersion and generation included."""
    meta = manifest["metadata"]
    return ObjectRef(
        kind,
        meta.get("namespace", ""),
        meta["name"],
        meta.get("uid", ""),
        meta.get("resourceVersion", ""),
        meta.get("generation", 0),
    )


def controller_of(manifest: Obj) -> Mapping[str, Any] | None:
    """The ownerReference with `controller: true`; there is at most one."""
    owners = manifest["metadata"].get("ownerReferences") or ()
    return next((o for o in owners if o.get("controller")), None)


def means(reference: Mapping[str, Any], found: Obj) -> bool:
    """Whether a reference means the object that has its kind and name: by its uid, where it has one. The API server checks no more of an owner
    reference than its form, so whoever may make a pod could name any workload of the namespace in it."""
    return reference.get("uid") in (None, "", found["metadata"].get("uid"))


def referred(owner: Mapping[str, Any]) -> tuple[str, str, str]:
    """Kind, name and API group of an owner by reference, as people are told of it: the API server checks none of them."""
    group = owner.get("apiVersion", "").rpartition("/")[0]
    kind, name, group = (in_one_line(text, 253) for text in (owner["kind"], owner["name"], group))
    return kind, name, group


def selector_text(selector: Mapping[str, Any] | None) -> str:
    """A LabelSelector in the text form of list requests."""
    selector = selector or {}
    parts = [f"{k}={v}" for k, v in sorted((selector.get("matchLabels") or {}).items())]
    for rule in selector.get("matchExpressions") or ():
        key, values = rule["key"], ",".join(rule.get("values") or ())
        parts.append(
            {
                "In": f"{key} in ({values})",
                "NotIn": f"{key} notin ({values})",
                "Exists": key,
                "DoesNotExist": f"!{key}",
            }[rule["operator"]]
        )
    return ",".join(parts)


def selects(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    """Does a LabelSelector match these labels? An empty selector matches everything, an absent one nothing."""
    if selector is None:
        return False
    wanted = selector.get("matchLabels") or {}
    if any(labels.get(k) != v for k, v in wanted.items()):
        return False
    return all(_fits(rule, labels) for rule in selector.get("matchExpressions") or ())


OF_SERVICE = "kubernetes.io/service-name"
"""The label by which an EndpointSlice tells whose it is."""


def serves(service: Obj, labels: Mapping[str, str]) -> bool:
    """Does a Service choose pods with these labels? One without a selector chooses none."""
    selector = (service.get("spec") or {}).get("selector")
    return bool(selector) and selects({"matchLabels": selector}, labels)


def _fits(rule: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    key, values = rule["key"], rule.get("values") or ()
    match rule["operator"]:
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case _:
            return key not in labels


def parse_workload(target: Target, manifest: Obj) -> Workload:
    """A Deployment, StatefulSet or DaemonSet; managers and autoscaler are for `app.kube.read` to add."""
    spec, status, meta = manifest["spec"], manifest.get("status") or {}, manifest["metadata"]
    daemon = target.kind is Kind.DAEMON_SET
    return Workload(
        target=target,
        ref=parse_ref(target.kind, manifest),
        paused=bool(spec.get("paused", False)),
        desired=status.get("desiredNumberScheduled", 0) if daemon else spec.get("replicas", 1),
        ready=status.get("numberReady" if daemon else "readyReplicas", 0),
        updated=status.get("updatedNumberScheduled" if daemon else "updatedReplicas", 0),
        available=status.get("numberAvailable" if daemon else "availableReplicas", 0),
        observed_generation=status.get("observedGeneration", 0),
        labels=meta.get("labels") or {},
        annotations=meta.get("annotations") or {},
        selector=selector_text(spec.get("selector")),
        containers=containers_of(spec["template"].get("spec") or {}),
        manifest=manifest,
    )


def parse_autoscaler(manifest: Obj) -> Autoscaler:
    """A HorizontalPodAutoscaler of autoscaling/v2; minReplicas defaults to 1 as in the API."""
    spec, status = manifest["spec"], manifest.get("status") or {}
    conditions = status.get("conditions") or ()
    scaling: Mapping[str, Any] = next((c for c in conditions if c.get("type") == "AbleToScale"), {})
    sees: Mapping[str, Any] = next((c for c in conditions if c.get("type") == "ScalingActive"), {})
    unable = scaling.get("status") == "False" and not str(scaling.get("reason")).startswith("Backoff")
    blind = sees.get("status") == "False" and sees.get("reason") != "ScalingDisabled"
    why = scaling if unable else sees if blind else {}
    up: Mapping[str, Any] = (spec.get("behavior") or {}).get("scaleUp") or {}
    return Autoscaler(
        ref=parse_ref(Kind.HPA, manifest),
        min_replicas=spec.get("minReplicas", 1),
        max_replicas=spec["maxReplicas"],
        desired=status.get("desiredReplicas", 0),
        last_action=scaling.get("reason", ""),
        never_up=up.get("selectPolicy") == "Disabled",
        idle=f"{told_by(why.get('reason'), 80)}: {told_by(why.get('message'), 200)}" if why else "",
        idle_since=parse_time(why.get("lastTransitionTime")),
        unable=unable,
    )


def parse_pod(manifest: Obj) -> Pod:
    """One pod with the states of its containers, init containers first."""
    meta, spec, status = manifest["metadata"], manifest.get("spec") or {}, manifest.get("status") or {}
    beside = {c["name"] for c in spec.get("initContainers") or () if is_sidecar(c)}
    states = [
        _container_state(s, init=True, sidecar=s["name"] in beside)
        for s in status.get("initContainerStatuses") or ()
    ]
    states += [_container_state(s, init=False) for s in status.get("containerStatuses") or ()]
    owner, labels = controller_of(manifest), meta.get("labels") or {}
    conditions = tuple(_condition(c) for c in status.get("conditions") or ())
    return Pod(
        ref=parse_ref(Kind.POD, manifest),
        phase=status.get("phase", ""),
        ready=any(c.type == "Ready" and c.status == "True" for c in conditions),
        node=spec.get("nodeName", ""),
        created_at=parse_time(meta.get("creationTimestamp")) or _EPOCH,
        labels=labels,
        containers=tuple(states),
        specs=containers_of(spec),
        owner=_owner_ref(owner, meta.get("namespace", "")) if owner else None,
        terminating="deletionTimestamp" in meta,
        ends_at=parse_time(meta.get("deletionTimestamp")),
        finalizers=tuple(meta.get("finalizers") or ()),
        template_hash=labels.get(TEMPLATE_HASH) or labels.get(REVISION_HASH, ""),
        conditions=conditions,
        reason=status.get("reason", ""),
        message=status.get("message", ""),
        memory_limit=pod_memory_limit(spec),
        taken_at=parse_time(status.get("startTime")),
    )


def _condition(condition: Mapping[str, Any]) -> PodCondition:
    return PodCondition(
        type=condition["type"],
        status=condition["status"],
        reason=condition.get("reason", ""),
        message=condition.get("message", ""),
        since=parse_time(condition.get("lastTransitionTime")),
    )


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


_CONTROLLERS = {
    k.value: k for k in (Kind.REPLICA_SET, Kind.STATEFUL_SET, Kind.DAEMON_SET, Kind.DEPLOYMENT, Kind.JOB)
}


def _owner_ref(owner: Mapping[str, Any], namespace: str) -> ObjectRef | None:
    """None for a controller of a kind that we do not know (an operator's own kind): nobody we can speak for."""
    kind = _CONTROLLERS.get(owner["kind"])
    return ObjectRef(kind, namespace, owner["name"], owner["uid"], "") if kind else None


def _container_state(status: Mapping[str, Any], *, init: bool, sidecar: bool = False) -> ContainerState:
    state, last = status.get("state") or {}, status.get("lastState") or {}
    waiting = state.get("waiting") or {}
    return ContainerState(
        name=status["name"],
        init=init,
        ready=bool(status.get("ready", False)),
        restarts=status.get("restartCount", 0),
        waiting=waiting.get("reason", ""),
        waiting_message=waiting.get("message", ""),
        terminated=_terminated(state.get("terminated")),
        last_terminated=_terminated(last.get("terminated")),
        running_since=parse_time((state.get("running") or {}).get("startedAt")),
        image_id=status.get("imageID") or "",
        sidecar=sidecar,
        started=status.get("started") is True,
    )


def _terminated(state: Mapping[str, Any] | None) -> Terminated | None:
    if state is None:
        return None
    return Terminated(
        state.get("reason", ""),
        state.get("exitCode", 0),
        parse_time(state.get("finishedAt")),
        state.get("message", ""),
        parse_time(state.get("startedAt")),
    )


def plain_template(template: Obj) -> Obj:
    """A pod template as a workload's spec holds it: without pod-template-hash and the marks of stored revisions. It shares what it keeps
    with `template`: a copy of ten templates of a megabyte takes seconds."""
    # ControllerRevisions hold the template as a strategic merge patch.
    result = {key: value for key, value in template.items() if key != "$patch"}
    meta = result.get("metadata")
    if isinstance(meta, dict):
        stamped = "creationTimestamp" in meta and meta["creationTimestamp"] is None
        meta = {k: v for k, v in meta.items() if k != "creationTimestamp" or not stamped}
        if meta.get("labels"):
            meta["labels"] = {k: v for k, v in meta["labels"].items() if k != TEMPLATE_HASH}
        result["metadata"] = meta
    return result


def essential_template(template: Obj) -> Obj:
    """`plain_template` without restart annotations: two revisions that differ by a restart only are equal in it."""
    result = plain_template(template)
    meta = result.get("metadata") or {}
    annotations = {k: v for k, v in (meta.get("annotations") or {}).items() if k != RESTARTED_AT}
    if annotations:
        meta["annotations"] = annotations
    else:
        meta.pop("annotations", None)
    return result


def fingerprint(template: Obj) -> str:
    """Digest of the essential template, 64 hex digits."""
    return digest(essential_template(template))


def parse_replica_set(manifest: Obj) -> Revision:
    """A revision of a Deployment, from one of its ReplicaSets."""
    meta = manifest["metadata"]
    annotations = meta.get("annotations") or {}
    number = next(iter(_numbers(annotations.get(REVISION, ""))), 0)
    found = _revision(number, meta, manifest["spec"]["template"])
    return replace(found, emptied_at=_emptied_at(manifest))


def _emptied_at(manifest: Obj) -> datetime | None:
    """A ReplicaSet's status is written the last time as it gets empty. Where it wants pods, or has some, it is not."""
    if manifest["spec"].get("replicas", 1) or (manifest.get("status") or {}).get("replicas"):
        return None
    entries = manifest["metadata"].get("managedFields") or ()
    times = [parse_time(e.get("time")) for e in entries if e.get("subresource") == "status"]
    return max((at for at in times if at is not None), default=None)


def parse_controller_revision(manifest: Obj) -> Revision:
    """A revision of a StatefulSet or DaemonSet."""
    meta = manifest["metadata"]
    return _revision(int(manifest["revision"]), meta, manifest["data"]["spec"]["template"])


def _revision(number: int, meta: Mapping[str, Any], template: Obj) -> Revision:
    spec, essential = template.get("spec") or {}, essential_template(template)
    return Revision(
        number=number,
        name=meta["name"],
        created_at=parse_time(meta.get("creationTimestamp")) or _EPOCH,
        images=tuple(image_told(c.get("image", "")) for c in spec.get("containers") or ()),
        template=essential,
        fingerprint=digest(essential),
        change_cause=(meta.get("annotations") or {}).get(CHANGE_CAUSE, ""),
        earlier=_numbers((meta.get("annotations") or {}).get(REVISION_HISTORY, "")),
        marks={**_marks(meta), **_marks(template.get("metadata") or {})},
        restarted_at=str(((template.get("metadata") or {}).get("annotations") or {}).get(RESTARTED_AT, "")),
    )


def _marks(meta: Mapping[str, Any]) -> dict[str, str]:
    return {**(meta.get("labels") or {}), **(meta.get("annotations") or {})}


_NUMBER = re.compile(r"\d{1,18}", re.ASCII)


def _numbers(text: str) -> tuple[int, ...]:
    """The numbers of a comma-separated annotation, which anybody who may write the object can have written."""
    return tuple(int(part) for part in map(str.strip, text.split(",")) if _NUMBER.fullmatch(part))


def parse_event(manifest: Obj) -> KubeEvent:
    """An Event of events.k8s.io/v1 or core/v1; recurring ones carry their newest sighting."""
    about = manifest.get("regarding") or manifest.get("involvedObject") or {}
    series = manifest.get("series") or {}
    times = (
        series.get("lastObservedTime"),
        manifest.get("deprecatedLastTimestamp") or manifest.get("lastTimestamp"),
        manifest.get("eventTime"),
        manifest["metadata"].get("creationTimestamp"),
    )
    began = (
        manifest.get("deprecatedFirstTimestamp") or manifest.get("firstTimestamp"),
        manifest.get("eventTime"),
        manifest["metadata"].get("creationTimestamp"),
    )
    counts = (series.get("count"), manifest.get("deprecatedCount"), manifest.get("count"), 1)
    return KubeEvent(
        reason=manifest.get("reason", ""),
        message=manifest.get("note") or manifest.get("message", ""),
        type=manifest.get("type", ""),
        count=next(c for c in counts if c),
        last_seen=next((t for t in map(parse_time, times) if t), None),
        about=f"{about.get('kind', '')}/{about.get('name', '')}",
        first_seen=next((t for t in map(parse_time, began) if t), None),
        container=found[1] if (found := _CONTAINER.match(about.get("fieldPath") or "")) else "",
    )


_CONTAINER = re.compile(r"^spec\.(?:initContainers|ephemeralContainers|containers)\{(.*)\}$")


def parse_usage(manifest: Obj) -> PodUsage:
    """One PodMetrics object of metrics.k8s.io."""
    containers = {c["name"]: c.get("usage") or {} for c in manifest.get("containers") or ()}
    return PodUsage(
        pod=manifest["metadata"]["name"],
        at=parse_time(manifest.get("timestamp")) or _EPOCH,
        memory={name: parse_memory(u.get("memory", "0")) for name, u in containers.items()},
        cpu={name: parse_cpu(u.get("cpu", "0")) for name, u in containers.items()},
    )
