"""Pods of one template, and only those from after its restart fail: what they read when they start tells them apart, and the release is innocent."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import timedelta

import pytest

from app.domain.json import Obj
from app.domain.target import Kind
from app.kube.parse import RESTARTED_AT
from remediations.high_error_rate import HighErrorRate
from remediations.pod_restarting import PodRestarting
from tests.unit.causes.cluster import NOW, Requests
from tests.unit.causes.sets import SetWorld
from tests.unit.causes.test_errors import log
from tests.unit.causes.world import V1, V2, World, at

KEY = "KeyError: 'RAG_BATCH_SIZE'"


class Restarted(World):
    """v2 came 40 minutes ago and runs; five minutes ago it was restarted, and the one pod made since crashes."""

    def __init__(self, *, before: int = 3, code: int = 1, reason: str = "Error") -> None:
        super().__init__(before)
        self.replicas, self.deployed, self.done, self.fired = 3, 40, False, 3
        for pod in self.pods.values():
            pod["metadata"]["creationTimestamp"] = at(minutes=40)
        source = {"configMapRef": {"name": "web-config"}}
        self.both(lambda spec: spec["containers"][0].update(envFrom=[source])).config()
        made = self.pod("again-0", revision=3, made=5, ready=False)
        made["spec"] = {**copy.deepcopy(self.template["spec"]), "nodeName": "node-1"}
        self.crash("again-0", code=code, reason=reason, restarts=4).said("app", KEY)

    def _build(self) -> None:
        plain = copy.deepcopy(self.template)
        self.template["metadata"]["annotations"] = {RESTARTED_AT: at(minutes=5)}
        super()._build()
        self.cluster.put(self._replica_set(2, plain, self.deployed))
        self.cluster.put(self._replica_set(3, self.template, 5))


@pytest.mark.parametrize("before", [1, 3])
async def test_pods_from_before_the_restart_acquit_their_template(before: int) -> None:
    _, steps = await Restarted(before=before).look(PodRestarting())
    back, by_hand = steps["roll-back"], steps["fix-by-hand"]
    assert not back.applies, back.asks
    assert f"{before} pod" in back.why
    assert "of the same template, made before its restart" in back.why
    assert "what they read when they start (ConfigMap web-config)" in back.why
    assert "compare ConfigMap web-config with what the program needs at its start" in by_hand.advice.replace(
        "Compare", "compare"
    )


@pytest.mark.parametrize("replaced", [True, False])
async def test_an_image_that_was_pushed_over_is_told_where_pods_of_one_template_run_two(
    replaced: bool,
) -> None:
    """A restart fetches what the tag stands for by then: no configuration has to have changed."""
    world = Restarted()
    world.said("app", "TypeError: connect() got an unexpected keyword argument 'pool_size'")
    for name, pod in world.pods.items():
        other = replaced and name.startswith("again")
        digest = f"sha256:{'b' * 64 if other else 'a' * 64}"
        pod["status"]["containerStatuses"][0]["imageID"] = f"registry.test/web@{digest}"
    _, steps = await world.look(PodRestarting())
    why, advice = steps["roll-back"].why, steps["fix-by-hand"].advice
    assert not steps["roll-back"].applies
    assert (
        "stood for another image when they started (sha256:bbbbbbbbbbbb; before sha256:aaaaaaaaaaaa)" in why
    ) is replaced
    assert ("what they read when they start" in why) is not replaced
    assert ("back to sha256:aaaaaaaaaaaa" in advice) is replaced


def _digests(world: World, container: str, new: str) -> World:
    """The pods that fail got another image by this container's name than those from before."""
    for name, pod in world.pods.items():
        for status in pod["status"]["containerStatuses"]:
            other = status["name"] == container and name.startswith(new)
            status["imageID"] = f"registry.test/any@sha256:{('b' if other else 'a') * 64}"
    return world


@pytest.mark.parametrize(
    ("old", "new", "image", "told"),
    [
        ("docker-pullable://registry.test/web@sha256:a", "docker-pullable://registry.test/web@sha256:b", V2, True),
        ("registry.test/web@sha256:a", "sha256:c", V2, False),
        ("docker://sha256:a", "docker://sha256:c", V2, False),
        ("registry.test/web@sha256:a", "mirror.test/web@sha256:b", V2, False),
        ("registry.test/web@sha256:a", "registry.test/web@sha256:b", "registry.test/web@sha256:a", False),
    ],
    ids=["one repository", "an image that the node had", "two of a runtime's own", "another repository", "named by digest"],
)  # fmt: skip
async def test_two_ids_are_two_images_only_of_one_repository(
    *, old: str, new: str, image: str, told: bool
) -> None:
    world = Restarted()
    world.containers[0]["image"] = image
    for name, pod in world.pods.items():
        pod["status"]["containerStatuses"][0]["imageID"] = new if name.startswith("again") else old
    _, steps = await world.look(PodRestarting())
    assert ("stood for another image" in steps["roll-back"].why) is told
    assert ("what they read when they start (ConfigMap web-config)" in steps["roll-back"].why) is not told


async def test_another_containers_image_explains_nothing() -> None:
    """A tag that moved beside: the program that fails is the same in all pods."""
    world = Restarted()
    beside = {"name": "agent", "image": "registry.test/agent:latest", "resources": {}}
    world.both(lambda spec: spec["containers"].append(copy.deepcopy(beside)))
    runs = {
        "name": "agent",
        "ready": True,
        "restartCount": 0,
        "state": {"running": {"startedAt": at(minutes=4)}},
    }
    for pod in world.pods.values():
        pod["status"]["containerStatuses"].append(copy.deepcopy(runs))
    _, steps = await _digests(world, "agent", "again").look(PodRestarting())
    assert "stood for another image" not in steps["roll-back"].why
    assert "what they read when they start (ConfigMap web-config)" in steps["roll-back"].why


async def test_an_image_that_was_pushed_over_is_told_of_a_pod_that_a_drain_made() -> None:
    """No restart and no release: one ReplicaSet, and two programs by one name."""
    world = World()
    world.deployed, world.done, world.fired = 40, False, 3
    world.pods.popitem()
    world.pod("drained-0", made=4, ready=False)
    world.crash("drained-0", restarts=4).said("app", KEY)
    _, steps = await _digests(world, "app", "drained").look(PodRestarting())
    assert not steps["roll-back"].applies
    assert "stood for another image when they started" in steps["roll-back"].why
    assert "back to sha256:aaaaaaaaaaaa" in steps["fix-by-hand"].advice


@pytest.mark.parametrize(("moved", "pinned"), [(True, False), (False, False), (True, True)])
async def test_going_back_by_a_name_that_stands_for_another_image_by_now_is_asked_about(
    *, moved: bool, pinned: bool
) -> None:
    """The older template names the image that fails: its pods, made anew, would get that."""
    image = f"registry.test/web{'@sha256:' + 'a' * 64 if pinned else ':stable'}"
    world = World().rolling(deployed=5, old=3, new=1)
    world.containers[0]["image"] = world.before["spec"]["containers"][0]["image"] = image
    world._adopt()
    world.only_new(lambda spec: spec["containers"][0].update(env=[{"name": "FEATURE_X", "value": "1"}]))
    world.crash("new-0", restarts=4).said("app", "TypeError: no FEATURE_X")
    world.fired = 3
    _, steps = await _digests(world, "app" if moved else "none", "new").look(PodRestarting())
    assert steps["roll-back"].applies
    assert ("stable stood for sha256:aaaaaaaaaaaa in the pods of revision 1" in steps["roll-back"].asks) is (
        moved and not pinned
    )


OWN = "TypeError: connect() got an unexpected keyword argument 'pool_size'"
INSIDE = "grpc: error while dialing: dial tcp 127.0.0.1:50051: connect: connection refused"
MOVED = {  # who moved beside `app`, how it runs, and what `app` says: is that a reason to ask?
    "nobody": ("none", {}, OWN, False),
    "a sidecar that runs well": ("agent", {}, OWN, False),
    "a sidecar that is restarted": ("agent", {"restartCount": 2, "lastState": {"terminated": {"exitCode": 1}}}, OWN, True),
    "a sidecar that is not ready": ("agent", {"ready": False}, OWN, True),
    "a sidecar that runs, and the words name the pod itself": ("agent", {}, INSIDE, True),
    "nobody, and the words name the pod itself": ("none", {}, INSIDE, False),
}  # fmt: skip


@pytest.mark.parametrize("errors", [True, False])
@pytest.mark.parametrize("name", MOVED)
async def test_a_tag_that_moved_beside_is_asked_about_where_its_container_ails(
    name: str, *, errors: bool
) -> None:
    """Pods that go back get that image as well, and run well with it as those of now do."""
    moved, state, words, asks = MOVED[name]
    world = World().rolling(deployed=6, old=2, new=1)
    world.fired = 4
    beside = {"name": "agent", "image": "registry.test/agent:latest", "resources": {}}
    world.both(lambda spec: spec["containers"].append(copy.deepcopy(beside)))
    runs = {"name": "agent", "ready": True, "restartCount": 0, "state": {"running": {"startedAt": at(minutes=5)}}}  # fmt: skip
    if errors:
        world.pod("new-0", revision=2, made=5.8)
    for pod in world.pods.values():
        listed = pod["status"]["containerStatuses"]
        listed[:] = [c for c in listed if c["name"] != "agent"] + [copy.deepcopy(runs)]
    world.pods["new-0"]["status"]["containerStatuses"][-1] |= state
    if errors:
        for each in world.pods:
            said = f"ERROR {words}" if each == "new-0" else "INFO served"
            world.cluster.timed[f"{each}/app"] = [(NOW - timedelta(seconds=s), said) for s in range(340, 0, -2)]  # fmt: skip
        world.metrics = Requests(340)
    else:
        world.crash("new-0", restarts=4).said("app", words)
    _, steps = await _digests(world, moved, "new").look(HighErrorRate() if errors else PodRestarting())
    assert steps["roll-back"].applies, steps["roll-back"].why
    assert ("agent:latest stood for" in steps["roll-back"].asks) is asks


@pytest.mark.parametrize("moved", [True, False])
async def test_a_moved_tag_of_what_crashes_is_told_where_the_release_did_not_touch_it(*, moved: bool) -> None:
    """Older pods of the same name run another image: to put that back ends it, and no rollback does."""
    world = World().rolling(deployed=6, old=2, new=1)
    world.fired = 4
    beside = {"name": "agent", "image": "registry.test/agent:latest", "resources": {}}
    world.both(lambda spec: spec["containers"].append(copy.deepcopy(beside)))
    world.pod("new-0", revision=2, made=5.8)
    for old in ("old-0", "old-1"):
        world.pod(old, revision=1, made=8000)
    world.crash("new-0", restarts=4, container="agent").said("agent", "FATAL unknown flag --foo")
    _, steps = await _digests(world, "agent" if moved else "none", "new").look(PodRestarting())
    assert not steps["roll-back"].applies
    told = "put registry.test/agent:latest back to sha256:aaaaaaaaaaaa"
    assert (told in steps["fix-by-hand"].advice.replace("Put", "put")) is moved, steps["fix-by-hand"].advice
    assert ("stood for another image when they started" in steps["roll-back"].why) is moved


def _joined(kind: Kind, said: str, *, node: float = 6, made: float = 5, others: float = 40) -> SetWorld:
    """A release of forty minutes ago runs everywhere; a node of another architecture joined, so many minutes ago."""
    world = SetWorld(kind)
    world.deployed, world.fired, world.replicas = 40, 3, 4
    for name in [*world.pods]:
        world.pod(name, made=others)
    world.pod("new-9", made=made, ready=False)["spec"]["nodeName"] = "node-new"
    world.put(
        "Node",
        "node-new",
        namespace="",
        spec={},
        status={"nodeInfo": {"architecture": "arm64"}, "conditions": []},
    )
    world.cluster.objects["Node", "", "node-new"]["metadata"]["creationTimestamp"] = at(minutes=node)
    if not said:
        world.state("new-9", {"waiting": {"reason": "ImagePullBackOff", "message": "no match for platform in manifest: not found"}})  # fmt: skip
        return world
    world.crash("new-9", restarts=4).said("app", said)
    return world


MODULE = "modprobe: FATAL: Module wireguard not found in directory /lib/modules/6.1"
ARM = "on Node node-new (arm64), made 6 min ago, after the release"


@pytest.mark.parametrize(
    ("world", "refused", "told"),
    [
        (lambda: _joined(Kind.DAEMON_SET, "exec format error"), True, ARM),
        (lambda: _joined(Kind.DAEMON_SET, ""), True, ARM),
        (lambda: _joined(Kind.DAEMON_SET, MODULE), True, ARM),
        (lambda: _joined(Kind.STATEFUL_SET, "exec format error"), True, ARM),
        (lambda: _joined(Kind.DAEMON_SET, MODULE, node=90_000), True, "the pods that fail were made 35 min after it"),
        (lambda: _joined(Kind.DAEMON_SET, MODULE, node=90_000, made=19, others=20), False, ""),
    ],
    ids=["another architecture", "no image for it", "another kernel", "a StatefulSet", "a pod made anew", "the last node of the rollout"],
)  # fmt: skip
async def test_what_a_node_that_joined_later_cannot_run_is_no_release_s_doing(
    world: Callable[[], World], *, refused: bool, told: str
) -> None:
    """A DaemonSet has no word for a rollout that came to its end; that its other pods have been ready for long tells it."""
    _, steps = await world().look(PodRestarting())
    assert steps["roll-back"].applies is not refused, steps["roll-back"].why
    assert told in steps["roll-back"].why


class Recreated(Restarted):
    """The same with one replica, or all at once: no pod from before the restart is left."""

    def __init__(self, *, deployed: float = 40) -> None:
        super().__init__(before=0)
        self.replicas, self.deployed = 1, deployed


class OfASet(SetWorld):
    """The same of a StatefulSet or DaemonSet with one pod."""

    def __init__(self, kind: Kind) -> None:
        super().__init__(kind)
        self.pods.clear()
        self.replicas, self.deployed, self.done, self.fired = 1, 40, False, 3
        made = self.pod("web-0", revision=3, made=5, ready=False)
        made["spec"] = {**copy.deepcopy(self.template["spec"]), "nodeName": "node-1"}
        self.crash("web-0", restarts=4).said("app", KEY)

    def manifest(self) -> Obj:
        found = super().manifest()
        found["status"] |= {"updatedReplicas": 1}
        if self.kind is Kind.STATEFUL_SET:
            found["status"] |= {"currentRevision": "web-r2", "updateRevision": "web-r3"}
        return found

    def _build(self) -> None:
        plain = copy.deepcopy(self.template)
        self.template["metadata"]["annotations"] = {RESTARTED_AT: at(minutes=5)}
        super()._build()
        self.cluster.put(self._replica_set(2, plain, self.deployed))
        self.cluster.put(self._replica_set(3, self.template, 5))


@pytest.mark.parametrize("world", [Recreated(), OfASet(Kind.STATEFUL_SET), OfASet(Kind.DAEMON_SET)])
async def test_a_release_whose_pods_are_all_of_a_later_restart_is_asked_about(world: World) -> None:
    """How those before the restart did, nobody sees any more."""
    _, steps = await world.look(PodRestarting())
    assert steps["roll-back"].applies
    assert "made by a restart 35 min after the release" in steps["roll-back"].asks


async def test_a_rollout_of_another_replicaset_that_came_to_its_end_acquits_nothing() -> None:
    """The condition may still speak of it."""
    world = Recreated()
    world.done = True
    _, steps = await world.look(PodRestarting())
    assert "made by a restart 35 min after the release" in steps["roll-back"].asks
    world.spoken_of = "web-r3"
    _, steps = await world.look(PodRestarting())
    assert "had all its pods available" in steps["roll-back"].why


async def test_a_release_that_was_restarted_soon_is_rolled_back_as_before() -> None:
    _, steps = await Recreated(deployed=10).look(PodRestarting())
    assert (steps["roll-back"].applies, steps["roll-back"].asks) == (True, "")


async def test_errors_that_pods_of_the_same_template_from_before_the_restart_do_not_have_are_not_the_release_s() -> (
    None
):
    def world(*, beside: bool) -> World:
        found = Restarted(before=0)
        found.deployed, found.replicas = 12, 4
        for n in range(3):
            found.pod(f"old-{n}", revision=1, made=6 * 24 * 60)
            found.cluster.log[f"old-{n}", False] = log("", 0, clean_from=290)
        if beside:
            found.pod("new-0", revision=2, made=11)
            found.cluster.log["new-0", False] = log("", 0, clean_from=290)
        found.pods.pop("again-0")
        found.pod("again-0", revision=3, made=5)
        found.cluster.log["app", False] = log(KEY, 200)
        found.metrics = Requests(200)
        return found

    _, steps = await world(beside=False).look(HighErrorRate())
    assert (steps["roll-back"].applies, steps["roll-back"].asks) == (True, "")
    _, steps = await world(beside=True).look(HighErrorRate())
    assert not steps["roll-back"].applies or steps["roll-back"].asks


@pytest.mark.parametrize("old", [2, 3])
async def test_a_variable_of_a_reloader_is_no_release_and_the_changed_configuration_is_told(old: int) -> None:
    """Reloader sets it to have pods made anew; where all older pods serve, the rollback was done by itself and the next pod to start died."""
    world = World().rolling(deployed=5, old=old)
    world.containers[0]["image"] = V1
    world._adopt()
    world.both(lambda spec: spec["containers"][0].update(envFrom=[{"configMapRef": {"name": "web-config"}}]))
    world.config(changed=5.05)
    reloaded = {"name": "STAKATER_WEB_CONFIG_CONFIGMAP", "value": "abc123"}
    world.only_new(lambda spec: spec["containers"][0].update(env=[reloaded]))
    world.by, world.fired = "Reloader", 3
    world.crash("new-0").said("app", KEY)
    _, steps = await world.look(PodRestarting())
    assert not steps["roll-back"].applies
    assert "ConfigMap web-config changed by kubectl-edit" in steps["fix-by-hand"].advice


@pytest.mark.parametrize("world", [Restarted(code=137, reason="OOMKilled"), Restarted(before=0)])
async def test_what_takes_its_time_and_what_no_pod_runs_without_are_as_before(world: World) -> None:
    _, steps = await world.look(PodRestarting())
    assert "made before its restart" not in f"{steps['roll-back'].why} {steps['roll-back'].asks}"
