"""A workload as the API server shows it, and what other people and the cluster do to it, for tests of causes.

Deployment `web` of three pods in namespace `shop`: v1 ran for six days, v2 was deployed 30 minutes ago and rolled out well.
Everything is a manifest; `look` runs the handler of pods over it, as the flow would.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from app.domain.evidence import Diagnosis
from app.domain.json import Obj
from app.domain.plan import Step
from app.domain.ports import DependencyResult, MetricSource, SlowQuery
from app.domain.remediation import AnyRemediation, Scene
from app.domain.target import Kind, Target
from app.kube.read import read_workload
from remediations.causes import Investigation, investigate
from remediations.pod_restarting import PodRestarting
from tests.unit.causes.cluster import NOW, WorldCluster

SPACE, WEB = "shop", "web"
V1, V2 = "registry.test/web:v1", "registry.test/web:v2"


def at(**ago: float) -> str:
    """A time so long ago, as the API server writes it."""
    return (NOW - timedelta(**ago)).strftime("%Y-%m-%dT%H:%M:%SZ")


class _NoDependencies:
    async def check(self, names: Any) -> list[DependencyResult]:
        return []

    async def slow_queries(self, name: str, limit: int) -> list[SlowQuery]:
        return []


class World:
    """The workload and what surrounds it; every method is what somebody or something does."""

    kind = Kind.DEPLOYMENT

    def __init__(self, replicas: int = 3) -> None:
        self.cluster = WorldCluster()
        self.containers: list[Obj] = [
            {"name": "app", "image": V2, "ports": [{"name": "http", "containerPort": 8080}], "resources": {}}
        ]
        self.template: Obj = {"metadata": {"labels": {"app": WEB}}, "spec": {"containers": self.containers}}
        self.before: Obj = copy.deepcopy(self.template)
        self.before["spec"]["containers"][0]["image"] = V1
        self.replicas = replicas
        self.deployed = 30.0
        self.done = True
        self.spoken_of = "web-r2"
        """Of which ReplicaSet the Deployment's condition speaks."""
        self.conditions: list[Obj] = []
        self.pods: dict[str, Obj] = {}
        self.fields: list[Obj] = []
        self.made: Obj = {}
        """When the Deployment was created, as its metadata have it."""
        self.by = "kubectl-set"
        self.spec: Obj = {}
        self.fired = 5.0
        self.metrics: MetricSource | None = None
        self._events, self.unmade = 0, dict[int, int]()
        for n in range(replicas):
            self.pod(f"new-{n}", revision=2, made=self.deployed)

    def rolling(self, deployed: float = 5.0, *, old: int = 3, new: int = 1) -> World:
        """The rollout of v2 has not come to its end: `old` pods of v1 are ready, `new` of v2 are not."""
        self.deployed, self.done = deployed, False
        self.pods.clear()
        for n in range(old):
            self.pod(f"old-{n}", revision=1, made=6 * 24 * 60)
        for n in range(new):
            self.pod(f"new-{n}", revision=2, made=deployed)
            self.state(f"new-{n}", {"waiting": {"reason": "ContainerCreating"}})
        return self

    def both(self, change: Any) -> World:
        """Both templates have this: the release did not bring it."""
        change(self.template["spec"])
        change(self.before["spec"])
        self._adopt()
        return self

    def only_new(self, change: Any) -> World:
        """The release brought this."""
        change(self.template["spec"])
        self._adopt()
        return self

    def _adopt(self) -> None:
        for pod in self.pods.values():
            template = (
                self.template if pod["metadata"]["labels"]["pod-template-hash"] == "r2" else self.before
            )
            node = pod["spec"].get("nodeName", "")
            pod["spec"] = {**copy.deepcopy(template["spec"]), "nodeName": node}

    def pod(self, name: str, *, revision: int = 2, made: float = 30.0, ready: bool = True) -> Obj:
        template = self.template if revision == 2 else self.before
        owner = {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "name": f"web-r{revision}",
            "uid": f"r{revision}",
            "controller": True,
        }
        since = at(minutes=made - 0.2)
        self.pods[name] = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": name, "namespace": SPACE, "uid": name, "resourceVersion": "1", "creationTimestamp": at(minutes=made),
                "labels": {"app": WEB, "pod-template-hash": f"r{revision}"}, "ownerReferences": [owner],
            },
            "spec": {**copy.deepcopy(template["spec"]), "nodeName": "node-1"},
            "status": {
                "phase": "Running",
                "conditions": [{"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": since}],
                "containerStatuses": [
                    {"name": c["name"], "ready": ready, "restartCount": 0, "state": {"running": {"startedAt": since}}}
                    for c in template["spec"]["containers"]
                ],
            },
        }  # fmt: skip
        return self.pods[name]

    def state(
        self,
        name: str,
        state: Obj,
        *,
        last: Obj | None = None,
        restarts: int = 0,
        container: str = "app",
        since: float | None = None,
    ) -> World:
        """A container is in this state and its pod is not ready, since so many minutes ago (since it was made by default)."""
        pod = self.pods[name]
        status = pod["status"]
        made = pod["metadata"]["creationTimestamp"]
        status["conditions"][0] |= {
            "status": "False",
            "lastTransitionTime": made if since is None else at(minutes=since),
        }
        kind = (
            "initContainerStatuses"
            if any(c["name"] == container for c in pod["spec"].get("initContainers", ()))
            else "containerStatuses"
        )
        listed = status.setdefault(kind, [])
        found = next((c for c in listed if c["name"] == container), None)
        if found is None:
            found = {"name": container}
            listed.append(found)
        found |= {
            "ready": False,
            "restartCount": restarts,
            "state": state,
            "lastState": {"terminated": last} if last else {},
        }
        if "waiting" in state and not restarts:
            status["phase"] = "Pending"
        return self

    def crash(
        self,
        *names: str,
        code: int = 1,
        reason: str = "Error",
        restarts: int = 5,
        ended: float = 1.0,
        ran: float = 0.1,
        message: str = "",
        container: str = "app",
        first: float | None = None,
    ) -> World:
        """Containers in CrashLoopBackOff; the last run lasted `ran` minutes. `first`: the first back-off, minutes ago."""
        for name in names or tuple(self.pods):
            last = {
                "reason": reason,
                "exitCode": code,
                "finishedAt": at(minutes=ended),
                "startedAt": at(minutes=ended + ran),
                "message": message,
            }
            made = self.pods[name]["metadata"]["creationTimestamp"]
            self.state(
                name,
                {"waiting": {"reason": "CrashLoopBackOff"}},
                last=last,
                restarts=restarts,
                container=container,
                since=ended,
            )
            begun = at(minutes=first) if first is not None else made
            if first is None:
                self.pods[name]["status"]["conditions"][0]["lastTransitionTime"] = made
            self.event(
                "BackOff",
                "Back-off restarting failed container",
                f"Pod/{name}",
                first=begun,
                container=container,
            )
        return self

    def unscheduled(self, name: str, said: str) -> World:
        pod = self.pods[name]
        pod["spec"].pop("nodeName", None)
        pod["status"] = {
            "phase": "Pending",
            "conditions": [
                {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": said}
            ],
        }
        return self

    def event(
        self, reason: str, said: str, about: str, *, ago: float = 0.5, first: str = "", container: str = ""
    ) -> World:
        kind, _, name = about.partition("/")
        self._events += 1
        self.cluster.put(
            {
                "apiVersion": "events.k8s.io/v1", "kind": "Event",
                "metadata": {"name": f"e{self._events}", "namespace": SPACE, "creationTimestamp": at(minutes=ago)},
                "regarding": {"kind": kind, "name": name, **({"fieldPath": f"spec.containers{{{container}}}"} if container else {})},
                "reason": reason, "note": said, "type": "Warning", "deprecatedCount": 3,
                "deprecatedFirstTimestamp": first or at(minutes=ago), "deprecatedLastTimestamp": at(minutes=ago),
            }
        )  # fmt: skip
        return self

    def put(
        self,
        kind: str,
        name: str,
        *,
        changed: float = 6 * 24 * 60,
        by: str = "helm",
        namespace: str = SPACE,
        **rest: Any,
    ) -> World:
        """An object that somebody wrote so many minutes ago."""
        meta = {
            "name": name, "namespace": namespace, "uid": f"{kind}-{name}", "resourceVersion": "1", "creationTimestamp": at(days=30),
            "managedFields": [{"manager": by, "time": at(minutes=changed), "fieldsV1": {}}],
        }  # fmt: skip
        self.cluster.put({"kind": kind, "metadata": meta, **rest})
        return self

    def emptied(self, service: str, minutes: float) -> World:
        """The EndpointSlice of a Service has had no address for so many minutes."""
        name = f"{service}-x7k2p"
        self.put("EndpointSlice", name, changed=minutes, by="kube-controller-manager", endpoints=[])
        made = self.cluster.of(Kind.ENDPOINT_SLICE, name, SPACE)["metadata"]
        made["labels"] = {"kubernetes.io/service-name": service}
        return self

    def config(
        self,
        name: str = "web-config",
        *,
        changed: float = 6 * 24 * 60,
        keys: tuple[str, ...] = ("A",),
        kind: str = "ConfigMap",
    ) -> World:
        return self.put(kind, name, changed=changed, by="kubectl-edit", data=dict.fromkeys(keys, "x"))

    def refused(self, said: str, *, revision: int = 2, gone: int = 3) -> World:
        """Pods cannot be made: the condition says why, and `gone` pods of this revision are not there."""
        for name in [
            n for n, p in self.pods.items() if p["metadata"]["labels"]["pod-template-hash"] == f"r{revision}"
        ][:gone]:
            del self.pods[name]
        self.conditions.append(
            {
                "type": "ReplicaFailure",
                "status": "True",
                "reason": "FailedCreate",
                "message": f'pods "web-r{revision}-" is forbidden: {said}',
                "lastTransitionTime": at(minutes=3),
                "lastUpdateTime": at(minutes=3),
            }
        )
        return self

    def short(self) -> World:
        """One ready pod of the old revision has been taken away, and the new one is not made."""
        del self.pods["old-0"]
        return self

    def said(self, container: str, *lines: str, previous: bool = True) -> World:
        self.cluster.log[container, previous] = "\n".join(lines)
        return self

    def manifest(self) -> Obj:
        alive = list(self.pods.values())
        ready = sum(
            p["status"]["conditions"][0].get("type") == "Ready"
            and p["status"]["conditions"][0]["status"] == "True"
            for p in alive
        )
        updated = sum(p["metadata"]["labels"]["pod-template-hash"] == "r2" for p in alive)
        reason = "NewReplicaSetAvailable" if self.done else "ReplicaSetUpdated"
        progress = {
            "type": "Progressing",
            "status": "True",
            "reason": reason,
            "message": f'ReplicaSet "{self.spoken_of}" {"has successfully progressed" if self.done else "is progressing"}.',
            "lastUpdateTime": at(minutes=self.deployed),
        }
        return {
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {
                "name": WEB, "namespace": SPACE, "uid": "web", "resourceVersion": "9", "generation": 2, "labels": {"app": WEB}, **self.made,
                "managedFields": [
                    {"manager": self.by, "time": at(minutes=self.deployed), "fieldsV1": {"f:spec": {"f:template": {}}}},
                    *self.fields,
                ],
            },
            "spec": {"replicas": self.replicas, "selector": {"matchLabels": {"app": WEB}}, "template": self.template, **self.spec},
            "status": {
                "observedGeneration": 2, "replicas": len(alive), "readyReplicas": ready, "availableReplicas": ready,
                "updatedReplicas": updated, "conditions": [progress, *self.conditions],
            },
        }  # fmt: skip

    def _replica_set(self, number: int, template: Obj, made: float) -> Obj:
        stored = copy.deepcopy(template)
        stored["metadata"]["labels"]["pod-template-hash"] = f"r{number}"
        owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": WEB, "uid": "web", "controller": True}
        return {
            "apiVersion": "apps/v1", "kind": "ReplicaSet",
            "metadata": {
                "name": f"web-r{number}", "namespace": SPACE, "uid": f"r{number}", "resourceVersion": "1",
                "creationTimestamp": at(minutes=made), "labels": {"app": WEB}, "ownerReferences": [owner],
                "annotations": {"deployment.kubernetes.io/revision": str(number)},
            },
            "spec": {"template": stored, "replicas": self.replicas},
            "status": {"replicas": self.replicas - self.unmade.get(number, 0)},
        }  # fmt: skip

    def _build(self) -> None:
        for manifest in (
            self.manifest(),
            self._replica_set(1, self.before, 6 * 24 * 60),
            self._replica_set(2, self.template, self.deployed),
            *self.pods.values(),
        ):
            self.cluster.put(manifest)

    async def scene(self) -> Scene:
        self._build()
        target, fired = Target(SPACE, self.kind, WEB), NOW - timedelta(minutes=self.fired)
        workload = await read_workload(self.cluster, target)
        return Scene(
            self.cluster, workload, "KubePodNotReady", {}, fired, NOW, _NoDependencies(), self.metrics
        )

    async def investigate(self) -> Investigation:
        return await investigate(await self.scene())

    async def look(
        self, handler: AnyRemediation | None = None, **params: Any
    ) -> tuple[Diagnosis, Mapping[str, Step]]:
        """Diagnosis and steps of a handler, of that for pods when none is named."""
        handler, scene = handler or PodRestarting(), await self.scene()
        checked = handler.params(**params)
        diagnosis = await handler.diagnose(scene, checked)
        return diagnosis, {s.name: s for s in await handler.ladder(scene, checked, diagnosis)}
