"""Whether any node could take a new pod, as far as its own object tells. Pure.

Used by `app.kube.newpods.gather`, where nodes may be read. Looked at: ready, cordoned, taints, node selector, required node
affinity, and whether the node is big enough at all. What other pods use up, volumes and topology are the scheduler's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from app.domain.json import Obj
from app.domain.new_pods import Finding, Part, PodCheck
from app.domain.units import counted
from app.kube.newpods.demand import amount, pod_amounts

_HARD = ("NoSchedule", "NoExecute")


def nodes_check(spec: Mapping[str, Any], nodes: Sequence[Obj]) -> PodCheck:
    """Fine when one node could take the pod; else what is wrong with how many of them."""
    faults = Counter(node_fault(spec, node) for node in nodes)
    if faults[""] or not nodes:
        finding = Finding.OK if faults[""] else Finding.UNTOLD
        return PodCheck(Part.NODES, finding, "" if faults[""] else "the cluster shows no node")
    told = ", ".join(f"{count} {fault}" for fault, count in faults.most_common())
    text = f"none of {counted(len(nodes), 'node')} could take a new pod: {told}"
    return PodCheck(Part.NODES, Finding.MISSING, text, "a node is ready, allowed and big enough for the pod")


def node_fault(spec: Mapping[str, Any], node: Obj) -> str:
    """Why this node does not take the pod, empty when it may."""
    labels = node["metadata"].get("labels") or {}
    conditions = {c["type"]: c["status"] for c in (node.get("status") or {}).get("conditions") or ()}
    if conditions.get("Ready") != "True":
        return "not ready"
    tolerations = spec.get("tolerations") or ()
    if (node.get("spec") or {}).get("unschedulable") and not _tolerated(_CORDON, tolerations):
        return "cordoned"
    for taint in (node.get("spec") or {}).get("taints") or ():
        if taint.get("effect") in _HARD and not _tolerated(taint, tolerations):
            return f"with the taint {taint['key']}:{taint['effect']}"
    for key, value in (spec.get("nodeSelector") or {}).items():
        if labels.get(key) != value:
            return f"without the label {key}={value}"
    if not _affine(spec, node):
        return "outside of the required node affinity"
    return _too_small(spec, node)


_CORDON = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}


def _tolerated(taint: Mapping[str, Any], tolerations: Sequence[Mapping[str, Any]]) -> bool:
    return any(
        t.get("effect") in (None, "", taint.get("effect"))
        and (t.get("key") in (None, "") or t.get("key") == taint.get("key"))
        and (t.get("operator") == "Exists" or t.get("value", "") == taint.get("value", ""))
        for t in tolerations
    )


def _affine(spec: Mapping[str, Any], node: Obj) -> bool:
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    if not required:
        return True
    return any(_term(term, node) for term in required.get("nodeSelectorTerms") or ())


def _term(term: Mapping[str, Any], node: Obj) -> bool:
    labels = node["metadata"].get("labels") or {}
    fields = {"metadata.name": node["metadata"]["name"]}
    rules = [(r, labels) for r in term.get("matchExpressions") or ()]
    rules += [(r, fields) for r in term.get("matchFields") or ()]
    return bool(rules) and all(_holds(rule, values) for rule, values in rules)


def _holds(rule: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    has, values = labels.get(rule["key"]), list(rule.get("values") or ())
    match rule["operator"]:
        case "In":
            return has in values
        case "NotIn":
            return has not in values
        case "Exists":
            return has is not None
        case "DoesNotExist":
            return has is None
        case "Gt" | "Lt":
            if has is None or not has.lstrip("-").isdigit():
                return False
            return int(has) > int(values[0]) if rule["operator"] == "Gt" else int(has) < int(values[0])
        case _:
            return False


def _too_small(spec: Mapping[str, Any], node: Obj) -> str:
    offered = (node.get("status") or {}).get("allocatable") or {}
    for name, wanted in pod_amounts(spec, "requests").items():
        if wanted and (name not in offered or amount(name, offered[name]) < wanted):
            return f"too small ({name})"
    return ""


def daemon_check(placed: Sequence[str], nodes: Sequence[Obj]) -> PodCheck:
    """The nodes that a DaemonSet's pods are on: on one that is not ready the rollout stands still, and one that is cordoned is
    in somebody's hands, although a pod of a DaemonSet is put there all the same."""
    ours = [n for n in nodes if n["metadata"]["name"] in set(placed)]
    down = [n["metadata"]["name"] for n in ours if node_fault(_NO_WISHES, n) == "not ready"]
    if down:
        text = f"not ready, so that no new pod starts there: node {', '.join(down)}"
        return PodCheck(Part.NODES, Finding.MISSING, text, f"node {', '.join(down)} is ready")
    cordoned = [n["metadata"]["name"] for n in ours if (n.get("spec") or {}).get("unschedulable")]
    if cordoned:
        text = f"cordoned, so somebody takes it out of service: node {', '.join(cordoned)}"
        return PodCheck(Part.NODES, Finding.UNKNOWN, text, f"node {', '.join(cordoned)} is uncordoned")
    return PodCheck(Part.NODES, Finding.OK)


_NO_WISHES: Mapping[str, Any] = {"tolerations": [{"operator": "Exists"}]}
