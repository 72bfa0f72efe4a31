"""What it means that a pod was refused: the words of quota, LimitRange, Pod Security, webhooks and the API server, taken apart. Pure.

Words name the resource, field or object that is short or wrong; only a release that asks for more of that very thing can have
brought the refusal. What a webhook says in words of its own proves that only where it names what the release changed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from app.domain.json import Obj
from app.domain.redact import redact
from app.domain.target import Kind
from app.kube.parse import parse_time
from app.kube.quoted import told_by
from remediations.causes import demands, sizes
from remediations.causes.model import Amount, CauseCode, Demand, Snapshot

_BY_WORDS = "whether the revision before would be refused as well is not known"
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
class Reading:
    """What the words of a refusal mean. The fields are those of a cause."""

    code: CauseCode
    object: str
    text: str
    advice: str
    fields: tuple[str, ...] = ()
    demands: tuple[Demand, ...] = ()
    doubt: str = ""
    objects: tuple[tuple[Kind, str], ...] = ()
    said: str = ""


_LONGEST_SAID = 4_000
_Rule = Callable[[Snapshot, "re.Match[str]", str], Reading]


def read_refusal(seen: Snapshot, said: str) -> Reading:
    """What keeps the pods from being made. The whole words are searched, and what people read is cut afterwards."""
    whole = " ".join(redact(said, longest=_LONGEST_SAID).split())
    rules = ((rule, found) for pattern, rule in _RULES if (found := pattern.search(whole)))
    read = next((rule(seen, found, whole) for rule, found in rules), None) or _else(seen, whole)
    return replace(read, text=told_by(read.text, 450), advice=told_by(read.advice, 450), said=whole)


_RESOURCE = (
    r"(?:(?P<part>requests|limits)\.)?(?P<name>cpu|memory|ephemeral-storage|hugepages-\w+|[\w.-]+/[\w.-]+)"
)
_COUNTED = re.compile(rf"(?<![\w./-]){_RESOURCE}(?=[=,;:\s]|$)")


def _resources(words: str) -> Iterator[tuple[str, str]]:
    """Each resource that the words name, as `requests` or `limits` of it; a quota's plain `cpu` is its requests."""
    for found in _COUNTED.finditer(words):
        if not (found["name"].startswith("count/") or "storageclass.storage" in found["name"]):
            yield found["part"] or "requests", found["name"]


def _quota(seen: Snapshot, m: re.Match[str], said: str) -> Reading:  # noqa: ARG001
    name = m["name"]
    text = f"ResourceQuota {name} is full: requested {m['asked']}, used {m['used']} of {m['hard']}"
    advice = f"raise ResourceQuota {name} in namespace {seen.workload.target.namespace}, or free what uses it ({m['used']})"
    asked = tuple(sizes.asked(what, part) for part, what in _resources(m["asked"]))
    return Reading(
        CauseCode.QUOTA,
        f"ResourceQuota {name}",
        text,
        advice,
        demands=asked,
        objects=((Kind.RESOURCE_QUOTA, name),),
    )


def _quota_uncounted(seen: Snapshot, m: re.Match[str], said: str) -> Reading:  # noqa: ARG001
    """The quota's controller has not counted it yet (it is new, or the controller stands still): until then all is refused."""
    name = m["name"]
    return Reading(
        CauseCode.QUOTA,
        f"ResourceQuota {name}",
        f"ResourceQuota {name} has not been counted yet ({m['what']}), and refuses everything until it is",
        f"see whether status.used of ResourceQuota {name} is empty; if it stays so, kube-controller-manager does not count it",
        doubt=_BY_WORDS,
        objects=((Kind.RESOURCE_QUOTA, name),),
    )


def _quota_demands(seen: Snapshot, m: re.Match[str], said: str) -> Reading:  # noqa: ARG001
    name, what = m["name"], m["what"]
    return Reading(
        CauseCode.QUOTA,
        f"ResourceQuota {name}",
        f"ResourceQuota {name} demands that each container sets {what}",
        f"set {what} for each container, or give the namespace a LimitRange with defaults",
        demands=tuple(sizes.unset(part, resource) for part, resource in _resources(what)),
        objects=((Kind.RESOURCE_QUOTA, name),),
    )


_Held = Callable[[Obj, Obj], bool]
"""Of a pod spec and one of its containers: does it break the rule?"""


def _own(spec: Obj, container: Obj, name: str) -> Any:
    """A field of the container's securityContext, else of the pod's."""
    own = (container.get("securityContext") or {}).get(name)
    return (spec.get("securityContext") or {}).get(name) if own is None else own


def _context(container: Obj) -> Obj:
    context: Obj = container.get("securityContext") or {}
    return context


def _capabilities(spec: Obj, container: Obj) -> bool:  # noqa: ARG001
    found: Obj = _context(container).get("capabilities") or {}
    return "ALL" not in (found.get("drop") or ()) or bool(set(found.get("add") or ()) - {"NET_BIND_SERVICE"})


_VOLUMES = frozenset(
    {
        "name",
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "persistentVolumeClaim",
        "projected",
        "secret",
    }
)
"""What a volume may be."""


def _hosts(spec: Obj, container: Obj) -> bool:  # noqa: ARG001
    return any(spec.get(name) for name in ("hostNetwork", "hostPID", "hostIPC"))


_CONTROLS: tuple[tuple[str, _Held], ...] = (
    (r"allowPrivilegeEscalation", lambda _, c: _context(c).get("allowPrivilegeEscalation") is not False),
    (r"runAsNonRoot", lambda s, c: _own(s, c, "runAsNonRoot") is not True),
    (r"seccompProfile", lambda s, c: (_own(s, c, "seccompProfile") or {}).get("type") not in ("RuntimeDefault", "Localhost")),
    (r"unrestricted capabilities", _capabilities),
    (r"non-default capabilities", lambda _, c: bool((_context(c).get("capabilities") or {}).get("add"))),
    (r"privileged", lambda _, c: _context(c).get("privileged") is True),
    (r"host namespaces|hostNetwork|hostPID|hostIPC", _hosts),
    (r"hostPort", lambda _, c: any(p.get("hostPort") for p in c.get("ports") or ())),
    (r"runAsUser", lambda s, c: _own(s, c, "runAsUser") == 0),
    (r"hostPath|restricted volume types", lambda s, _: any(not v.keys() <= _VOLUMES for v in s.get("volumes") or ())),
    (r"procMount", lambda _, c: _context(c).get("procMount") not in (None, "Default")),
)  # fmt: skip
"""The words of a control, and what breaks it (Kubernetes, "Pod Security Standards")."""


def _controls(why: str) -> tuple[Demand, ...]:
    """The controls that these words name."""
    return tuple(_control(words, breaks) for words, breaks in _CONTROLS if re.search(words, why))


def _control(words: str, breaks: _Held) -> Demand:
    def of(template: Obj) -> Mapping[str, Amount]:
        spec: Obj = template.get("spec") or {}
        every = (*(spec.get("initContainers") or ()), *(spec.get("containers") or ()))
        return {str(c.get("name")): int(breaks(spec, c)) for c in every}

    text = f"the revision before breaks {words.partition('|')[0]} of the Pod Security Standards as well"
    return Demand(text, of, _SECURITY)


def _pod_security(seen: Snapshot, m: re.Match[str], said: str) -> Reading:  # noqa: ARG001
    namespace = seen.workload.target.namespace
    text = f"Pod Security of namespace {namespace} ({m['level']}) refuses them: {m['why']}"
    advice = f"give the pods what level {m['level']} demands ({m['why']})"
    named = _controls(m["why"])
    return Reading(
        CauseCode.POD_SECURITY,
        f"Namespace {namespace}",
        text,
        advice,
        () if named else _SECURITY,
        named,
        "" if named else _BY_WORDS,
        ((Kind.NAMESPACE, namespace),),
    )


def _denied(seen: Snapshot, m: re.Match[str], said: str) -> Reading:  # noqa: ARG001
    return _turned_down("webhook", m["name"], m["why"] or "without a reason", "admission ")


def _policy_denied(seen: Snapshot, m: re.Match[str], said: str) -> Reading:  # noqa: ARG001
    return _turned_down("ValidatingAdmissionPolicy", m["name"], m["why"])


def _turned_down(what: str, name: str, why: str, kind: str = "") -> Reading:
    """By somebody's own rule: any change can have met it, and only its words tell which."""
    return Reading(
        CauseCode.WEBHOOK,
        f"{what} {name}",
        f"{kind}{what} {name} denied them: {why}",
        f"give the pods what {what} {name} demands: {why}",
        ("*",),
        doubt=_BY_WORDS,
    )


def _webhook_away(seen: Snapshot, m: re.Match[str], said: str) -> Reading:  # noqa: ARG001
    text = f"admission webhook {m['name']} cannot be called: {m['why']}"
    return Reading(
        CauseCode.WEBHOOK,
        f"webhook {m['name']}",
        text,
        f"restore webhook {m['name']}, which every new pod has to pass",
    )


def _service_account(seen: Snapshot, m: re.Match[str], said: str) -> Reading:  # noqa: ARG001
    name = m["name"]
    return Reading(
        CauseCode.SERVICE_ACCOUNT,
        f"ServiceAccount {name}",
        f"ServiceAccount {name} does not exist",
        f"create ServiceAccount {name} in namespace {seen.workload.target.namespace}; the pods are made by themselves then",
        demands=(demands.named("serviceAccountName", name, "ServiceAccount", default="default"),),
    )


def _priority(seen: Snapshot, m: re.Match[str], said: str) -> Reading:  # noqa: ARG001
    name = m["name"]
    return Reading(
        CauseCode.PRIORITY_CLASS,
        f"PriorityClass {name}",
        f"PriorityClass {name} does not exist",
        f"create PriorityClass {name}, or name one that exists",
        demands=(demands.named("priorityClassName", name, "PriorityClass"),),
    )


_BOUND = re.compile(
    r"(?P<word>minimum|maximum) (?P<name>\S+) usage|(?P<ratio>\S+) max limit to request ratio", re.IGNORECASE
)


def _limit_range(seen: Snapshot, m: re.Match[str], said: str) -> Reading:
    names = [r["metadata"]["name"] for r in seen.limit_ranges]
    name = names[0] if len(names) == 1 else ""
    own = f"LimitRange {name}" if name else f"a LimitRange of namespace {seen.workload.target.namespace}"
    what = said[m.start() :]
    bounds = [(b["name"] or b["ratio"], (b["word"] or "ratio").lower()) for b in _BOUND.finditer(what)]
    return Reading(
        CauseCode.LIMIT_RANGE,
        own,
        f"{own} refuses them: {what}",
        f"keep the bounds of {own} ({what})",
        demands=tuple(d for resource, word in bounds for d in sizes.bounded_by(resource, word)),
        objects=tuple((Kind.LIMIT_RANGE, n) for n in names),
    )


def _else(seen: Snapshot, said: str) -> Reading:
    target = seen.workload.target
    why = _WHO.sub("", said)
    return Reading(
        CauseCode.CREATE_REFUSED,
        f"{target.kind} {target.name}",
        f"the API server refuses them: {why}",
        f"make the API server accept the pods: {why}",
        ("*",),
        doubt=_BY_WORDS,
    )


_WHO = re.compile(r'^(?:Error creating: )?(?:pods "[^"]*" is forbidden: |Pod "[^"]*" is invalid: )?')
_RULES: tuple[tuple[re.Pattern[str], _Rule], ...] = (
    (
        re.compile(
            r"exceeded quota: (?P<name>[^,\s]+), requested: (?P<asked>.+?), used: (?P<used>.+?), limited: (?P<hard>[^\s]+)"
        ),
        _quota,
    ),
    (
        re.compile(r"status unknown for quota: (?P<name>[^,\s]+), resources: (?P<what>[^\s]+)"),
        _quota_uncounted,
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

# What was said to the controllers of pods that cannot be made.
#
# The words come from the condition ReplicaFailure of the Deployment and its ReplicaSets and from events FailedCreate,
# which are about the controller and therefore there also when no pod is left.


@dataclass(frozen=True, slots=True)
class Refusal:
    """What was said, about which controller (empty when not known), first and last when."""

    said: str
    revision: str
    since: datetime | None
    at: datetime | None


def said_to_controllers(seen: Snapshot) -> list[Refusal]:
    """All refusals that are told of."""
    return [*_from_conditions(seen), *_from_events(seen)]


def _from_conditions(seen: Snapshot) -> Iterator[Refusal]:
    for manifest in (*seen.controllers, seen.workload.manifest):
        for c in (manifest.get("status") or {}).get("conditions") or ():
            if c.get("type") == "ReplicaFailure" and c.get("status") == "True":
                said = c.get("message", "")
                at = parse_time(c.get("lastUpdateTime")) or parse_time(c.get("lastTransitionTime"))
                own = manifest["metadata"]["name"] if manifest is not seen.workload.manifest else ""
                since = parse_time(c.get("lastTransitionTime"))
                yield Refusal(said, own or _maker(seen, said), since, at)


_MAKER = re.compile(r'pods? "(?P<name>[a-z0-9.-]+?)" is (?:forbidden|invalid)', re.IGNORECASE)


def _maker(seen: Snapshot, said: str) -> str:
    """A pod is refused under the name of its ReplicaSet and a dash, by plug-ins that come after naming with five letters more; empty
    for a name that no ReplicaSet can have given."""
    found = _MAKER.search(said)
    names = {m["metadata"]["name"] for m in seen.controllers}
    stem = found["name"].rpartition("-")[0] if found else ""
    return stem if stem in names else ""


def _from_events(seen: Snapshot) -> Iterator[Refusal]:
    names = {m["metadata"]["name"] for m in seen.controllers}
    places = {f"ReplicaSet/{n}" for n in names} | {f"{seen.workload.target.kind}/{seen.workload.target.name}"}
    for e in seen.events:
        if e.reason == "FailedCreate" and e.about in places and seen.fresh(e):
            own = e.about.partition("/")[2] if e.about.startswith("ReplicaSet/") else ""
            yield Refusal(e.message, own, e.first_seen, e.last_seen)
