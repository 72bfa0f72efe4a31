"""One simulated world put together: objects, controllers, kubelet, traffic, alerts, and the story of a scenario.

Called by the cluster. The only place of this package that knows all its parts.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from datetime import UTC, datetime

from app.domain.json import Obj
from app.domain.target import Kind
from app.sim import controllers, defaults
from app.sim.alertmanager import SimAlertmanager
from app.sim.alerts import Alerts
from app.sim.asking import Asking
from app.sim.backups import SimBackups
from app.sim.behaviour import Behaviours
from app.sim.caches import SimCaches
from app.sim.databases import SimDatabases
from app.sim.dependencies import SimDependencies
from app.sim.http_checks import SimHttpChecks
from app.sim.kubelet import Kubelet, node
from app.sim.metrics import SimMetrics
from app.sim.objects import Key, ObjectStore, key_of, make_key
from app.sim.obstacles import has_key, secret_text
from app.sim.patch import clone
from app.sim.scenario import Scenario, Step
from app.sim.signals import Signals
from app.sim.traffic import Traffic
from app.sim.world import World

FINE = 900.0
"""Seconds before the start of a scenario from which its history is played second by second."""


class Simulation:
    """A world whose present is `start` (seconds since 1970); the history of the scenario is still to be played."""

    def __init__(
        self, start: float, scenario: Scenario | None, catch_up: Callable[[], None], ask: Asking
    ) -> None:
        scenario = scenario or Scenario(name="empty", summary="An empty cluster")
        self._scenario = scenario
        self._start = math.floor(start)
        begin = self._start + min(0.0, -scenario.age, *(step.at - 1 for step in scenario.story))
        self.world = World(begin, scenario.name)
        self.world.fine_from = self._start - FINE
        behaviours = Behaviours(
            scenario.behaviours,
            scenario.missing_images,
            functools.partial(_has_key, self.world.store),
            functools.partial(secret_text, self.world.store),
        )
        self.kubelet = Kubelet(self.world, behaviours)
        self.budgets, self.admission = controllers.install(self.world, self._cpu_use)
        space = scenario.namespace
        self.traffic = Traffic(self.world, self.kubelet, space, scenario.traffic)
        self.databases = SimDatabases(
            (self.world, self.kubelet, space),
            scenario.databases,
            datetime.fromtimestamp(self._start, UTC),
            ask,
        )
        self.backups = SimBackups(scenario.backups, ask)
        self.caches = SimCaches((self.world, self.kubelet, space), scenario.caches, ask)
        signals = Signals(self.world, self.kubelet, self.traffic, space, self.databases.share)
        alerts = Alerts(self.world, signals, space, scenario.alerts)
        self.alertmanager = SimAlertmanager(self.world, alerts, catch_up)
        self.metrics = SimMetrics(self.world, signals, scenario.metrics, catch_up)
        self.dependencies = SimDependencies(
            (self.world, self.kubelet, space), scenario.dependencies, catch_up
        )
        self.http = SimHttpChecks(self.world, self.kubelet, catch_up)
        if scenario.traffic or scenario.alerts or scenario.metrics:
            self.world.steps += [self.traffic.step, alerts.step, self.metrics.step]
        self._furnish(scenario)

    def create(self, manifest: Obj, manager: str) -> Obj:
        """Create an object, and its namespace when that is missing. Gives a copy."""
        key = key_of(manifest)
        if key.namespace:
            self._namespace(key.namespace)
        manifest = clone(manifest)
        if key.kind is Kind.POD:
            manifest.setdefault("status", {"phase": "Pending", "qosClass": "BestEffort"})
        created: Obj = clone(self.world.store.create(manifest, manager))
        if key.kind is Kind.NAMESPACE:
            self._account(key.name)
        return created

    def dry_run_pod(self, namespace: str, manifest: Obj, manager: str) -> Obj:
        """A pod as it would be stored, after validation and admission; nothing is. Gives a copy."""
        pod: Obj = clone(manifest)
        pod.setdefault("metadata", {})["namespace"] = namespace
        defaults.pod_spec(pod["spec"])
        defaults.pod_requests(pod["spec"])
        self.admission.admit(pod)
        stored: Obj = clone(self.world.store.create(pod, manager, dry_run=True))
        return stored

    def delete(self, key: Key) -> None:
        """Delete an object with all that it owns; a pod gets its time to stop."""
        if key.kind is Kind.POD:
            self.world.store.terminate(key)
        else:
            self.world.store.delete(key)

    def _furnish(self, scenario: Scenario) -> None:
        self._namespace("default")
        for number in range(1, scenario.nodes + 1):
            self.world.store.create(node(f"sim-node-{number}", self.world.time), "kubelet")
        for manifest in scenario.objects:
            self.create(manifest, "kubectl-client-side-apply")
        for step in scenario.story:
            self.world.plan(self._start + step.at, functools.partial(self._play, step))

    def _namespace(self, name: str) -> None:
        if self.world.store.find(make_key(Kind.NAMESPACE, "", name)) is None:
            manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
            self.world.store.create(manifest, "kube-apiserver")
        self._account(name)

    def _account(self, namespace: str) -> None:
        """The ServiceAccount `default` that its controller makes in each namespace."""
        if self.world.store.find(Key(Kind.SERVICE_ACCOUNT, namespace, "default")) is None:
            metadata = {"name": "default", "namespace": namespace}
            manifest = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}
            self.world.store.create(manifest, "kube-controller-manager")

    def _play(self, step: Step) -> None:
        space = self._scenario.namespace
        if step.patch is not None:
            key = make_key(step.patch.kind, space, step.patch.name)
            self.world.store.patch(key, step.patch.operations, step.patch.manager)
        elif step.create is not None:
            metadata = {"namespace": space, **step.create.get("metadata", {})}
            self.create({**step.create, "metadata": metadata}, "kubectl-create")
        elif step.delete:
            kind, _, name = step.delete.partition("/")
            self.delete(make_key(Kind(kind), space, name))
        elif step.traffic is not None:
            self.traffic.set_rps(step.traffic.app, step.traffic.rps)

    def _cpu_use(self, pod: Obj) -> int | None:
        run = self.kubelet.run_of(Key(Kind.POD, pod["metadata"]["namespace"], pod["metadata"]["name"]))
        if run is None or run.main.behaviour is None or not run.main.behaviour.cpu.per_rps:
            return None
        return sum(container.cpu() for container in run.containers)


def _has_key(store: ObjectStore, namespace: str, name: str, key: str) -> bool:
    return has_key(store, Kind.CONFIG_MAP, (namespace, name), key)
