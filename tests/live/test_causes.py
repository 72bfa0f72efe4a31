"""Causes on a real API server: the words of its controllers, its scheduler and its admission are read right.

All situations are set up side by side, each in a namespace of its own, and then waited for together.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from app.domain.json import Obj
from app.domain.ports import DependencyResult, SlowQuery
from app.domain.remediation import Scene
from app.domain.target import Kind, Target
from app.kube.client import KubeCluster
from app.kube.read import View, read_workload
from remediations.causes import CauseCode as C
from remediations.causes import Investigation, investigate
from tests.live.kwok import FAULT
from tests.live.stack import ControlPlane
from tests.live.workload import Shop, wait_out_last_second

pytestmark = pytest.mark.live

Around = Callable[[ControlPlane, str], object]
LOOKS = 60


@dataclass(frozen=True, slots=True)
class Situation:
    """A Deployment, what stands around it before and after it is made, and the first cause with its object and a word.
    `by_rollout`: whether the last rollout can have brought it, where that is asked."""

    name: str
    code: C | None
    object: str
    word: str
    pod: Obj = field(default_factory=dict)
    spec: Obj = field(default_factory=dict)
    fault: str = ""
    before: Around | None = None
    after: Around | None = None
    by_rollout: bool | None = None


class Nothing:
    async def check(self, names: Any) -> list[DependencyResult]:
        return []

    async def slow_queries(self, name: str, limit: int) -> list[SlowQuery]:
        return []


def core(kind: str, name: str, **rest: Any) -> Around:
    """Make an object of the core API."""

    def make(plane: ControlPlane, namespace: str) -> object:
        manifest = {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, **rest}
        return plane.create(f"/api/v1/namespaces/{namespace}/{kind.lower()}s", manifest)

    return make


def restricted(plane: ControlPlane, namespace: str) -> None:
    body = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
    headers = {"Content-Type": "application/merge-patch+json"}
    plane.client().patch(f"/api/v1/namespaces/{namespace}", json=body, headers=headers).raise_for_status()


def webhook_away(plane: ControlPlane, namespace: str) -> None:
    """A webhook that nobody answers, for pods of this namespace alone."""
    hook = {
        "name": "away.policy.test",
        "clientConfig": {"url": "https://127.0.0.1:1/validate"},
        "rules": [
            {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"]}
        ],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "failurePolicy": "Fail",
        "timeoutSeconds": 1,
    }
    group = "admissionregistration.k8s.io/v1"
    manifest = {
        "apiVersion": group,
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": f"away-{namespace}"},
        "webhooks": [hook],
    }
    plane.create(f"/apis/{group}/validatingwebhookconfigurations", manifest)


def policy(plane: ControlPlane, namespace: str) -> None:
    group = "networking.k8s.io/v1"
    spec = {"podSelector": {}, "policyTypes": ["Ingress"]}
    manifest = {"apiVersion": group, "kind": "NetworkPolicy", "metadata": {"name": "deny"}, "spec": spec}
    plane.create(f"/apis/{group}/namespaces/{namespace}/networkpolicies", manifest)


def mounts(claim: str) -> Obj:
    return {"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}]}


def scaled_to_zero(plane: ControlPlane, namespace: str) -> None:
    shop = Shop(plane, namespace)
    shop.settle()
    path = f"{shop.path()}/scale"
    headers = {"Content-Type": "application/merge-patch+json"}
    answer = plane.client().patch(
        path, json={"spec": {"replicas": 0}}, headers=headers, params={"fieldManager": "kubectl-scale"}
    )
    answer.raise_for_status()


def released(change: Obj, *around: Around) -> Around:
    """The Deployment settles, then this stands around it, then a release with this pod spec; its old pods are enough meanwhile."""

    def do(plane: ControlPlane, namespace: str) -> None:
        shop = Shop(plane, namespace)
        shop.settle()
        for one in around:
            one(plane, namespace)
        wait_out_last_second(plane, shop.path())  # else the version before has not run for a second
        container = {"name": "main", "image": "registry.test/web:2"}
        shop.edit({"spec": {"template": {"spec": {"containers": [container], **change}}}})

    return do


CLAIM = {
    "spec": {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "nowhere",
        "resources": {"requests": {"storage": "1Gi"}},
    }
}
HUGE = {"requests": {"memory": "900Ti"}}
SITUATIONS = (
    Situation("quota", C.QUOTA, "ResourceQuota team", "used pods=0 of pods=0", before=core("ResourceQuota", "team", spec={"hard": {"pods": "0"}})),
    Situation("quota that wants limits", C.QUOTA, "ResourceQuota cpu", "limits.cpu", before=core("ResourceQuota", "cpu", spec={"hard": {"limits.cpu": "4"}})),
    Situation("limit range", C.LIMIT_RANGE, "LimitRange sizes", "maximum memory usage per Container is 100Mi",
              before=core("LimitRange", "sizes", spec={"limits": [{"type": "Container", "max": {"memory": "100Mi"}}]})),
    Situation("pod security", C.POD_SECURITY, "Namespace {namespace}", "allowPrivilegeEscalation", before=restricted),
    Situation("priority", C.PRIORITY_CLASS, "PriorityClass urgent", "does not exist", pod={"priorityClassName": "urgent"}),
    Situation("webhook away", C.WEBHOOK, "webhook away.policy.test", "cannot be called", before=webhook_away),
    Situation("node selector", C.UNSCHEDULABLE, "Pod web-", "nodeSelector", pod={"nodeSelector": {"disk": "none"}}),
    Situation("no room", C.UNSCHEDULABLE, "Pod web-", "have not enough memory", pod={"containers": [{"name": "main", "image": "registry.test/web:1", "resources": HUGE}]}),
    Situation("claim missing", C.VOLUME, "PersistentVolumeClaim data", "does not exist", pod=mounts("data")),
    Situation("claim pending", C.VOLUME, "PersistentVolumeClaim data", "is Pending", pod=mounts("data"), before=core("PersistentVolumeClaim", "data", **CLAIM)),
    Situation("image", C.IMAGE_MISSING, "image registry.test/web:1", "cannot get image", fault="image-pull"),
    Situation("configuration", C.CONFIG_MISSING, "ConfigMap ", "does not exist", fault="config"),
    Situation("crash", C.CRASH, "Pod web-", "exit code 1", fault="crash"),
    Situation("memory", C.OUT_OF_MEMORY, "Pod web-", "OOMKilled, limit 512 MiB", fault="oom"),
    Situation("scaled to 0", C.SCALED_TO_ZERO, "Deployment web", " s ago", after=scaled_to_zero),
    Situation("paused", C.PAUSED, "Deployment web", "is paused", spec={"paused": True}),
    Situation("service", C.SERVICE_SELECTOR, "Service web", "it selects app=other", before=core("Service", "web", spec={"selector": {"app": "other"}, "ports": [{"port": 80}]})),
    Situation("port", C.SERVICE_PORT, "Service web", "'metrics', which no container names",
              before=core("Service", "web", spec={"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "metrics"}]})),
    Situation("policy", C.NETWORK_POLICY, "NetworkPolicy deny", "Ingress", before=policy),
    Situation("pull secret", C.PULL_SECRET, "Secret regcred", "does not exist", pod={"imagePullSecrets": [{"name": "regcred"}]}, fault="image-pull"),
    Situation("quota full for the surge of a release", C.QUOTA, "ResourceQuota team", "1 pod of 2 cannot be made",
              after=released({}, core("ResourceQuota", "team", spec={"hard": {"pods": "2"}})), by_rollout=False),
    Situation("a release that asks for more than the quota has", C.QUOTA, "ResourceQuota team", "1 pod of 2 cannot be made",
              after=released({"containers": [{"name": "main", "image": "registry.test/web:2", "resources": {"limits": {"memory": "4Gi"}}}]},
                             core("ResourceQuota", "team", spec={"hard": {"limits.memory": "2Gi"}})), by_rollout=True),
    Situation("Pod Security against a release", C.POD_SECURITY, "Namespace {namespace}", "hostNetwork", after=released({"hostNetwork": True}, restricted), by_rollout=True),
    Situation("a limit range against a release", C.LIMIT_RANGE, "LimitRange sizes", "1 pod of 2 cannot be made",
              after=released({"containers": [{"name": "main", "image": "registry.test/web:2", "resources": {"limits": {"memory": "4Gi"}}}]},
                             core("LimitRange", "sizes", spec={"limits": [{"type": "Container", "max": {"memory": "1Gi"}}]})), by_rollout=True),
    Situation("a webhook away in a release", C.WEBHOOK, "webhook away.policy.test", "1 pod of 2 cannot be made", after=released({}, webhook_away), by_rollout=False),
    Situation("a release that wants a node that is not there", C.UNSCHEDULABLE, "Pod web-", "nodeSelector", after=released({"nodeSelector": {"disk": "none"}}), by_rollout=True),
    Situation("a release whose pod-level limit is beyond the limit range", C.LIMIT_RANGE, "LimitRange pods", "maximum memory usage per Pod",
              after=released({"resources": {"limits": {"memory": "4Gi"}}}, core("LimitRange", "pods", spec={"limits": [{"type": "Pod", "max": {"memory": "1Gi"}}]})), by_rollout=True),
    Situation("healthy", None, "", "2 of 2 pods ready"),
)  # fmt: skip


def set_up(plane: ControlPlane, one: Situation) -> str:
    namespace = plane.create_namespace("cause")
    if one.before:
        one.before(plane, namespace)
    container = {"name": "main", "image": "registry.test/web:1", "resources": {"limits": {"memory": "512Mi"}}}
    meta: Obj = {"labels": {"app": "web"}}
    if one.fault:
        meta["annotations"] = {FAULT: one.fault}
    template = {"metadata": meta, "spec": {"containers": [container], **one.pod}}
    spec = {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": template, **one.spec}
    manifest = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec}
    plane.create(f"/apis/apps/v1/namespaces/{namespace}/deployments", manifest)
    if one.after:
        one.after(plane, namespace)
    return namespace


async def look(cluster: KubeCluster, namespace: str) -> Investigation:
    view = View(cluster)
    workload = await read_workload(view, Target(namespace, Kind.DEPLOYMENT, "web"))
    now = dt.datetime.now(dt.UTC)
    return await investigate(Scene(view, workload, "KubePodNotReady", {}, now, now, Nothing()))


async def found(cluster: KubeCluster, one: Situation, namespace: str) -> str:
    """Empty once the first cause is what it has to be, else what was seen last."""
    wanted, seen = one.object.format(namespace=namespace), ""
    for _ in range(LOOKS):
        result = await look(cluster, namespace)
        first = result.causes[0] if result.causes else None
        code, text = (first.code, first.text) if first else (None, result.rest)
        right = first.object.startswith(wanted) if first else not one.object
        blamed = result.blame.rollout if result.blame is not None else None
        if code is one.code and right and one.word in text and one.by_rollout in (None, blamed):
            return ""
        why = result.blame.why if result.blame is not None else ""
        seen = f"{one.name}: {code} {first.object if first else ''}: {text}; by the rollout: {blamed} ({why})"
        await asyncio.sleep(1)
    return seen


async def test_each_cause_is_named_with_its_object(cluster: KubeCluster, control_plane: ControlPlane) -> None:
    places = [(one, set_up(control_plane, one)) for one in SITUATIONS]
    wrong = await asyncio.gather(*(found(cluster, one, namespace) for one, namespace in places))

    assert not any(wrong), "\n".join(filter(None, wrong))
