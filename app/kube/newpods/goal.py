"""What a step makes: the template that its new pods come from, how many there will be, how many come before old ones go, what one pod
asks of its namespace, and when a changed template would not roll out. Pure; reads manifests only."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.domain.change import tokens
from app.domain.json import Obj
from app.domain.plan import RESTART_TO_UNDO, Action, ActionKind, FieldChange
from app.domain.target import Kind
from app.domain.workload import Workload
from app.kube.impossible import Impossible
from app.kube.look import AUTOSCALERS, POD_KINDS
from app.kube.manifest import claims_of, parse_cpu, parse_memory

# What one pod asks of a namespace: resources as the API server counts them for quotas and scheduling.
#
# Used by the checks of quotas, LimitRanges and nodes. Pure. Rules: the pod's sum is that of its containers and its
# native sidecars (init containers that always restart); an init container counts by its peak, with the sidecars
# before it; pod-level resources take the place of the sum; the runtime's overhead comes on top. CPU in millicores,
# everything else in its own unit. Source: Kubernetes, "Resource Quotas", "Sidecar Containers" and "Pod Overhead" of
# the documentation.

Amounts = Counter[str]
"""By resource name (`cpu`, `memory`, `nvidia.com/gpu`)."""
_IN_QUOTAS = ("cpu", "memory", "ephemeral-storage")


def amount(resource: str, text: Any) -> int:
    """Millicores for what ends in `cpu`, the plain rounded-up number for everything else."""
    return parse_cpu(text) if resource.rpartition(".")[2] == "cpu" else parse_memory(text)


def pod_amounts(spec: Mapping[str, Any], field: str) -> Amounts:
    """`requests` or `limits` of the whole pod. A missing request equals the limit."""
    total: Amounts = Counter()
    for container in spec.get("containers") or ():
        total.update(of_container(container, field))
    sidecars: Amounts = Counter()
    peak: Amounts = Counter()
    for container in spec.get("initContainers") or ():
        own = of_container(container, field)
        if container.get("restartPolicy") == "Always":
            sidecars.update(own)
            own = Counter()
        for name in (*own, *sidecars):
            peak[name] = max(peak[name], own[name] + sidecars[name])
    total.update(sidecars)
    for name, most in peak.items():
        total[name] = max(total[name], most)
    total.update(_pod_level(spec, field, total))
    overhead = spec.get("overhead") or {}
    if field == "requests":
        total.update({name: amount(name, text) for name, text in overhead.items()})
    else:  # where there is no limit the overhead makes none
        total.update({name: amount(name, text) for name, text in overhead.items() if total[name]})
    return total


def _pod_level(spec: Mapping[str, Any], field: str, total: Amounts) -> Amounts:
    """What has to be added so that pod-level resources take the place of the containers' sum."""
    resources = spec.get("resources") or {}
    own = dict(resources.get(field) or {})
    if field == "requests":
        own = {**{k: v for k, v in (resources.get("limits") or {}).items() if k not in total}, **own}
    more: Amounts = Counter()
    for name, text in own.items():
        more[name] = amount(name, text) - total[name]
    return more


def of_container(container: Mapping[str, Any], field: str) -> Amounts:
    """`requests` or `limits` of one container. A missing request equals the limit."""
    resources = container.get("resources") or {}
    given = dict(resources.get(field) or {})
    if field == "requests":
        given = {**(resources.get("limits") or {}), **given}
    return Counter({name: amount(name, text) for name, text in given.items()})


def quota_use(spec: Mapping[str, Any]) -> Amounts:
    """What one pod adds to each resource that a quota may bound, in the quota's canonical names."""
    use: Amounts = Counter({"pods": 1, "count/pods": 1})
    for field in ("requests", "limits"):
        for name, number in pod_amounts(spec, field).items():
            if field == "requests" or name in _IN_QUOTAS:
                use[f"{field}.{name}"] += number
    return use


def canonical(resource: str) -> str:
    """`memory` in a quota means `requests.memory`."""
    return f"requests.{resource}" if resource in _IN_QUOTAS or resource.startswith("hugepages-") else resource


def unset(spec: Mapping[str, Any], resource: str) -> tuple[str, ...]:
    """Containers that do not set this compute resource of a quota, which a quota on it demands of each; none where the pod
    sets it for all of them."""
    field, _, name = canonical(resource).partition(".")
    if field not in ("requests", "limits") or name not in ("cpu", "memory"):
        return ()
    if name in ((spec.get("resources") or {}).get(field) or {}):
        return ()
    return tuple(c["name"] for c in all_containers(spec) if name not in of_container(c, field))


def all_containers(spec: Mapping[str, Any]) -> Iterable[Obj]:
    """Init containers and containers."""
    return (*(spec.get("initContainers") or ()), *(spec.get("containers") or ()))


def quality(spec: Mapping[str, Any]) -> str:
    """BestEffort, Burstable or Guaranteed, as the API server classes it."""
    pod = spec.get("resources") or {}
    resources = [pod] if pod else [c.get("resources") or {} for c in all_containers(spec)]
    relevant = [
        ({k: v for k, v in (r.get("limits") or {}).items() if k in ("cpu", "memory")}, r) for r in resources
    ]
    asked = [(r.get("requests") or {}) for _, r in relevant]
    if not any(limits for limits, _ in relevant) and not any(
        name in requests for requests in asked for name in ("cpu", "memory")
    ):
        return "BestEffort"
    for limits, given in relevant:
        requests = {**limits, **(given.get("requests") or {})}
        if set(limits) != {"cpu", "memory"}:
            return "Burstable"
        if any(amount(n, requests[n]) != amount(n, limits[n]) for n in limits):
            return "Burstable"
    return "Guaranteed"


# How many pods a rolling update runs beyond the wanted number. Pure; used by builders that look at quotas.


def surge_pods(workload: Workload) -> int:
    """MaxSurge in pods, percentages rounded up as the controllers do; Deployments default to 25 %, others to 0."""
    spec = workload.manifest["spec"]
    if workload.target.kind is Kind.DEPLOYMENT:
        strategy = spec.get("strategy") or {}
        if strategy.get("type") == "Recreate":
            return 0
        surge = (strategy.get("rollingUpdate") or {}).get("maxSurge", "25%")
    elif workload.target.kind is Kind.DAEMON_SET:
        surge = ((spec.get("updateStrategy") or {}).get("rollingUpdate") or {}).get("maxSurge", 0)
    else:
        return 0
    if isinstance(surge, str):
        return -(-workload.desired * int(surge.rstrip("%")) // 100)
    return int(surge)


def taken_down_at_once(workload: Workload) -> int:
    """The controller's own bound on pods that a rolling update makes unavailable at the same time, in pods.

    Deployment: maxUnavailable, default 25 %, rounded down, but 1 when nothing may surge either; Recreate takes all.
    DaemonSet: maxUnavailable, default 1, rounded up. StatefulSet: one after another, default 1; OnDelete takes none.
    """
    spec, desired = workload.manifest["spec"], workload.desired
    if workload.target.kind is Kind.DEPLOYMENT:
        strategy = spec.get("strategy") or {}
        if strategy.get("type") == "Recreate":
            return desired
        down = _pods((strategy.get("rollingUpdate") or {}).get("maxUnavailable", "25%"), desired, up=False)
        return down if down or surge_pods(workload) else min(1, desired)
    strategy = spec.get("updateStrategy") or {}
    if strategy.get("type") == "OnDelete":
        return 0
    rolling = strategy.get("rollingUpdate") or {}
    return max(1, _pods(rolling.get("maxUnavailable", 1), desired, up=True))


def _pods(value: int | str, desired: int, *, up: bool) -> int:
    if isinstance(value, str) and value.endswith("%"):
        share = desired * int(value.rstrip("%"))
        return -(-share // 100) if up else share // 100
    return int(value)


# What all actions that change a pod template have in common: when they would not roll out.
#
# Pure; used by the builders of this package only.


def refusal(workload: Workload, what: str) -> Impossible | None:
    """Why a changed template would not reach the pods by itself, None when it would."""
    if workload.paused:
        # Resumed as it is, it rolls out what its template has by now, which may be what fails; kubectl undoes nothing while it is paused.
        return Impossible(
            f"the rollout of {workload.target} is paused, so {what} would not roll out",
            "see why it is paused, and make its template right first (kubectl refuses an undo meanwhile; kubectl set image and edit work): "
            f"only then kubectl rollout resume {_words(workload)}",
        )
    strategy = workload.manifest["spec"].get("updateStrategy") or {}
    if strategy.get("type") == "OnDelete":
        return Impossible(
            f"{workload.target} updates its pods only when they are deleted (OnDelete), so {what} would not roll out",
            "delete its pods one by one after changing it",
        )
    return None


def _words(workload: Workload) -> str:
    target = workload.target
    return f"{target.kind.lower()}/{target.name} -n {target.namespace}"


# What a step makes: the template that its new pods come from, how many there will be, and how many come before old
# ones go.
#
# Used by the checks of `app.kube.newpods`. Pure; reads manifests only.

_ROLLS = frozenset(
    {
        ActionKind.ROLLOUT_RESTART,
        ActionKind.ROLL_BACK,
        ActionKind.RAISE_MEMORY_LIMIT,
        ActionKind.SET_IMAGE,
        ActionKind.ROTATE_KEY,  # by the restart that comes with it
    }
)


_ANEW = frozenset({ActionKind.ROLLOUT_RESTART, *RESTART_TO_UNDO})


@dataclass(frozen=True, slots=True)
class Goal:
    """What is made. `template` is the pod template after the step, `replicas` how many pods there will be; `rolls`: all
    present pods are replaced; `surge`: pods beyond the wanted number while it rolls; `at_once`: pods that may be down at
    the same time; `removed`: names of pods that are deleted. `another`: the template is that of another
    revision. `anew`: pods are made also where the template stays the same."""

    workload: Workload
    template: Obj
    replicas: int
    rolls: bool = False
    surge: int = 0
    at_once: int = 0
    removed: tuple[str, ...] = ()
    another: bool = False
    anew: bool = False

    @property
    def namespace(self) -> str:
        """Where the pods are made."""
        return self.workload.target.namespace

    @property
    def spec(self) -> Obj:
        """The pod spec, as the template has it."""
        spec: Obj = self.template.get("spec") or {}
        return spec


def goal_of(workload: Workload, actions: Sequence[Action]) -> Goal:
    """What these actions make of the workload. An action on a pod or an autoscaler changes no template."""
    own = [c for a in actions if a.object.kind is workload.target.kind for c in a.changes]
    after = with_changes(workload.manifest, own)
    rolls = any(a.kind in _ROLLS for a in actions)
    return Goal(
        workload=workload,
        template=after["spec"]["template"],
        replicas=max(_replicas(workload, after), *(_raised(a) for a in actions), 0),
        rolls=rolls,
        surge=surge_pods(workload) if rolls else 0,
        at_once=taken_down_at_once(workload) if rolls else 0,
        removed=tuple(a.object.name for a in actions if a.kind in POD_KINDS),
        another=any(a.kind is ActionKind.ROLL_BACK for a in actions),
        anew=any(a.kind in _ANEW for a in actions),
    )


def _replicas(workload: Workload, after: Obj) -> int:
    if workload.target.kind is Kind.DAEMON_SET:
        return workload.desired
    return int(after["spec"].get("replicas", 1))


_MINIMA = ("/spec/minReplicas", "/spec/minReplicaCount")


def _raised(action: Action) -> int:
    """The new minimum of an autoscaler or of KEDA's object, 0 for other actions."""
    if action.kind not in AUTOSCALERS:
        return 0
    return max((int(c.after or 0) for c in action.changes if c.path in _MINIMA), default=0)


def with_changes(manifest: Obj, changes: Sequence[FieldChange]) -> Obj:
    """A copy of the manifest with these fields as they will be. A list element that is not there is left out."""
    result: Obj = copy.deepcopy(manifest)
    for change in changes:
        _put(result, tokens(change.path), change.after)
    return result


def _put(node: Any, steps: Sequence[str], value: Any) -> None:
    head, *rest = steps
    if isinstance(node, list):
        named = head.removeprefix("[name=").removesuffix("]")
        found = next((i for i in node if isinstance(i, dict) and i.get("name") == named), None)
        if head.isdecimal() and int(head) < len(node):
            found = node[int(head)]
        if found is not None and rest:
            _put(found, rest, value)
        return
    if not rest:
        if value is None:
            node.pop(head, None)
        else:
            node[head] = copy.deepcopy(value)
        return
    if node.get(head) is None:
        if value is None:
            return
        node[head] = {}
    _put(node[head], rest, value)


def pod_of(goal: Goal) -> Obj:
    """A pod as the controller would make it: the template under a generated name. Of a StatefulSet it also has the volumes
    that come from its claim templates; it has no owner, so that nobody adopts it."""
    name, meta = goal.workload.target.name, goal.template.get("metadata") or {}
    spec: Obj = copy.deepcopy(goal.spec)
    claims = goal.workload.manifest["spec"].get("volumeClaimTemplates") or ()
    if claims:
        made = [
            {
                "name": c["metadata"]["name"],
                "persistentVolumeClaim": {"claimName": f"{c['metadata']['name']}-{name}-0"},
            }
            for c in claims
        ]
        taken = {c["name"] for c in made}
        spec["volumes"] = [*(v for v in spec.get("volumes") or () if v["name"] not in taken), *made]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": f"{name}-",
            "namespace": goal.namespace,
            "labels": dict(meta.get("labels") or {}),
            "annotations": dict(meta.get("annotations") or {}),
        },
        "spec": spec,
    }


def host_ports(spec: Mapping[str, Any]) -> frozenset[tuple[int, str]]:
    """Port and protocol on the node; with the host's network every port of a container is one."""
    field = "containerPort" if spec.get("hostNetwork") else "hostPort"
    ports = [p for c in all_containers(spec) for p in c.get("ports") or ()]
    return frozenset((int(p[field]), p.get("protocol", "TCP")) for p in ports if p.get(field))


def keeps_apart(spec: Mapping[str, Any]) -> bool:
    """Whether a template may say anything of its pods beside each other, so that a look at them is worth its reads."""
    rules = (spec.get("affinity") or {}).get("podAntiAffinity")
    return bool(rules or host_ports(spec) or claims_of(spec))


def ports_of(template: Obj) -> frozenset[str]:
    """The ports of its containers, each by its number and by its name, as far as a template tells: those that they declare, those that are asked
    whether they are ready, and the value of `PORT` and the like."""
    found: set[str] = set()
    for container in all_containers(template.get("spec") or {}):
        for port in container.get("ports") or ():
            found |= {str(port[field]) for field in ("name", "containerPort") if port.get(field)}
        for probe in (container.get("readinessProbe") or {}, container.get("startupProbe") or {}):
            asked = [(probe.get(kind) or {}).get("port") for kind in ("httpGet", "tcpSocket", "grpc")]
            found |= {str(port) for port in asked if port}
        named = (e for e in container.get("env") or () if str(e.get("name", "")).upper().endswith("PORT"))
        found |= {str(e["value"]) for e in named if str(e.get("value", "")).isdecimal()}
    return frozenset(found)


def meets_others(goal: Goal) -> bool:
    """Whether the step changes labels or ports of the pods, by which others find them, so that a look at these is worth its reads."""
    now = goal.workload.manifest["spec"]["template"]
    before, after = ((t.get("metadata") or {}).get("labels") or {} for t in (now, goal.template))
    return before != after or not ports_of(now) <= ports_of(goal.template)


def makes_pods(goal: Goal, present: int) -> bool:
    """Whether any pod is made beyond the present ones, or in the place of one."""
    return goal.rolls or bool(goal.removed) or goal.replicas > present
