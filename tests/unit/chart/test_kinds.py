"""What the API server refuses, the kubelet or an operator, is refused by the schema, with its key; what they take is taken."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.unit.chart import forms, generate
from tests.unit.chart.forms import CONTAINER, SPREAD
from tests.unit.chart.test_values import faults, with_values

TERM = {"weight": 1, "podAffinityTerm": {"topologyKey": "zone", "labelSelector": {}}}
LONG = "x" * 64

REFUSED: list[tuple[str, Any]] = [
    ("nameOverride", "-a"),
    ("nameOverride", "a-"),
    ("fullnameOverride", "1a"),
    ("fullnameOverride", "a-"),
    ("fullnameOverride", "a.b"),
    ("image__repository", "registry.example.org/Upper"),
    ("image__repository", "a b"),
    ("image__repository", "registry/x:1"),
    ("image__tag", "a b"),
    ("image__tag", ":1"),
    ("image__pullSecrets", [""]),
    ("image__pullSecrets", ["My_Secret"]),
    ("secret__name", "a..b"),
    ("secret__name", "a.-b"),
    ("secret__name", "x" * 254),
    ("secret__keys", {"TOKENS": ".."}),
    ("secret__keys", {"TOKENS": "..a"}),
    ("secret__keys", {"TOKENS": "."}),
    ("store__storageClass", "Fast"),
    ("store__size", "5 Gi"),
    ("store__size", "-5Gi"),
    ("store__size", "5GB"),
    ("store__existingClaim", "a..b"),
    ("store__leave", ["sqlite"]),
    ("priorityClassName", "System-Critical"),
    ("priorityClassName", "a_b"),
    ("terminationGracePeriodSeconds", -1),
    ("runAsUser", 2**31),
    ("podDisruptionBudget__maxUnavailable", 2**31),
    ("auditVerify__deadlineSeconds", 2**31),
    ("ingress__className", "nginx_internal"),
    ("ingress__host", "host_x.example.org"),
    ("ingress__host", "10.0.0.1"),
    ("ingress__host", "a.*.example.org"),
    ("ingress__host", ".".join(["x" * 60] * 5)),
    ("ingress__tls", [{"secret": "x"}]),
    ("ingress__tls", [{"hosts": ["a_b"]}]),
    ("httpRoute__hostnames", ["a_b.example.org"]),
    ("httpRoute__hostnames", ["10.0.0.1"]),
    ("httpRoute__parentRefs", [{"namespace": "x"}]),
    ("httpRoute__parentRefs", [{"name": "x", "port": 0}]),
    ("networkPolicy__apiServer__cidrs", ["300.0.0.1/8"]),
    ("networkPolicy__apiServer__cidrs", ["010.0.0.1/8"]),
    ("networkPolicy__apiServer__cidrs", [":::/64"]),
    ("networkPolicy__apiServer__cidrs", ["1:2:3:4:5:6:7:8:9/64"]),
    ("networkPolicy__apiServer__cidrs", ["::/129"]),
    ("networkPolicy__apiServer__ports", [0]),
    ("networkPolicy__from", [{}]),
    ("networkPolicy__from", [{"nameSpaceSelector": {}}]),
    ("networkPolicy__from", [{"ipBlock": {"cidr": "10.0.0.0"}}]),
    ("networkPolicy__from", [{"ipBlock": {"cidr": "10.0.0.0/8"}, "podSelector": {}}]),
    ("networkPolicy__from", [{"podSelector": {"matchLabels": {"a b": "c"}}}]),
    ("networkPolicy__from", [{"podSelector": {"matchExpressions": [{"key": "a", "operator": "Is"}]}}]),
    ("networkPolicy__egress", [{"from": []}]),
    ("networkPolicy__egress", [{"ports": [{"port": 70000}]}]),
    ("networkPolicy__egress", [{"ports": [{"port": "a-port-of-16-chars"}]}]),
    ("networkPolicy__egress", [{"ports": [{"port": "80"}]}]),
    ("networkPolicy__egress", [{"ports": [{"port": "a--b"}]}]),
    ("networkPolicy__egress", [{"ports": [{"port": 1, "protocol": "tcp"}]}]),
    ("networkPolicy__egress", [{"ports": [{"port": "http", "endPort": 90}]}]),
    ("rbac__namespaces", ["Team"]),
    (
        "rbac__roles",
        {"Team_A": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]},
    ),
    ("resources", {"requests": {"memory": "256MB"}}),
    ("resources", {"requests": {"memory": "256 Mi"}}),
    ("resources", {"requests": {"cpu": "-1"}}),
    ("resources", {"requests": {"cpu": -1}}),
    ("resources", {"requests": {"cpu": "100M1"}}),
    ("resources", {"request": {"cpu": 1}}),
    ("resources", {"limits": {"a b": 1}}),
    *[(key, {"a b": "c"}) for key in ("commonLabels", "podLabels", "nodeSelector", "service__labels")],
    *[(key, {"a": "b c"}) for key in ("commonLabels", "podLabels", "nodeSelector", "service__labels")],
    *[(key, {"a": LONG}) for key in ("commonLabels", "ingress__labels", "dashboard__labels")],
    *[(key, {LONG: "a"}) for key in ("commonLabels", "podAnnotations", "service__annotations")],
    ("commonLabels", {"Example.org/a": "b"}),
    ("commonLabels", {"example_org/a": "b"}),
    ("commonLabels", {"a/b/c": "b"}),
    ("commonLabels", {"a": "-b"}),
    ("commonAnnotations", {"a b": "c"}),
    ("commonAnnotations", {"a": 1}),
    ("prometheusRule__alertLabels", {"a-b": "c"}),
    ("prometheusRule__runbookUrl", "docs/alerts.md"),
    ("tolerations", [{"key": "a b", "operator": "Exists"}]),
    ("tolerations", [{"key": "a", "operator": "Equals"}]),
    ("tolerations", [{"key": "a", "operator": "Exists", "value": "b"}]),
    ("tolerations", [{"value": "b"}]),
    ("tolerations", [{"key": "a", "effect": "NoRun"}]),
    ("tolerations", [{"key": "a", "effect": "NoSchedule", "tolerationSeconds": 5}]),
    ("tolerations", [{"key": "a", "values": ["b"]}]),
    ("topologySpreadConstraints", [{**SPREAD, "maxSkew": 0}]),
    ("topologySpreadConstraints", [{**SPREAD, "whenUnsatisfiable": "Never"}]),
    ("topologySpreadConstraints", [{**SPREAD, "minDomains": 2}]),
    ("topologySpreadConstraints", [{"maxSkew": 1, "topologyKey": "zone"}]),
    ("affinity", {"podAntiAfinity": {}}),
    ("affinity", {"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{**TERM, "weight": 0}]}}),
    ("affinity", {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"labelSelector": {}}]}}),
    ("affinity", {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}}),
    ("extraEnv", [{"name": "A=B"}]),
    ("extraEnv", [{"name": ""}]),
    ("extraEnv", [{"name": "A", "value": 1}]),
    ("extraEnv", [{"name": "A", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "x"}}}]),
    ("extraVolumes", [{"name": "A_b"}]),
    ("extraVolumes", [{"name": LONG}]),
    ("extraVolumes", [{"name": "a", "emptyDir": {}, "configMap": {"name": "x"}}]),
    ("extraVolumes", [{"emptyDir": {}}]),
    ("extraVolumeMounts", [{"name": "a", "mountPath": "/a:b"}]),
    ("extraVolumeMounts", [{"name": "a"}]),
    ("extraVolumeMounts", [{"name": "a", "mountPath": "/a", "subPath": "../b"}]),
    ("extraVolumeMounts", [{"name": "a", "mountPath": "/a", "readonly": True}]),
    ("extraContainers", [{"name": "c"}]),
    ("extraContainers", [{**CONTAINER, "name": "C"}]),
    ("extraContainers", [{**CONTAINER, "ports": [{"containerPort": 1, "name": "a-port-of-16-chars"}]}]),
    ("extraContainers", [{**CONTAINER, "ports": [{"containerPort": 0}]}]),
    ("extraContainers", [{**CONTAINER, "args": [1]}]),
    ("alertmanagerConfig__matchers", [{"value": "x"}]),
    ("alertmanagerConfig__matchers", [{"name": "x", "matchType": "=="}]),
    ("alertmanagerConfig__tokenSecret", {"name": "x", "key": ".."}),
    ("auditVerify__schedule", "* * * *"),
    ("auditVerify__schedule", "* 24 * * *"),
    ("auditVerify__schedule", "@reboot"),
    ("image__digest", f"sha512:{'a' * 64}"),
    ("image__repository", "localhost:0/a"),
    ("serviceMonitor__scrapeTimeout", "0s"),
    ("serviceMonitor__interval", "1.5m"),
    ("serviceMonitor__interval", "30s1m"),
    ("prometheusRule__quietFor", "0d"),
    ("alertmanagerConfig__repeatInterval", ""),
    ("settings__PROMETHEUS_URL", "http://prometheus:0"),
]  # fmt: skip

TAKEN: list[tuple[str, Any]] = [
    ("store__size", "10G"),
    ("store__size", "1.5Ti"),
    ("store__size", "5368709120"),
    ("serviceMonitor__interval", "1m30s"),
    ("serviceMonitor__interval", "1d"),
    ("serviceMonitor__scrapeTimeout", "5s500ms"),
    ("serviceMonitor__scrapeTimeout", "1500ms"),
    ("prometheusRule__quietFor", "1y2w3d4h5m6s7ms"),
    ("alertmanagerConfig__repeatInterval", "1m30s500ms"),
    ("settings__PROMETHEUS_URL", "http://prometheus:1"),
    ("prometheusRule__quietFor", "1h30m"),
    ("alertmanagerConfig__repeatInterval", "1m30s"),
    ("image__repository", "localhost:5000/a/b_c/d--e"),
    ("image__repository", "[fd00::1]:5000/a"),
    ("image__tag", "1.0_x-Y"),
    ("secret__name", "a.b-c.1"),
    ("secret__keys", {"TOKENS": ".tokens.txt"}),
    ("store__storageClass", "fast.example.org"),
    ("store__leave", ["claim/a-state", "secret/a.b/url.txt"]),
    ("ingress__host", "*.example.org"),
    ("ingress__host", ""),
    ("ingress__host", "1.example.org"),
    ("ingress__tls", [{"hosts": ["*.example.org"], "secretName": "x"}, {}]),
    ("httpRoute__hostnames", ["*.example.org"]),
    ("httpRoute__parentRefs", [{"group": "", "kind": "Gateway", "name": "x", "sectionName": "https", "port": 443}]),
    (
        "networkPolicy__apiServer__cidrs",
        ["0.0.0.0/0", "10.96.0.1/32", "::/0", "::1/128", "fd00::/8", "1:2:3:4:5:6:7:8/128", "1:0:0:8::/64", "1:2::/32"],
    ),
    ("networkPolicy__from", [{"podSelector": {}, "namespaceSelector": {"matchLabels": {"a/b": ""}}}]),
    ("networkPolicy__from", [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}]),
    ("networkPolicy__egress", [{}, {"ports": [{"port": "http"}, {"port": 1, "endPort": 9}, {"protocol": "SCTP"}]}]),
    ("resources", {}),
    ("resources", {"requests": {"cpu": 0.5, "memory": "4e8", "ephemeral-storage": "1Gi"}}),
    ("resources", {"limits": {"cpu": "1.", "memory": ".5Gi", "example.org/gpu": 1, "hugepages-2Mi": "4Mi"}}),
    ("commonLabels", {"a": "", "example.org/a_B.c": "x" * 63, "1": "1"}),
    ("commonAnnotations", {"Example.org/a": "any text: at all\n", "a": ""}),
    ("tolerations", [{"operator": "Exists"}, {"key": "a", "value": "b", "effect": "NoSchedule"}]),
    ("tolerations", [{"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": -1}]),
    ("topologySpreadConstraints", [{**SPREAD, "whenUnsatisfiable": "DoNotSchedule", "minDomains": 2}]),
    ("affinity", {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [TERM]}}),
    ("extraEnv", [{"name": "a.b-c"}, {"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]),
    ("extraVolumes", [{"name": "ca"}, {"name": "b", "emptyDir": {}}]),
    ("extraContainers", [{**CONTAINER, "ports": [{"containerPort": 1, "name": "port-of-15-chrs"}]}]),
    ("alertmanagerConfig__matchers", [{"name": "x", "value": "y", "matchType": "!~"}]),
    ("priorityClassName", "system-node-critical"),
    ("prometheusRule__alertLabels", {"team": "a b", "_x1": ""}),
    ("prometheusRule__runbookUrl", "https://example.org/docs/alerts.md"),
    ("runAsUser", None),
]  # fmt: skip


def _said(case: tuple[str, Any]) -> str:
    return f"{case[0]}={json.dumps(case[1])}"[:90]


@pytest.mark.parametrize("case", [*REFUSED, *forms.REFUSED, *forms.NEVER], ids=_said)
def test_what_the_cluster_refuses_is_refused_with_its_key(case: tuple[str, Any]) -> None:
    key, value = case
    assert f"/{key.replace('__', '/')}" in faults(with_values(**{key: value}))


@pytest.mark.parametrize("case", [*TAKEN, *forms.TAKEN], ids=_said)
def test_what_the_cluster_takes_is_taken(case: tuple[str, Any]) -> None:
    key, value = case
    assert faults(with_values(**{key: value})) == ""


def test_helm_can_read_every_pattern() -> None:
    """Its regular expressions have no look-around and no reference back."""
    patterns = re.findall(r'"pattern": ("(?:[^"\\]|\\.)*")', generate.SCHEMA.read_text("utf-8"))
    assert len(patterns) > 30
    assert [p for p in map(json.loads, patterns) if re.search(r"\(\?[=!<]|\\[1-9]", p)] == []
