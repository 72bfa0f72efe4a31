"""Pods that come and go do not make of a Service that has been away for days one that lost its pods lately."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from app.domain.json import Obj
from app.domain.target import Kind
from remediations.causes import CauseCode as C
from tests.unit.causes.table import Row, holds
from tests.unit.causes.test_away_for_long import BACK, DAYS, FLAGS
from tests.unit.causes.world import SPACE, World, at


def owner(kind: str, name: str) -> Obj:
    return {"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": f"{kind}-{name}", "controller": True}


def flags(world: World, unavailable: float | None, *, wanted: int = 1, was_ready: float = 0.0) -> World:
    """Service `flags`, whose pod was made four minutes ago and whose Deployment is unavailable for so many minutes. `was_ready`: the pod was,
    until so many minutes ago."""
    world.put("Service", "flags", spec={"selector": {"app": "flags"}, "ports": [{"port": 8013}]})
    world.put("EndpointSlice", "flags-x7k2p", changed=1, by="kube-controller-manager", endpoints=[])
    world.cluster.of(Kind.ENDPOINT_SLICE, "flags-x7k2p", SPACE)["metadata"]["labels"] = {
        "kubernetes.io/service-name": "flags"
    }
    labels = {"app": "flags"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": []}}
    condition = {"type": "Available", "status": "False", "lastTransitionTime": at(minutes=unavailable or 0)}
    conditions = [condition] if unavailable is not None else []
    world.put(
        "Deployment",
        "flags",
        spec={"replicas": wanted, "template": template},
        status={"conditions": conditions},
    )
    world.put("ReplicaSet", "flags-r1", spec={"replicas": wanted, "template": template})
    world.cluster.of(Kind.REPLICA_SET, "flags-r1", SPACE)["metadata"]["ownerReferences"] = [
        owner("Deployment", "flags")
    ]
    pod = world.pod("flags-r1-0", made=30 if was_ready else 4, ready=False)
    pod["metadata"] |= {"labels": labels, "ownerReferences": [owner("ReplicaSet", "flags-r1")]}
    if was_ready:
        pod["status"]["conditions"][0]["lastTransitionTime"] = at(minutes=was_ready)
    world.cluster.put(world.pods.pop("flags-r1-0"))
    return world


def crashing() -> World:
    return World().rolling().crash("new-0").said("app", f"ERROR {FLAGS}")


ROWS: dict[str, tuple[Callable[[], World], C, str]] = {
    "away for days, with a new pod every few minutes": (lambda: flags(crashing(), DAYS), C.CRASH, "it has been away for 3 d"),
    "the same of several, of which some may have served": (lambda: flags(crashing(), DAYS, wanted=4), C.CRASH, "since when is not known"),
    "unavailable since it was released": (lambda: flags(crashing(), 6), C.DEPENDENCY, ""),
    "nobody says that it is unavailable": (lambda: flags(crashing(), None), C.DEPENDENCY, ""),
    "its pod was ready until then": (lambda: flags(crashing(), DAYS, was_ready=6), C.DEPENDENCY, ""),
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
async def test_pods_that_churn_are_no_loss_of_lately(name: str) -> None:
    world, code, said = ROWS[name]
    if code is C.CRASH:
        await holds(Row(name, world, code, "Pod new-0", BACK, (said,), asks="speaks of something else"))
    else:
        await holds(Row(name, world, code, "Service flags"))
