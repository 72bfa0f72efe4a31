"""Forms of values that end up in Kubernetes objects as they are: what the API server takes, and what it refuses.

`TAKEN` and `REFUSED` are for the schema, `TOGETHER` for the template that compares what a schema cannot. tests/live/chart sends all of
them to a real API server, so the tables themselves are true.
"""

from __future__ import annotations

from typing import Any

Case = tuple[str, Any]

RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
}
CONTAINER = {"name": "c", "image": "i", "securityContext": RESTRICTED}
SPREAD = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": {}}
_REQUIRED, _PREFERRED = (f"{w}DuringSchedulingIgnoredDuringExecution" for w in ("required", "preferred"))
_GPU, _HUGE = "example.org/gpu", "hugepages-2Mi"


def _selecting(operator: str, *values: str, key: str = "a", **more: Any) -> dict[str, Any]:
    return {
        "matchExpressions": [
            {"key": key, "operator": operator, **({"values": [*values]} if values else {}), **more}
        ]
    }


def _node(term: dict[str, Any]) -> Case:
    return "affinity", {"nodeAffinity": {_REQUIRED: {"nodeSelectorTerms": [term]}}}


def _liked(term: dict[str, Any]) -> Case:
    return "affinity", {"nodeAffinity": {_PREFERRED: [{"weight": 1, "preference": term}]}}


def _field(operator: str, *values: str, key: str = "metadata.name") -> dict[str, Any]:
    return {"matchFields": [{"key": key, "operator": operator, "values": [*values]}]}


def _apart(**more: Any) -> Case:
    return "affinity", {
        "podAntiAffinity": {_REQUIRED: [{"topologyKey": "zone", "labelSelector": {}, **more}]}
    }


def _from(**peer: Any) -> Case:
    return "networkPolicy__from", [peer]


def _egress(**port: Any) -> Case:
    return "networkPolicy__egress", [{"ports": [port]}]


def _block(cidr: str, *outside: str) -> Case:
    return _from(ipBlock={"cidr": cidr, "except": [*outside]})


def _resources(asked: dict[str, Any], most: dict[str, Any] | None = None, **more: Any) -> Case:
    return "resources", {"requests": asked, "limits": most or {}, **more}


TAKEN: list[Case] = [
    ("podDisruptionBudget__maxUnavailable", "50%"),
    ("podDisruptionBudget__maxUnavailable", "100%"),
    ("podDisruptionBudget__maxUnavailable", 3),
    ("image__digest", f"sha512:{'0af' * 42}00"),
    ("image__digest", f"sha384:{'0af' * 32}"),
    ("auditVerify__schedule", "@every 1h"),
    ("auditVerify__schedule", "@every 1h30m"),
    ("auditVerify__schedule", "0 0-23/2 1-31 1-12 SUN-sat"),
    ("auditVerify__schedule", "5-5,1-3,*/7 9 * * 1-5"),
    _block("10.0.0.0/8", "10.1.0.0/16", "10.2.0.0/15"),
    _block("fd00::/8", "fd12:3456::/32"),
    _block("0.0.0.0/0", "169.254.169.254/32"),
    _block("::/0", "fe80::/10"),
    _egress(port=80, endPort=80),
    _egress(port=80, endPort=65535, protocol="SCTP"),
    _from(podSelector=_selecting("In", "b", "")),
    _from(namespaceSelector=_selecting("DoesNotExist")),
    _from(podSelector=_selecting("Exists", values=[])),
    _node(_selecting("Gt", "5")),
    _node(_selecting("Lt", "0")),
    _node(_selecting("NotIn", "a")),
    _node(_selecting("Exists")),
    _node(_field("In", "node-1")),
    _liked(_field("NotIn", "node-1")),
    _apart(matchLabelKeys=["pod-template-hash"], mismatchLabelKeys=["tenant"]),
    _apart(namespaces=["a"], namespaceSelector={}),
    _apart(labelSelector=_selecting("In", "b")),
    ("topologySpreadConstraints", [SPREAD, {**SPREAD, "topologyKey": "host"}, {**SPREAD, "whenUnsatisfiable": "DoNotSchedule"}]),
    ("topologySpreadConstraints", [{**SPREAD, "matchLabelKeys": ["pod-template-hash"]}]),
    ("topologySpreadConstraints", [{**SPREAD, "labelSelector": {"matchLabels": {"a": "b"}}, "matchLabelKeys": ["a"]}]),
    _apart(labelSelector={"matchLabels": {"a": "b"}}, mismatchLabelKeys=["a"]),
    _resources({"cpu": 1, _GPU: 2}, {"cpu": 1, _GPU: "2"}),
    _resources({}, {_GPU: 1}),
    _resources({"cpu": "100m", _HUGE: "4Mi"}, {_HUGE: "4Mi"}),
    _resources({"ephemeral-storage": "1G", "memory": "128974848"}, {"ephemeral-storage": "1Gi"}),
    ("commonAnnotations", {"a": "x" * 200_000}),
    ("extraVolumeMounts", [{"name": "ca", "mountPath": "/ca", "readOnly": True, "recursiveReadOnly": "IfPossible"}]),
    ("extraVolumeMounts", [{"name": "ca", "mountPath": "/secrets"}]),
    ("extraContainers", [CONTAINER, {**CONTAINER, "name": "d", "resources": {"limits": {"cpu": 1, _GPU: 1}}}]),
]  # fmt: skip

REFUSED: list[Case] = [
    ("podDisruptionBudget__maxUnavailable", "101%"),
    ("podDisruptionBudget__maxUnavailable", "50"),
    ("podDisruptionBudget__maxUnavailable", "-5%"),
    ("podDisruptionBudget__maxUnavailable", "5.5%"),
    ("auditVerify__schedule", "@every day"),
    ("auditVerify__schedule", "@every 1d"),
    ("auditVerify__schedule", "@every"),
    ("auditVerify__schedule", "TZ=UTC 1 1 * * *"),
    _egress(endPort=90),
    _from(podSelector=_selecting("In")),
    _from(podSelector=_selecting("NotIn", values=[])),
    _from(namespaceSelector=_selecting("Exists", "b")),
    _from(namespaceSelector=_selecting("DoesNotExist", "b")),
    _from(podSelector=_selecting("In", "-x")),
    _node(_selecting("In")),
    _node(_selecting("NotIn", values=[])),
    _node(_selecting("Exists", "a")),
    _node(_selecting("Gt")),
    _node(_selecting("Gt", "1", "2")),
    _node(_selecting("In", "-x")),
    _node(_selecting("Lt", "-5")),
    _liked(_selecting("In", "-x")),
    _node(_field("In", "a", "b")),
    _node(_field("In", "Node_1")),
    _node(_field("Exists", "a")),
    _node(_field("Gt", "1")),
    _node(_field("In", "a", key="spec.unschedulable")),
    _liked(_field("In")),
    _liked(_selecting("In")),
    _liked(_selecting("DoesNotExist", "a")),
    _apart(labelselector={}),
    _apart(weight=1),
    _apart(matchLabelKeys=["a b"]),
    _apart(topologyKey=""),
    _apart(namespaces=["Team"]),
    _apart(labelSelector=_selecting("In")),
    ("affinity", {"podAntiAffinity": {_REQUIRED: [{"topologyKey": "zone", "matchLabelKeys": ["a"]}]}}),
    ("affinity", {"podAffinity": {_PREFERRED: [{"weight": 1, "podAffinityTerm": {"topologyKey": "zone", "mismatchLabelKeys": ["a"]}}]}}),
    ("topologySpreadConstraints", [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway", "matchLabelKeys": ["a"]}]),
    _resources({"cpu": "1"}, claims=[{"name": "gpu"}]),
    _resources({"gpu": 1}, {"gpu": 1}),
    _resources({}, {_GPU: "500m"}),
    _resources({}, {_GPU: 0.5}),
    _resources({"memory": "400m"}),
    _resources({"ephemeral-storage": "100m"}),
    _resources({"ephemeral-storage": "1GB"}),
    ("extraVolumeMounts", [{"name": "ca", "mountPath": "/ca", "subPath": "a", "subPathExpr": "b"}]),
    ("extraVolumeMounts", [{"name": "ca", "mountPath": "/ca", "recursiveReadOnly": "Enabled"}]),
    ("extraVolumeMounts", [{"name": "ca", "mountPath": "/ca", "readOnly": True, "recursiveReadOnly": "Enabled", "mountPropagation": "HostToContainer"}]),
]  # fmt: skip

TOGETHER: list[tuple[str, Any, str]] = [
    ("auditVerify__schedule", "5-1 * * * *", "auditVerify.schedule: 5-1 begins behind its end"),
    ("auditVerify__schedule", "0 0 * * fri-mon", "auditVerify.schedule: fri-mon begins behind its end"),
    ("auditVerify__schedule", "0 0 * dec-jan *", "auditVerify.schedule: dec-jan begins behind its end"),
    ("auditVerify__schedule", "0 1,22-4/2 * * *", "auditVerify.schedule: 22-4 begins behind its end"),
    (*_block("10.0.0.0/8", "11.0.0.0/16"), "networkPolicy.from: ipBlock.except 11.0.0.0/16 is not within 10.0.0.0/8"),
    (*_block("10.0.0.0/8", "10.0.0.0/8"), "networkPolicy.from: ipBlock.except 10.0.0.0/8 is not within"),
    (*_block("10.0.0.0/16", "10.0.0.0/8"), "networkPolicy.from: ipBlock.except 10.0.0.0/8 is not within"),
    (*_block("10.0.0.0/12", "10.16.0.0/16"), "networkPolicy.from: ipBlock.except 10.16.0.0/16 is not within"),
    (*_block("fd00::/8", "fe00::/16"), "networkPolicy.from: ipBlock.except fe00::/16 is not within fd00::/8"),
    (*_block("10.0.0.0/8", "fd00::/16"), "networkPolicy.from: ipBlock.except fd00::/16 is not within 10.0.0.0/8"),
    (*_block("10.0.0.1/8"), "networkPolicy.from: 10.0.0.1/8 has bits behind its mask"),
    (*_block("10.0.0.0/8", "10.1.2.3/16"), "networkPolicy.from: 10.1.2.3/16 has bits behind its mask"),
    (*_block("fd00::1/8"), "networkPolicy.from: fd00::1/8 has bits behind its mask"),
    ("networkPolicy__egress", [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["1.0.0.0/16"]}}]}], "networkPolicy.egress: ipBlock.except 1.0.0.0/16 is not"),
    ("networkPolicy__apiServer__cidrs", ["10.0.0.1/24"], "networkPolicy.apiServer.cidrs: 10.0.0.1/24 has bits"),
    ("networkPolicy__dns__cidrs", ["10.0.0.1/24"], "networkPolicy.dns.cidrs: 10.0.0.1/24 has bits"),
    (*_egress(port=90, endPort=80), "networkPolicy.egress: endPort 80 is less than port 90"),
    ("topologySpreadConstraints", [SPREAD, {**SPREAD, "maxSkew": 2}], "topologySpreadConstraints: zone with ScheduleAnyway is there twice"),
    (*_apart(matchLabelKeys=["a"], mismatchLabelKeys=["a"]), "affinity: a is in matchLabelKeys and in mismatchLabelKeys"),
    (*_resources({_GPU: 1}), "resources.requests.example.org/gpu: 1 needs the same in resources.limits"),
    (*_resources({_GPU: 1}, {_GPU: 2}), "resources.requests.example.org/gpu: 1 needs the same in resources.limits"),
    (*_resources({"cpu": 1, _HUGE: "2Mi"}, {_HUGE: "4Mi"}), "resources.requests.hugepages-2Mi: 2Mi needs the same in resources.limits"),
    ("resources", {"requests": {"cpu": None, "memory": None}, "limits": {"memory": None, _HUGE: "4Mi"}}, "resources: hugepages need cpu or memory besides"),
    (*_resources({}, {_HUGE: "3Mi"}), "resources.limits.hugepages-2Mi: 3Mi is no multiple of 2Mi"),
    (*_resources({"ephemeral-storage": "2Gi"}, {"ephemeral-storage": "1Gi"}), "resources.requests.ephemeral-storage: 2Gi is more than resources.limits.ephemeral-storage (1Gi)"),
    ("commonAnnotations", {"a": "x" * 262_144}, "commonAnnotations: annotations of 26"),
    ("service__annotations", {"a": "x" * 262_144}, "service.annotations: annotations of 26"),
    ("podAnnotations", {"a": "x" * 262_144}, "podAnnotations: annotations of 26"),
    ("extraContainers", [CONTAINER, CONTAINER], "extraContainers: the container c is there twice"),
    ("extraContainers", [{**CONTAINER, "resources": {"requests": {"cpu": 2}, "limits": {"cpu": 1}}}], "extraContainers: c: resources.requests.cpu: 2 is more than"),
    ("extraContainers", [{**CONTAINER, "volumeMounts": [{"name": "none", "mountPath": "/x"}]}], "extraContainers: c mounts the volume none, which there is not"),
]  # fmt: skip

NEVER: list[Case] = [_node(_selecting("Gt", "1.5")), _liked(_selecting("Lt", "a"))]
"""What the API server takes and no scheduler can use: the pod would wait for good."""
