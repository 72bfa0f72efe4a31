"""The disruption controller: how many pods may be evicted now. Called by the world, and asked before each eviction."""

from __future__ import annotations

from app.domain.errors import DisruptionBlocked
from app.domain.json import Obj
from app.domain.target import Kind
from app.sim.controllers.intstr import absolute
from app.sim.controllers.pods import as_key, is_active, is_ready
from app.sim.objects import Key
from app.sim.selectors import matches
from app.sim.world import World, condition

CHARGED = 120.0
"""Seconds for which an allowed eviction counts against the budget, even if it then did not happen."""


class Budgets:
    """Reconciles PodDisruptionBudgets and answers evictions."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._charged: dict[Key, float] = {}
        """Pods whose eviction was allowed, with the moment from which they count again if they are still there."""

    def reconcile(self, key: Key) -> None:
        """Recount one budget."""
        budget = self._world.store.find(key)
        if budget is not None:
            self._world.set_status(budget, self._status(budget))

    def charge(self, pod: Obj, *, dry_run: bool) -> None:
        """Take the eviction of this pod from its budget, if there is one. Raises DisruptionBlocked, also when several budgets claim it."""
        namespace, labels = pod["metadata"]["namespace"], pod["metadata"].get("labels", {})
        budgets = [
            b
            for b in self._world.store.all(Kind.PDB, namespace)
            if matches(b["spec"].get("selector"), labels)
        ]
        # Pods that serve nobody may always go.
        if not is_active(pod) or pod.get("status", {}).get("phase") == "Pending" or not budgets:
            return
        if len(budgets) > 1:
            raise DisruptionBlocked(
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
                where=f"{namespace}/Pod/{pod['metadata']['name']}",
            )
        status = self._status(budgets[0])
        if status["disruptionsAllowed"] < 1:
            name = budgets[0]["metadata"]["name"]
            raise DisruptionBlocked(
                "Cannot evict pod as it would violate the pod's disruption budget: "
                f"the disruption budget {name} needs {status['desiredHealthy']} healthy pods and has "
                f"{status['currentHealthy']} currently",
                where=f"{namespace}/Pod/{pod['metadata']['name']}",
                retry_after=10.0,
            )
        if not dry_run:
            self._charged[as_key(Kind.POD, pod)] = self._world.time + CHARGED
            self.reconcile(as_key(Kind.PDB, budgets[0]))

    def _status(self, budget: Obj) -> Obj:
        selector, namespace = budget["spec"].get("selector"), budget["metadata"]["namespace"]
        pods = [
            p
            for p in self._world.store.all(Kind.POD, namespace)
            if is_active(p) and matches(selector, p["metadata"].get("labels", {}))
        ]
        expected = self._expected(pods, namespace)
        healthy = sum(is_ready(p) and not self._is_charged(p) for p in pods)
        spec = budget["spec"]
        if "maxUnavailable" in spec:
            desired = max(0, expected - absolute(spec["maxUnavailable"], expected, up=True))
        else:
            desired = absolute(spec.get("minAvailable", 1), expected, up=True)
        allowed = max(0, healthy - desired) if pods else 0
        reason = "SufficientPods" if allowed else "InsufficientPods"
        old = budget.get("status", {}).get("conditions", [])
        state, _ = condition(old, "DisruptionAllowed", allowed > 0, reason, "", self._world.time)
        return {
            "observedGeneration": budget["metadata"]["generation"],
            "currentHealthy": healthy,
            "desiredHealthy": desired,
            "expectedPods": expected,
            "disruptionsAllowed": allowed,
            "conditions": [{**state, "message": "", "observedGeneration": budget["metadata"]["generation"]}],
        }

    def _is_charged(self, pod: Obj) -> bool:
        return self._charged.get(as_key(Kind.POD, pod), 0.0) > self._world.time

    def _expected(self, pods: list[Obj], namespace: str) -> int:
        """The pods that the owners want, not the ones that happen to be there."""
        wanted: dict[str, int] = {}
        loose = 0
        for pod in pods:
            reference = next(iter(pod["metadata"].get("ownerReferences", [])), None)
            owner = (
                self._world.store.find(Key(Kind(reference["kind"]), namespace, reference["name"]))
                if reference is not None
                else None
            )
            if owner is None:
                loose += 1
            else:
                wanted[owner["metadata"]["uid"]] = owner.get("spec", {}).get("replicas", 1)
        return loose + sum(wanted.values())
