"""What others have to do with it, and what StatefulSets and DaemonSets show: right cause, right write or none.

Unless a row says otherwise an unrelated release was rolled out well half an hour before: it is never rolled back.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from app.domain.json import Obj
from app.domain.target import Kind
from remediations.causes import CauseCode as C
from tests.unit.causes.sets import SetWorld
from tests.unit.causes.table import Row, holds
from tests.unit.causes.test_memory import settled, whole_pod
from tests.unit.causes.world import World, at

CACHE = "dial tcp 10.0.0.9:6379: connect: connection refused (cache:6379)"
LEASES = (
    'error retrieving lock: leases.coordination.k8s.io "web" is forbidden: User "system:serviceaccount:shop:runner" cannot get '
    'resource "leases" in API group "coordination.k8s.io" in the namespace "shop"'
)
QUOTA = "exceeded quota: team, requested: pods=1, used: pods=4, limited: pods=4"
PSS = 'violates PodSecurity "restricted:latest": host namespaces (hostNetwork=true)'
READINESS = "Readiness probe failed: HTTP probe failed with statuscode: 503"


def cache(world: World, *, ready: bool = False) -> World:
    """A Service `cache` that the application speaks of, with one pod."""
    world.put("Service", "cache", spec={"selector": {"app": "cache"}, "ports": [{"port": 6379}]})
    pod = world.pod("cache-0", ready=ready)
    pod["metadata"]["labels"] = {"app": "cache", "pod-template-hash": "other"}
    pod["metadata"]["ownerReferences"] = []
    world.cluster.put(world.pods.pop("cache-0"))
    return world


def unmade(said: str, name: str = "web-r2-x8q2p") -> World:
    """The release cannot make its first pod, while the old ones are still enough."""
    world = World().rolling(new=0)
    world.unmade[2] = 1
    world.conditions.append(
        {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": f'pods "{name}" is forbidden: {said}',
         "lastTransitionTime": at(minutes=3), "lastUpdateTime": at(minutes=3)}
    )  # fmt: skip
    return world


def host(spec: Obj) -> None:
    spec["hostNetwork"] = True


def stalled() -> World:
    world = World().rolling(new=0)
    world.unmade[2] = 1
    world.conditions.append({"type": "Available", "status": "True"})
    whole = world.manifest

    def late() -> Obj:
        found = whole()
        found["status"]["conditions"][0] |= {"status": "False", "reason": "ProgressDeadlineExceeded"}
        return found

    vars(world)["manifest"] = late
    return world


def made_again(world: World, minutes: float = 4) -> World:
    """One pod was made anew long after the release, and its readiness probe fails."""
    world.pod("new-0", made=minutes, ready=False)
    world.state("new-0", {"running": {"startedAt": at(minutes=minutes)}}, since=minutes)
    return world.event("Unhealthy", READINESS, "Pod/new-0", first=at(minutes=minutes - 0.2), container="app")


def put_out(world: World, reason: str, said: str, *, pod: str = "web-r2-9zk4d") -> World:
    return world.event(reason, said, f"Pod/{pod}", ago=4.5, first=at(minutes=4.5))


def pending(world: World) -> World:
    return world.unscheduled("new-0", "0/3 nodes are available: 3 Insufficient cpu.")


def pulling(minutes: float) -> World:
    """The release's pod waits for its image, as a normal event tells."""
    world = World().rolling(deployed=minutes)
    return world.event("Pulling", 'Pulling image "registry.test/web:v2"', "Pod/new-0", ago=minutes - 0.1)


def errored() -> World:
    said = 'Liveness probe errored and resulted in unknown state: rpc error: code = DeadlineExceeded desc = command timed out: "pg_isready" timed out after 1s'
    return (
        World()
        .crash("new-0", code=137, restarts=4, first=4)
        .event("Unhealthy", said, "Pod/new-0", container="app", first=at(minutes=4))
    )


def vpa(world: World) -> World:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    return world.put("VerticalPodAutoscaler", "web-sizes", spec={"targetRef": target})


def recreate() -> World:
    world = World().rolling(deployed=8, old=1, new=0)
    world.spec["strategy"] = {"type": "Recreate"}
    return world


def ending(world: World, name: str, **meta: object) -> World:
    """The pod should have been gone 7 min ago."""
    world.pods[name]["metadata"] |= {"deletionTimestamp": at(minutes=7), **meta}
    world.pods[name]["status"]["conditions"][0] |= {"status": "False", "lastTransitionTime": at(minutes=8)}
    return world


def lost(world: World) -> World:
    status = {
        "conditions": [
            {"type": "Ready", "status": "Unknown", "message": "Kubelet stopped posting node status."}
        ]
    }
    return world.put("Node", "node-1", namespace="", spec={}, status=status)


def held() -> World:
    said = 'Multi-Attach error for volume "pvc-1" Volume is already exclusively attached to one node'
    world = World(1).rolling(deployed=8, old=1, new=1)
    world.both(lambda s: s.update(volumes=[{"name": "d", "persistentVolumeClaim": {"claimName": "data"}}]))
    world.put("PersistentVolumeClaim", "data", status={"phase": "Bound"})
    return ending(world, "old-0").event("FailedAttachVolume", said, "Pod/new-0", first=at(minutes=7))


def resized(reason: str) -> World:
    world = World()
    said = "Node didn't have enough capacity: memory, requested: 68719476736, capacity: 33554432000"
    condition = {"type": "PodResizePending", "status": "True", "reason": reason, "message": said}
    world.pods["new-0"]["status"]["conditions"].append(condition)
    return world.state("new-0", {"running": {"startedAt": at(minutes=30)}}, since=4)


def budget(allowed: int) -> World:
    world = World()
    world.state("new-0", {"waiting": {"reason": "ContainerCreating"}}, since=0.5)
    world.pods["new-0"]["metadata"]["creationTimestamp"] = at(minutes=0.6)
    status = {"disruptionsAllowed": allowed, "currentHealthy": 2, "desiredHealthy": 2, "expectedPods": 3}
    return world.put(
        "PodDisruptionBudget", "web", spec={"selector": {"matchLabels": {"app": "web"}}}, status=status
    )


def template_only() -> World:
    world = World()
    world.replicas = 0
    world.pods.clear()
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    return world.put("Rollout", "web", spec={"workloadRef": reference})


def keda() -> World:
    world = World()
    world.replicas = 0
    world.pods.clear()
    world.fields.append({"manager": "keda", "subresource": "scale", "time": at(minutes=20), "fieldsV1": {"f:spec": {"f:replicas": {}}}})  # fmt: skip
    return world


IDLE = [{"type": "Ready", "status": "True"}, {"type": "Active", "status": "False"}]
FAILS = {"type": "Ready", "status": "False", "reason": "TriggerError", "message": "connection refused"}


def by_keda(spec: Obj | None = None, *, paused: str = "", conditions: list[Obj] | None = None) -> World:
    """KEDA's own way to 0: a write of the subresource scale, which leaves no owner of the replicas."""
    world = World()
    world.replicas = 0
    world.pods.clear()
    key, _, value = paused.partition(": ")
    notes = {"annotations": {f"autoscaling.keda.sh/{key}": value}} if paused else {}
    world.cluster.put(
        {
            "kind": "ScaledObject",
            "metadata": {"name": "load", "namespace": "shop", **notes},
            "spec": {"scaleTargetRef": {"name": "web"}, **(spec or {})},
            "status": {"conditions": IDLE if conditions is None else conditions},
        }
    )
    return world


ACTIVE = [{"type": "Ready", "status": "True"}, {"type": "Active", "status": "True"}]
AT_ZERO = [
    (by_keda, True, "it sees no load (minReplicaCount 0)", "load that its triggers do not see"),
    (lambda: by_keda({"minReplicaCount": 3, "idleReplicaCount": 0}), True, "it sees no load (idleReplicaCount 0)", "load that its triggers"),
    (lambda: by_keda(paused="paused-replicas: 0"), True, "it is paused (autoscaling.keda.sh/paused-replicas: 0)", "ask who paused it"),
    (lambda: by_keda(paused="paused: true"), True, "it is paused (autoscaling.keda.sh/paused: true)", "ask who paused it"),
    (lambda: by_keda(paused="paused-replicas: 3"), False, "it is paused (autoscaling.keda.sh/paused-replicas: 3)", "ask who paused it"),
    (lambda: by_keda(conditions=[FAILS]), False, "Ready is False, TriggerError: connection refused", "why KEDA does not start it"),
    (lambda: by_keda(conditions=ACTIVE), False, "it sees load (minReplicaCount 0)", "why KEDA does not start it"),
    (lambda: by_keda({"minReplicaCount": 2}), False, "its minReplicaCount is 2", "why KEDA does not start it"),
]  # fmt: skip


@pytest.mark.parametrize(("happens", "meant", "why", "advice"), AT_ZERO, ids=[r[2] for r in AT_ZERO])
async def test_what_keda_holds_at_0_by_design_calls_nobody_and_else_says_why(
    happens: Callable[[], World], meant: bool, why: str, advice: str
) -> None:
    diagnosis, steps = await happens().look()
    assert bool(diagnosis.rest) is meant
    if meant:
        assert diagnosis.rest.startswith("at 0 replicas by design, nothing to do: ScaledObject load (KEDA)")
        assert why in diagnosis.rest
    else:
        assert advice in steps["fix-by-hand"].advice[:1].lower() + steps["fix-by-hand"].advice[1:]
    cause = diagnosis.finding("cause.first")
    assert cause is not None
    assert why in cause.text
    assert advice in str(cause.data["advice"])
    assert "kubectl scale deployment" not in str(cause.data["advice"])


def of_set(kind: Kind, *, rolling: bool = False) -> SetWorld:
    world = SetWorld(kind)
    if rolling:
        world.rolling(old=2, new=1)
    return world


def no_node_chosen() -> World:
    world = of_set(Kind.DAEMON_SET)
    world.replicas = 0
    world.pods.clear()
    return world


OTHERS = [
    Row("a dependency failed first, then pods of an innocent release crash", lambda: cache(World()).crash(restarts=4).said("app", f"ERROR {CACHE}"), C.DEPENDENCY, "Service cache",
        words=("Service cache has no ready pod (0 of 1 pod", "restore cache first", "no change of the pod template brings that")),
    Row("a release crashes for a dependency that is down", lambda: cache(World().rolling()).crash("new-0").said("app", f"ERROR {CACHE}"), C.DEPENDENCY, "Service cache"),
    Row("a dependency that is named and runs is not accused", lambda: cache(World().rolling(), ready=True).crash("new-0").said("app", f"ERROR {CACHE}"), C.CRASH, "Pod new-0", "roll-back", asks="speaks of something else"),
    Row("an init container waits for a neighbour that is down", lambda: cache(World().both(lambda s: s.update(initContainers=[{"name": "wait", "image": "registry.test/wait:v1"}])).rolling())
        .state("new-0", {"running": {"startedAt": at(minutes=4)}}, container="wait").said("wait", "waiting for cache:6379", previous=False), C.DEPENDENCY, "Service cache"),
    Row("a right was taken away", lambda: World().crash(restarts=1, ran=26, ended=3, first=3).said("app", LEASES), C.RIGHT, "ServiceAccount runner",
        words=("may not get leases", "RoleBinding to ServiceAccount runner", "ran well for")),
    Row("a release that wants a right nobody gave it", lambda: World().rolling().crash("new-0").said("app", LEASES), C.RIGHT, "ServiceAccount runner", "roll-back",
        asks="whether the revision before asks for the right to get leases as well is not known"),
    Row("preempted, and no room for another", lambda: put_out(pending(World()), "Preempted", "Preempted by pod 8d1f on node node-2"), C.UNSCHEDULABLE, "Pod new-0",
        words=("made room for a pod of a higher priority", "Preempted by pod 8d1f")),
    Row("preempted, and nothing came", lambda: put_out(missing(), "Preempted", "Preempted by pod 8d1f on node node-2"), C.PREEMPTED, "Pod web-r2-9zk4d"),
    Row("another workload's pod was preempted", lambda: put_out(pending(World()), "Preempted", "Preempted by pod 8d1f", pod="webshop-r2-9zk4d"), C.UNSCHEDULABLE, "Pod new-0"),
    Row("a VPA's updater put a pod out, and the new one is not ready", lambda: vpa(put_out(made_again(World()), "EvictedByVPA", "Pod was evicted by VPA Updater to apply resource recommendation.")),
        C.READINESS_PROBE, "Pod new-0", words=("VerticalPodAutoscaler web-sizes put 1 pod out", "had all its pods available", "made 26 min after it")),
    Row("a resize that its node can never carry", lambda: resized("Infeasible"), C.RESIZE, "Pod new-0", words=("can never carry (Infeasible", "68719476736")),
    Row("a probe that could not be asked ended the container", errored, C.LIVENESS_PROBE, "Pod new-0", words=('"pg_isready" timed out after 1s', "SIGKILL, not for memory")),
    Row("an image that is pulled for too long", lambda: pulling(12), C.NOT_READY, "Pod new-0", "roll-back", asks="the cause is not sure"),
    Row("a resize that waits", lambda: resized("Deferred"), C.RESIZE, "Pod new-0", words=("cannot carry for now",)),
    Row("killed at the limit of the whole pod", lambda: settled(whole_pod()),
        C.OUT_OF_MEMORY, "Pod new-0", words=("OOMKilled, limit of the whole pod 300 MiB",)),
    Row("a budget that lets nobody evict", lambda: budget(0), C.DISRUPTION_BUDGET, "PodDisruptionBudget web", words=("2 have to be healthy",)),
    Row("only the template of a Rollout", template_only, C.SCALED_TO_ZERO, "Deployment web", words=("only the template of Rollout web (Argo Rollouts)", "look at Rollout web")),
    Row("KEDA scaled it to 0", keda, C.SCALED_TO_ZERO, "Deployment web", words=("KEDA scaled Deployment web to 0 20 min ago", "paused-replicas", "KEDA takes back")),
]  # fmt: skip
UNMADE = [
    Row("quota full for the surge of an innocent release", lambda: unmade(QUOTA), C.QUOTA, "ResourceQuota team", words=("1 pod of 3 cannot be made", "no change of the pod template brings that")),
    Row("Pod Security refuses a release whose old pods are enough", lambda: unmade(PSS).only_new(host), C.POD_SECURITY, "Namespace shop", "roll-back", ("hostNetwork",)),
    Row("refused before the pod has its whole name", lambda: unmade(PSS, "web-r2-").only_new(host), C.POD_SECURITY, "Namespace shop", "roll-back"),
    Row("a webhook away in the middle of a release", lambda: unmade('failed calling webhook "inject.test": no endpoints available'), C.WEBHOOK, "webhook inject.test"),
    Row("past its deadline, and nothing says why", stalled, C.NOT_READY, "Deployment web", "roll-back", words=("does not go on (ProgressDeadlineExceeded, 3 pods not updated)",), asks="the cause is not sure"),
    Row("made again long after the release", lambda: made_again(World()), C.READINESS_PROBE, "Pod new-0", words=("were made 26 min after it",)),
]  # fmt: skip
SETS = [
    Row("Recreate: the old pod waits for a finalizer", lambda: ending(recreate(), "old-0", finalizers=["acme.io/cleanup"]), C.TERMINATING, "Pod old-0",
        words=("has been ending for 7 min", "finalizer acme.io/cleanup is not done", "take the finalizer off by hand")),
    Row("Recreate: its node does not end the old pod", lambda: ending(recreate(), "old-0"), C.TERMINATING, "Pod old-0", words=("node node-1 has not ended it",)),
    Row("a StatefulSet's pod ends on a node that is lost", lambda: lost(ending(of_set(Kind.STATEFUL_SET), "new-0")), C.NODE, "Node node-1",
        words=("Pod new-0 has been ending for 7 min", "nothing takes its place", "Kubelet stopped posting", "out-of-service")),
    Row("a pod that is ending on a lost node has the volume", held, C.VOLUME, "PersistentVolumeClaim data",
        words=("by pod old-0 on node-1, which has been ending for 7 min", "let pod old-0 on node-1 end")),
    *(
        row
        for kind in (Kind.STATEFUL_SET, Kind.DAEMON_SET)
        for row in (
            Row(f"{kind}: a release that crashes", lambda k=kind: of_set(k, rolling=True).crash("new-0"), C.CRASH, "Pod new-0", "roll-back", ("only pods of revision 2 show it",)),  # type: ignore[misc]
            Row(f"{kind}: the old pods crash as well", lambda k=kind: of_set(k, rolling=True).crash(), C.CRASH, "Pod new-0", words=("not the newest revision alone",)),  # type: ignore[misc]
            Row(f"{kind}: crashes begin long after the release", lambda k=kind: of_set(k).crash(ended=0.5, restarts=1, ran=29, first=0.5), C.CRASH, "Pod new-0", words=("ran well for",)),  # type: ignore[misc]
            Row(f"{kind}: the image is not there", lambda k=kind: of_set(k, rolling=True).state("new-0", {"waiting": {"reason": "ImagePullBackOff", "message": "manifest unknown: not found"}}), C.IMAGE_MISSING, "image registry.test/web:v2", "roll-back"),  # type: ignore[misc]
            Row(f"{kind}: its node is away", lambda k=kind: of_set(k).state("new-0", {"running": {"startedAt": at(minutes=30)}}, since=2)
                .put("Node", "node-1", namespace="", spec={"unschedulable": True}, status={"conditions": [{"type": "Ready", "status": "Unknown", "message": "Kubelet stopped posting node status."}]}), C.NODE, "Node node-1"),  # type: ignore[misc]
            Row(f"{kind}: a pod refused by quota", lambda k=kind: refused_of(k), C.QUOTA, "ResourceQuota team", words=("1 pod of 3 cannot be made",)),  # type: ignore[misc]
        )
    ),
    Row("StatefulSet: its claim is pending", lambda: of_set(Kind.STATEFUL_SET).both(lambda s: s.update(volumes=[{"name": "data", "persistentVolumeClaim": {"claimName": "data-web-0"}}]))
        .unscheduled("new-0", "0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims.").put("PersistentVolumeClaim", "data-web-0", status={"phase": "Pending"}),
        C.VOLUME, "PersistentVolumeClaim data-web-0"),
    Row("DaemonSet: no node is chosen", no_node_chosen, C.SCALED_TO_ZERO, "DaemonSet web", words=("node selector and tolerations of DaemonSet web",)),
]  # fmt: skip


def refused_of(kind: Kind) -> World:
    """StatefulSets and DaemonSets tell it by events alone."""
    world = of_set(kind)
    del world.pods["new-2"]
    return world.event("FailedCreate", f'Error creating: pods "web-2" is forbidden: {QUOTA}', f"{kind}/web")


def missing() -> World:
    world = World()
    del world.pods["new-0"]
    return world


@pytest.mark.parametrize("row", [*OTHERS, *UNMADE, *SETS], ids=lambda row: row.name)
async def test_the_cause_is_named_with_its_object_and_nothing_else_is_written(row: Row) -> None:
    await holds(row)


def dark(world: World) -> World:
    """The release's only pod runs and is not ready, and nothing says why."""
    return world.state("new-0", {"running": {"startedAt": at(minutes=4.5)}}, since=4.5)


@pytest.mark.parametrize("world", [stalled, lambda: dark(World().rolling(12))], ids=["stalled", "not ready"])
async def test_promise_11_where_the_cause_is_not_sure_the_rollback_is_a_question(
    world: Callable[[], World],
) -> None:
    """Only pods of the new revision are not ready, the rollout is past its deadline and no cause is known: whatever the rule's mode, a
    person decides."""
    _, steps = await world().look()
    assert steps["roll-back"].asks.startswith("the cause is not sure: Possibly: ")


async def test_promise_11_a_sure_cause_asks_nobody() -> None:
    _, steps = await World().rolling().crash("new-0").look()
    assert (steps["roll-back"].applies, steps["roll-back"].asks) == (True, "")


async def test_a_pod_whose_image_is_being_pulled_is_still_starting() -> None:
    diagnosis, steps = await pulling(4).look()
    assert diagnosis.rest.startswith("still starting, nothing to do")
    assert [s.name for s in steps.values() if s.applies] == []


async def test_a_pod_that_ends_in_time_and_one_that_others_replace_are_no_cause() -> None:
    world = recreate()
    world.pods["old-0"]["metadata"]["deletionTimestamp"] = at(minutes=-0.2)
    diagnosis, _ = await world.look()
    assert diagnosis.rest == "still starting, nothing to do: 0 of 3 pods ready, a pod of before is ending"
    rolling = World()
    rolling.pod("gone-0")
    assert (await ending(rolling, "gone-0").investigate()).causes == ()


def held_update(kind: str, **strategy: object) -> SetWorld:
    """The update has reached one pod of three, and all are ready."""
    world = SetWorld(Kind.STATEFUL_SET)
    world.rolling(old=2, new=0)
    world.pod("new-0", revision=2, made=20)
    world.spec = {"updateStrategy": {"type": kind, "rollingUpdate": strategy}}
    return world


@pytest.mark.parametrize(
    ("world", "words"),
    [
        (lambda: held_update("RollingUpdate", partition=2), ", 2 of them not updated: partition 2 of its update strategy holds them back"),
        (lambda: held_update("OnDelete"), ", 2 of them not updated: with the strategy OnDelete a pod is updated when somebody deletes it"),
        (lambda: held_update("RollingUpdate"), ""),
        (lambda: held_update("RollingUpdate", partition=1), ""),
    ],
    ids=["partition", "OnDelete", "none", "not by this partition alone"],
)  # fmt: skip
async def test_an_update_that_waits_for_a_person_is_named(world: Callable[[], SetWorld], words: str) -> None:
    diagnosis, _ = await world().look()
    assert diagnosis.rest.partition(" pods ready")[2] == words, diagnosis.rest
    assert "3 of 3" in diagnosis.rest


async def test_more_pods_than_wanted_are_told_as_that() -> None:
    world = World().rolling(old=3, new=0)
    world.pod("new-0", revision=2, made=20)
    diagnosis, _ = await world.look()
    assert diagnosis.rest.endswith(": 4 pods ready, 3 wanted")
