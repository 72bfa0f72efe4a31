"""Whether a template keeps its own pods apart, so that no place is left for one more: required anti-affinity, host ports, and claims
that only one pod may use.

Used by `app.kube.newpods.gather`, where nodes may be read. Looked at: the template, the claims, and where the present pods are. What other
workloads take up is the scheduler's, and so are topology spread constraints, which count pods and forbid none for good. Source:
Kubernetes, "Assigning Pods to Nodes" (a node without the topology key is no obstacle) and "Persistent Volumes" (ReadWriteOncePod). Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.domain.json import Obj
from app.domain.new_pods import Finding, Part, PodCheck
from app.domain.target import Kind
from app.domain.units import counted
from app.kube.manifest import claims_of
from app.kube.newpods.goal import Goal, host_ports
from app.kube.newpods.obstacles import node_fault
from app.kube.parse import fingerprint, selects

_HASH = "pod-template-hash"
_ONE_POD = "ReadWriteOncePod"


@dataclass(frozen=True, slots=True)
class Crowd:
    """What is there: the present pods of the workload, its ReplicaSets, the cluster's nodes, and the claims of the template by name."""

    pods: Sequence[Obj]
    replica_sets: Sequence[Obj]
    nodes: Sequence[Obj]
    claims: Mapping[str, Obj]


@dataclass(frozen=True, slots=True)
class _Apart:
    """One rule that keeps pods apart: by the value of this label of their node, empty for the node itself. `same`: only pods of one
    revision keep apart; `ports`: only pods with one of these host ports."""

    what: str
    key: str = ""
    same: bool = False
    ports: frozenset[tuple[int, str]] = frozenset()


def crowding_checks(goal: Goal, crowd: Crowd) -> list[PodCheck]:
    """The faults only: what leaves no place for the new pods. A DaemonSet has one pod a node, by its controller."""
    if goal.workload.target.kind is Kind.DAEMON_SET:
        return []
    kept, wanted = _kept(goal, crowd), 0
    staying = [p for p in crowd.pods if p["metadata"]["name"] not in goal.removed]
    if goal.rolls:  # beside the old pods, when none of them may go first
        wanted = 1 if goal.replicas > kept and not goal.at_once else 0
    else:
        wanted = max(goal.replicas - len(staying), 0)
    if not wanted:
        return []
    return [*_apart(goal, crowd, staying, wanted), *_single(goal, crowd, staying)]


def _kept(goal: Goal, crowd: Crowd) -> int:
    """How many present pods a rollout keeps: those that are there still of the revision that a rollback goes back to."""
    if not goal.another:
        return 0
    same = fingerprint(goal.template)
    names = {r["metadata"]["name"] for r in crowd.replica_sets if fingerprint(r["spec"]["template"]) == same}
    owners = (o for p in crowd.pods for o in p["metadata"].get("ownerReferences") or ())
    return sum(o.get("kind") == Kind.REPLICA_SET and o.get("name") in names for o in owners)


def _apart(goal: Goal, crowd: Crowd, staying: Sequence[Obj], wanted: int) -> Iterator[PodCheck]:
    by_name = {n["metadata"]["name"]: n for n in crowd.nodes}
    good = [n for n in crowd.nodes if not node_fault(goal.spec, n)]
    for rule in _rules(goal):
        if not good or any(_domain(n, rule.key) is None for n in good):
            continue
        pods = [] if rule.same and goal.rolls else [p for p in staying if _counts(p, rule)]
        nodes = (by_name.get(p["spec"].get("nodeName", "")) for p in pods)
        taken = {_domain(n, rule.key) for n in nodes if n is not None}
        free = len({_domain(n, rule.key) for n in good} - taken)
        if free < wanted:
            where = "nodes" if rule.key in ("", "kubernetes.io/hostname") else f"values of {rule.key}"
            text = (
                f"the template's {rule.what} lets one pod on each of the {where}: {counted(wanted, 'new pod')} wanted,"
                f" {counted(free, 'place')} free beside {counted(len(pods), 'present pod')}"
            )
            yield PodCheck(
                Part.NODES,
                Finding.MISSING,
                text,
                f"the template has no such {rule.what}, or there are more {where}",
            )


def _counts(pod: Obj, rule: _Apart) -> bool:
    return not rule.ports or bool(rule.ports & host_ports(pod["spec"]))


def _domain(node: Obj, key: str) -> str | None:
    """Where the node belongs to by this label; None where it has none."""
    name: str = node["metadata"]["name"]
    return name if not key else (node["metadata"].get("labels") or {}).get(key)


def _rules(goal: Goal) -> Iterator[_Apart]:
    labels = (goal.template.get("metadata") or {}).get("labels") or {}
    for term in _anti_affinity(goal.spec):
        if _of_own(term, labels, goal.namespace):
            same = _HASH in (term.get("matchLabelKeys") or ())
            yield _Apart("required pod anti-affinity", term.get("topologyKey", ""), same)
    if ports := host_ports(goal.spec):
        numbers = ", ".join(str(port) for port, _ in sorted(ports))
        yield _Apart(f"host port {numbers}", ports=ports)


def _anti_affinity(spec: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    rules = (spec.get("affinity") or {}).get("podAntiAffinity") or {}
    return rules.get("requiredDuringSchedulingIgnoredDuringExecution") or ()


def _of_own(term: Mapping[str, Any], labels: Mapping[str, str], namespace: str) -> bool:
    """Whether the term surely means pods of the template itself. A term without a selector means none."""
    selector = term.get("labelSelector")
    if selector is None or term.get("mismatchLabelKeys"):
        return False
    everywhere = term.get("namespaceSelector")
    if everywhere or (everywhere is None and namespace not in (term.get("namespaces") or (namespace,))):
        return False
    return selects(selector, labels)


def _single(goal: Goal, crowd: Crowd, staying: Sequence[Obj]) -> Iterator[PodCheck]:
    """A claim that one pod alone may use: the second one stays Pending."""
    for name in claims_of(goal.spec):
        modes = (crowd.claims.get(name, {}).get("spec") or {}).get("accessModes") or ()
        users = sum(name in claims_of(p["spec"]) for p in staying)
        if _ONE_POD in modes and (users or goal.replicas > 1):
            used = f", which {counted(users, 'present pod')} uses" if users == 1 else ""
            text = f"PersistentVolumeClaim {name} ({_ONE_POD}) lets one pod use it{used}"
            yield PodCheck(
                Part.VOLUMES,
                Finding.MISSING,
                text,
                f"the pods of the template do not share claim {name}, or its access mode allows it",
            )
