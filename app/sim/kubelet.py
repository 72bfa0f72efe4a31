"""Scheduler and kubelet: runs the containers of all pods, reports their status, ends deleted pods.

Called by the world for pods that are due. Knows the running containers, which the cluster asks for logs and usage
and the traffic model for load. Never creates pods.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from app.domain.json import Obj
from app.domain.target import Kind
from app.sim.behaviour import Behaviours
from app.sim.containers import Container, Obstacle, Phase
from app.sim.kinds import stamp
from app.sim.objects import Key
from app.sim.obstacles import config_obstacle, volume_obstacle
from app.sim.patch import clone
from app.sim.placement import fitting, refusal
from app.sim.podstatus import pod_status, unschedulable
from app.sim.world import World

STOP = 2.0
"""Seconds from the deletion of a pod to its end: containers here obey SIGTERM."""
_UNSCHEDULED = 300.0
"""Seconds until the scheduler tries a pod again that fits nowhere, in the history of a scenario; 5 in its present."""
_IDENTITY = "containerd://"


@dataclass(slots=True)
class Run:
    """A pod on its node."""

    key: Key
    uid: str
    labels: dict[str, str]
    started: float
    containers: list[Container]
    restarts: list[tuple[float, str]] = field(default_factory=list)
    """Each restart of a container with the reason of the end before it."""
    stopping_since: float = math.inf
    main: Container = field(init=False)
    """The container that serves: the first that is no init container."""

    def __post_init__(self) -> None:
        self.main = next(c for c in self.containers if not c.init)

    def ready(self, at: float) -> bool:
        """Does it take traffic?"""
        if self.stopping_since != math.inf:
            return False
        return all(c.done if c.init else c.ready(at) for c in self.containers)


class Kubelet:
    """All nodes' kubelets, and the scheduler."""

    def __init__(self, world: World, behaviours: Behaviours) -> None:
        self._world = world
        self._behaviours = behaviours
        self._runs: dict[Key, Run] = {}
        self._spaces: dict[tuple[str, str], dict[Key, Run]] = {}
        self._turn = itertools.count()
        world.reconcile_with(Kind.POD, self.reconcile)

    def run_of(self, key: Key) -> Run | None:
        """The running pod, None when it is not on a node."""
        return self._runs.get(key)

    def runs(self, namespace: str, app: str) -> Iterator[Run]:
        """Running pods of a namespace with the label `app`."""
        yield from self._spaces.get((namespace, app), {}).values()

    def apps(self, namespace: str) -> list[str]:
        """The `app` labels that running pods of a namespace carry."""
        return sorted(
            app for space, app in self._spaces if space == namespace and app and self._spaces[space, app]
        )

    def reconcile(self, key: Key) -> None:
        """Look at one pod."""
        pod = self._world.store.find(key)
        run = self._runs.get(key)
        if run is not None and (pod is None or pod["metadata"]["uid"] != run.uid):
            self._forget(run)
            run = None
        if pod is None:
            return
        if "deletionTimestamp" in pod["metadata"]:
            self._stop(key, pod, run)
            return
        if run is None:
            run = self._bind(key, pod)
            if run is None:
                return
            pod = self._world.store.get(key)
        self._advance(pod, run)

    def _bind(self, key: Key, pod: Obj) -> Run | None:
        if not pod["spec"].get("nodeName"):
            nodes = list(self._world.store.all(Kind.NODE))
            if why := refusal(self._world.store, pod, nodes):
                self._world.set_status(pod, unschedulable(pod, why, self._world.time), "kube-scheduler")
                self._world.event(pod, "FailedScheduling", why, component="default-scheduler", warning=True)
                past = self._world.time < self._world.fine_from
                self._world.later(key, self._world.time + (_UNSCHEDULED if past else 5))
                return None
            bound, names = clone(pod), fitting(pod, nodes)
            bound["spec"]["nodeName"] = names[next(self._turn) % len(names)]
            pod = self._world.store.update(bound, "kube-scheduler")
        at = self._world.time + 1
        name = key.name
        inits, again = pod["spec"].get("initContainers", []), pod["spec"].get("restartPolicy") != "Never"
        containers = [Container.of(s, name, at, init=True, again=again) for s in inits]
        containers += [Container.of(s, name, at, init=False, again=again) for s in pod["spec"]["containers"]]
        run = Run(
            key, pod["metadata"]["uid"], pod["metadata"].get("labels", {}), self._world.time, containers
        )
        self._runs[key] = run
        self._spaces.setdefault((key.namespace, run.labels.get("app", "")), {})[key] = run
        return run

    def _forget(self, run: Run) -> None:
        self._runs.pop(run.key, None)
        self._spaces.get((run.key.namespace, run.labels.get("app", "")), {}).pop(run.key, None)

    def _stop(self, key: Key, pod: Obj, run: Run | None) -> None:
        """End a pod that is being deleted; one that never ran goes at once."""
        if run is not None and run.stopping_since == math.inf:
            run.stopping_since = self._world.time
            for container in run.containers:
                if container.phase is Phase.RUNNING:
                    self._event(pod, "Killing", f"Stopping container {container.name}")
        if run is None or self._world.time >= run.stopping_since + STOP:
            self._world.store.delete(key)
            if run is not None:
                self._forget(run)
            return
        self._world.later(key, run.stopping_since + STOP)

    def _advance(self, pod: Obj, run: Run) -> None:
        now = self._world.time
        specs = [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]
        blocked = False
        for container, spec in zip(run.containers, specs, strict=True):
            if not blocked:
                self._advance_one(pod, spec, run, container)
            # Init containers run one after the other, and all of them before the rest.
            blocked = blocked or (container.init and not container.done)
        pod = self._world.store.get(run.key)
        self._world.set_status(pod, pod_status(pod, run.containers, run.started, now), "kubelet")
        due = min((c.next_at for c in run.containers if c.next_at > now), default=math.inf)
        if due != math.inf:
            self._world.later(run.key, due)
        elif blocked or any(c.next_at <= now for c in run.containers):
            self._world.later(run.key, now + 1)

    def _advance_one(self, pod: Obj, spec: Obj, run: Run, container: Container) -> None:
        now = self._world.time
        if container.phase is Phase.RUNNING:
            if container.check(now) and (container.ended or {}).get("reason") == "OOMKilled":
                self._said_oom(pod, container)
        elif container.next_at <= now:
            if container.back_off(now):
                note = f"Back-off restarting failed container {container.name} in pod {run.key.name}"
                self._event(pod, "BackOff", note, warning=True)
            elif not container.final:
                self._try_start(pod, spec, run, container)

    def _try_start(self, pod: Obj, spec: Obj, run: Run, container: Container) -> None:
        now = self._world.time
        obstacle = (
            volume_obstacle(self._world.store, pod)
            or self._image_obstacle(container)
            or config_obstacle(self._world.store, pod, spec)
        )
        if obstacle is not None:
            container.hold(obstacle, now)
            self._event(pod, obstacle.event, obstacle.message, warning=True)
            return
        before = container.ended or container.last
        if before is not None:
            run.restarts.append((now, before["reason"]))
            del run.restarts[:-500]
        identity = _IDENTITY + self._world.names.digest()
        container.start(self._behaviours.of(pod, spec), identity, now)

    def _image_obstacle(self, container: Container) -> Obstacle | None:
        image = container.image
        if self._behaviours.image_exists(image):
            return None
        if container.reason in {"ErrImagePull", "ImagePullBackOff"}:
            return Obstacle("ImagePullBackOff", f'Back-off pulling image "{image}"', "BackOff")
        why = f'failed to pull and unpack image "{image}": failed to resolve reference "{image}": {image}: not found'
        return Obstacle("ErrImagePull", f"rpc error: code = NotFound desc = {why}", "Failed")

    def _said_oom(self, pod: Obj, container: Container) -> None:
        """The node tells of the kill, as node-problem-detector reports it."""
        node = self._world.store.find(Key(Kind.NODE, "", pod["spec"]["nodeName"]))
        if node is not None:
            note = (
                f"Memory cgroup out of memory: killed a process of container {container.name} in pod "
                f"{pod['metadata']['namespace']}/{pod['metadata']['name']} (limit {container.limit} bytes)"
            )
            self._world.event(node, "OOMKilling", note, component="kernel-monitor", warning=True)

    def _event(self, pod: Obj, reason: str, note: str, *, warning: bool = False) -> None:
        self._world.event(pod, reason, note, component="kubelet", warning=warning)


def node(name: str, at: float) -> Obj:
    """The manifest of a ready node."""
    words = (
        ("MemoryPressure", "False"),
        ("DiskPressure", "False"),
        ("PIDPressure", "False"),
        ("Ready", "True"),
    )
    resources = {"cpu": "16", "memory": "64Gi", "pods": "10000"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}},
        "spec": {},
        "status": {
            "capacity": resources,
            "allocatable": resources,
            "conditions": [
                {
                    "type": kind,
                    "status": status,
                    "lastHeartbeatTime": stamp(at),
                    "lastTransitionTime": stamp(at),
                    "reason": "KubeletReady" if kind == "Ready" else f"KubeletHasNo{kind}",
                    "message": "",
                }
                for kind, status in words
            ],
        },
    }
