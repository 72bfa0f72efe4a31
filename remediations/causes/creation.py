"""Why pods cannot be made: what quota, LimitRange, Pod Security, a webhook or the API server said to their controller.

The words come from the condition ReplicaFailure of the Deployment and its ReplicaSets and from events FailedCreate, which are
about the controller and therefore there also when no pod is left. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from app.domain.redact import redact
from app.domain.target import Kind
from app.kube.parse import parse_time
from remediations.causes.model import Cause, CauseCode, Snapshot, Sureness
from remediations.evidence.units import count, short

_FIELDS_OF_RESOURCES = ("containers[*].resources", "initContainers[*].resources", "resources")
_SECURITY = (
    "containers[*].securityContext",
    "initContainers[*].securityContext",
    "containers[*].ports",
    "securityContext",
    "volumes",
    "hostNetwork",
    "hostPID",
    "hostIPC",
)


@dataclass(frozen=True, slots=True)
class _Refusal:
    """What was said, about which controller (empty when not known), first and last when."""

    said: str
    revision: str
    since: datetime | None
    at: datetime | None


@dataclass(frozen=True, slots=True)
class _Reading:
    """What the words mean."""

    code: CauseCode
    object: str
    text: str
    advice: str
    fields: tuple[str, ...] = ()
    objects: tuple[tuple[Kind, str], ...] = ()

    @classmethod
    def of(
        cls, code: CauseCode, place: tuple[Kind, str], text: str, advice: str, fields: tuple[str, ...]
    ) -> _Reading:
        """What speaks of one object that can be read, and whose own changes count."""
        kind, name = place
        return cls(code, f"{kind} {name}", text, advice, fields, (place,))


def creation_causes(seen: Snapshot) -> Iterator[Cause]:
    """At most one cause: the newest refusal, as long as pods are missing, or the newest ReplicaSet has not made its own."""
    missing = max(seen.missing, seen.unmade)
    if not missing:
        return
    refusals = [*_from_conditions(seen), *_from_events(seen)]
    if not refusals:
        return
    newest = max(refusals, key=lambda r: (r.at is not None, r.at or seen.now, bool(r.revision)))
    read = _read(seen, newest.said)
    same = [r.since for r in refusals if _read(seen, r.said).object == read.object and r.since]
    who = f"{count(missing, 'pod')} of {seen.workload.desired} cannot be made"
    yield Cause(
        code=read.code,
        object=read.object,
        sureness=Sureness.CERTAIN,
        text=f"{who}: {read.text}",
        advice=read.advice,
        revisions=tuple(sorted({r.revision for r in refusals if r.revision})),
        fields=read.fields,
        objects=read.objects,
        since=min(same) if same else newest.since,
    )


def _from_conditions(seen: Snapshot) -> Iterator[_Refusal]:
    for manifest in (*seen.controllers, seen.workload.manifest):
        for c in (manifest.get("status") or {}).get("conditions") or ():
            if c.get("type") == "ReplicaFailure" and c.get("status") == "True":
                said = c.get("message", "")
                at = parse_time(c.get("lastUpdateTime")) or parse_time(c.get("lastTransitionTime"))
                own = manifest["metadata"]["name"] if manifest is not seen.workload.manifest else ""
                since = parse_time(c.get("lastTransitionTime"))
                yield _Refusal(said, own or _maker(seen, said), since, at)


_MAKER = re.compile(r'pods? "(?P<name>[a-z0-9.-]+?)" is (?:forbidden|invalid)', re.IGNORECASE)


def _maker(seen: Snapshot, said: str) -> str:
    """A pod is refused under the name of its ReplicaSet and a dash, by plug-ins that come after naming with five letters more; empty
    for a name that no ReplicaSet can have given."""
    found = _MAKER.search(said)
    names = {m["metadata"]["name"] for m in seen.controllers}
    stem = found["name"].rpartition("-")[0] if found else ""
    return stem if stem in names else ""


def _from_events(seen: Snapshot) -> Iterator[_Refusal]:
    names = {m["metadata"]["name"] for m in seen.controllers}
    places = {f"ReplicaSet/{n}" for n in names} | {f"{seen.workload.target.kind}/{seen.workload.target.name}"}
    for e in seen.events:
        if e.reason == "FailedCreate" and e.about in places and seen.fresh(e):
            own = e.about.partition("/")[2] if e.about.startswith("ReplicaSet/") else ""
            yield _Refusal(e.message, own, e.first_seen, e.last_seen)


_Rule = Callable[[Snapshot, "re.Match[str]", str], _Reading]


def _quota(seen: Snapshot, m: re.Match[str], said: str) -> _Reading:  # noqa: ARG001
    name = m["name"]
    text = f"ResourceQuota {name} is full: requested {m['asked']}, used {m['used']} of {m['hard']}"
    advice = f"raise ResourceQuota {name} in namespace {seen.workload.target.namespace}, or free what uses it ({m['used']})"
    return _Reading.of(CauseCode.QUOTA, (Kind.RESOURCE_QUOTA, name), text, advice, _FIELDS_OF_RESOURCES)


def _quota_demands(seen: Snapshot, m: re.Match[str], said: str) -> _Reading:  # noqa: ARG001
    name, what = m["name"], m["what"]
    text = f"ResourceQuota {name} demands that each container sets {what}"
    advice = f"set {what} for each container, or give the namespace a LimitRange with defaults"
    return _Reading.of(CauseCode.QUOTA, (Kind.RESOURCE_QUOTA, name), text, advice, _FIELDS_OF_RESOURCES)


def _pod_security(seen: Snapshot, m: re.Match[str], said: str) -> _Reading:  # noqa: ARG001
    namespace = seen.workload.target.namespace
    text = f"Pod Security of namespace {namespace} ({m['level']}) refuses them: {m['why']}"
    advice = f"give the pods what level {m['level']} demands ({m['why']})"
    return _Reading.of(CauseCode.POD_SECURITY, (Kind.NAMESPACE, namespace), text, advice, _SECURITY)


def _denied(seen: Snapshot, m: re.Match[str], said: str) -> _Reading:  # noqa: ARG001
    why = m["why"] or "without a reason"
    return _Reading(
        CauseCode.WEBHOOK,
        f"webhook {m['name']}",
        f"admission webhook {m['name']} denied them: {why}",
        f"give the pods what webhook {m['name']} demands: {why}",
        ("*",),
    )


def _policy_denied(seen: Snapshot, m: re.Match[str], said: str) -> _Reading:  # noqa: ARG001
    name = f"ValidatingAdmissionPolicy {m['name']}"
    return _Reading(
        CauseCode.WEBHOOK,
        name,
        f"{name} denied them: {m['why']}",
        f"give the pods what {name} demands: {m['why']}",
        ("*",),
    )


def _webhook_away(seen: Snapshot, m: re.Match[str], said: str) -> _Reading:  # noqa: ARG001
    text = f"admission webhook {m['name']} cannot be called: {m['why']}"
    return _Reading(
        CauseCode.WEBHOOK,
        f"webhook {m['name']}",
        text,
        f"restore webhook {m['name']}, which every new pod has to pass",
    )


def _service_account(seen: Snapshot, m: re.Match[str], said: str) -> _Reading:  # noqa: ARG001
    name = m["name"]
    return _Reading(
        CauseCode.SERVICE_ACCOUNT,
        f"ServiceAccount {name}",
        f"ServiceAccount {name} does not exist",
        f"create ServiceAccount {name} in namespace {seen.workload.target.namespace}; the pods are made by themselves then",
        ("serviceAccountName", "serviceAccount"),
    )


def _priority(seen: Snapshot, m: re.Match[str], said: str) -> _Reading:  # noqa: ARG001
    name = m["name"]
    return _Reading(
        CauseCode.PRIORITY_CLASS,
        f"PriorityClass {name}",
        f"PriorityClass {name} does not exist",
        f"create PriorityClass {name}, or name one that exists",
        ("priorityClassName",),
    )


def _limit_range(seen: Snapshot, m: re.Match[str], said: str) -> _Reading:
    names = [r["metadata"]["name"] for r in seen.limit_ranges]
    name = names[0] if len(names) == 1 else ""
    objects = tuple((Kind.LIMIT_RANGE, n) for n in names)
    own = f"LimitRange {name}" if name else f"a LimitRange of namespace {seen.workload.target.namespace}"
    what = said[m.start() :]
    return _Reading(
        CauseCode.LIMIT_RANGE,
        own,
        f"{own} refuses them: {what}",
        f"keep the bounds of {own} ({what})",
        _FIELDS_OF_RESOURCES,
        objects,
    )


def _else(seen: Snapshot, said: str) -> _Reading:
    target = seen.workload.target
    why = _WHO.sub("", said)
    return _Reading(
        CauseCode.CREATE_REFUSED,
        f"{target.kind} {target.name}",
        f"the API server refuses them: {why}",
        f"make the API server accept the pods: {why}",
        ("*",),
    )


_WHO = re.compile(r'^(?:Error creating: )?(?:pods "[^"]*" is forbidden: |Pod "[^"]*" is invalid: )?')
_RULES: tuple[tuple[re.Pattern[str], _Rule], ...] = (
    (
        re.compile(
            r"exceeded quota: (?P<name>[^,\s]+), requested: (?P<asked>.+?), used: (?P<used>.+?), limited: (?P<hard>[^\s]+)"
        ),
        _quota,
    ),
    (re.compile(r"failed quota: (?P<name>[^:\s]+): must specify (?P<what>.+)"), _quota_demands),
    (re.compile(r'violates PodSecurity "(?P<level>[^"]+)": (?P<why>.+)'), _pod_security),
    (re.compile(r'admission webhook "(?P<name>[^"]+)" denied the request(?:: (?P<why>.+))?'), _denied),
    (
        re.compile(
            r"ValidatingAdmissionPolicy '(?P<name>[^']+)' with binding '[^']*' denied request: (?P<why>.+)"
        ),
        _policy_denied,
    ),
    (re.compile(r'failed calling webhook "(?P<name>[^"]+)": (?P<why>.+)'), _webhook_away),
    (re.compile(r'serviceaccount "(?P<name>[^"]+)" not found', re.IGNORECASE), _service_account),
    (re.compile(r"no PriorityClass with name (?P<name>\S+) was found"), _priority),
    (
        re.compile(
            r"(?:minimum|maximum|cpu max|memory max|\w+ max limit).{0,40}?(?:usage per|limit to request ratio)",
            re.IGNORECASE,
        ),
        _limit_range,
    ),
)


def _read(seen: Snapshot, said: str) -> _Reading:
    said = short(redact(said), 400)
    for pattern, rule in _RULES:
        if found := pattern.search(said):
            return rule(seen, found, said)
    return _else(seen, said)
