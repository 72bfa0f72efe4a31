"""A release that touched the same part of its template is guilty only where the template before would not show the trouble.

Rows in pairs: the change that harms, and its like that cannot: another direction, another entry, another object. The image stays.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from app.domain.json import Obj
from app.domain.target import Kind
from remediations.causes import CauseCode as C
from tests.unit.causes.sets import SetWorld
from tests.unit.causes.table import Row, holds
from tests.unit.causes.test_before_they_run import tainted
from tests.unit.causes.test_others import unmade
from tests.unit.causes.test_while_they_run import unready
from tests.unit.causes.world import V1, World, at

NO_CPU = "0/3 nodes are available: 3 Insufficient cpu. preemption: 0/3 nodes are available: 3 No preemption victims found for incoming pod."
NO_MEMORY = NO_CPU.replace("cpu", "memory")
NO_LABEL = "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector."
NO_CLAIM = '0/3 nodes are available: persistentvolumeclaim "data" not found.'
TEAM = (
    'admission webhook "validate.test" denied the request: require-labels: check-team: label team is required'
)
ROOT = 'violates PodSecurity "restricted:latest": runAsNonRoot != true (pod or container "app" must set securityContext.runAsNonRoot=true)'
HTTP = {"httpGet": {"path": "/healthz", "port": "http"}}


def same_image(world: World, old: Callable[[Obj], Any], new: Callable[[Obj], Any]) -> World:
    """The release changed this and nothing else."""
    world.template["spec"]["containers"][0]["image"] = V1
    old(world.before["spec"])
    new(world.template["spec"])
    world._adopt()
    return world


def app(**fields: Any) -> Callable[[Obj], None]:
    return lambda spec: spec["containers"][0].update(fields)


def pod(**fields: Any) -> Callable[[Obj], None]:
    return lambda spec: spec.update(fields)


def sized(old: Obj, new: Obj, world: World | None = None) -> World:
    return same_image(world or World().rolling(), app(resources=old), app(resources=new))


def limits(old: Obj, new: Obj, world: World | None = None) -> World:
    return sized({"limits": old}, {"limits": new}, world)


def requests(old: Obj, new: Obj, world: World | None = None) -> World:
    return sized({"requests": old}, {"requests": new}, world)


def oom(world: World) -> World:
    return world.crash("new-0", code=137, reason="OOMKilled")


def nowhere(world: World, said: str) -> World:
    return world.unscheduled("new-0", said)


def recreated(world: World) -> World:
    world.spec["strategy"] = {"type": "Recreate"}
    for name in list(world.pods):
        world.unscheduled(name, NO_CPU)
    return world


def fails(which: str, world: World, said: str = "HTTP probe failed with statuscode: 503") -> World:
    """The new pod's probe fails."""
    if which == "Readiness":
        unready(world, "new-0", since=5.0, started=4.9)
    else:
        world.crash("new-0", code=137)
    return world.event(
        "Unhealthy", f"{which} probe failed: {said}", "Pod/new-0", first=at(minutes=4.5), container="app"
    )


def probe(which: str, old: Obj | None, new: Obj | None) -> World:
    field = f"{which.lower()}Probe"
    world = same_image(
        World().rolling(),
        app(**({} if old is None else {field: {**HTTP, **old}})),
        app(**({} if new is None else {field: {**HTTP, **new}})),
    )
    return fails(which, world)


def refused(world: World, said: str) -> World:
    """The release cannot make its first pod."""
    made = unmade(said)
    world.unmade, world.conditions = made.unmade, made.conditions
    return world


def none_yet() -> World:
    return World().rolling(new=0)


def over(what: str, world: World) -> World:
    return refused(world, f"exceeded quota: team, requested: {what}=1, used: {what}=6, limited: {what}=6")


def bounded(said: str, world: World) -> World:
    return refused(world.put("LimitRange", "sizes", spec={"limits": []}), said)


def labelled(world: World, **new: str) -> World:
    world.template["metadata"]["labels"] |= new
    return same_image(world, pod(), pod())


def claim(*names: str) -> Callable[[Obj], None]:
    return pod(volumes=[{"name": n, "persistentVolumeClaim": {"claimName": n}} for n in names])


def two(world: World) -> World:
    """A container beside that the release did not touch."""
    return world.both(lambda s: s["containers"].append({"name": "agent", "image": "registry.test/agent:1"}))


def outgrown(old: Obj, new: Obj, *, dead: int = 3) -> World:
    """Pods of the release are put out one after the other for their own size, while the old ones serve."""
    world = limits(old, new, World().rolling(12))
    for n in range(dead):
        gone = world.pod(f"gone-{n}", made=11 - 2 * n)
        gone["status"] = {
            "phase": "Failed",
            "reason": "Evicted",
            "message": 'Container app exceeded its local ephemeral storage limit "10Mi". ',
            "conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": at(minutes=9 - 2 * n)}],
        }
    world.pod("new-0", made=0.3, ready=False)
    world.unmade[2] = 2
    return world


FILLED = 'Usage of EmptyDir volume "cache" exceeds the limit "1Gi". '


def put_out(world: World, name: str, *, revision: int, made: float, ended: float) -> World:
    """A pod filled its emptyDir, and its node put it out."""
    gone = world.pod(name, revision=revision, made=made)
    ready = {"type": "Ready", "status": "False", "lastTransitionTime": at(minutes=ended)}
    gone["status"] = {"phase": "Failed", "reason": "Evicted", "message": FILLED, "conditions": [ready]}
    return world


def filled(*, old: int, before: str = "1Gi", took: float = 3) -> World:
    """Pods of a release of 30 minutes ago fill an emptyDir of 1Gi in so many minutes; `old` pods of the one before, which had `before`, serve."""
    world = World().rolling(30, old=old, new=0) if old else World()

    def cache(much: str) -> Obj:
        return {"volumes": [{"name": "cache", "emptyDir": {"sizeLimit": much}}]}

    world.both(lambda spec: spec.update(cache("1Gi")))
    world.before["spec"].update(cache(before))
    world.pods = {name: pod for name, pod in world.pods.items() if name.startswith("old")}
    put_out(world, "gone-0", revision=2, made=5 + took, ended=5)
    world.pod("new-0", made=2, ready=False)
    return world


def past_deadline(world: World) -> World:
    whole = world.manifest

    def late() -> Obj:
        found = whole()
        found["status"]["conditions"][0] |= {"status": "False", "reason": "ProgressDeadlineExceeded"}
        return found

    vars(world)["manifest"] = late
    return world


def pressed() -> World:
    """A node under pressure put the release's pod out."""
    world = outgrown({}, {"ephemeral-storage": "10Mi"}, dead=1)
    world.pods["gone-0"]["status"]["message"] = "The node was low on resource: ephemeral-storage."
    return world


BACK = "roll-back"
AMOUNTS = [
    Row("memory raised, and killed for it", lambda: oom(limits({"memory": "256Mi"}, {"memory": "512Mi"})), C.OUT_OF_MEMORY, "Pod new-0", words=("the revision before had no more memory for containers[app]",)),
    Row("memory lowered", lambda: oom(limits({"memory": "512Mi"}, {"memory": "256Mi"})), C.OUT_OF_MEMORY, "Pod new-0", BACK, ("changed containers[app].resources.limits.memory",)),
    Row("memory limited for the first time", lambda: oom(limits({}, {"memory": "256Mi"})), C.OUT_OF_MEMORY, "Pod new-0", BACK),
    Row("memory of the whole pod lowered", lambda: oom(same_image(World().rolling(), pod(resources={"limits": {"memory": "1Gi"}}), pod(resources={"limits": {"memory": "256Mi"}}))),
        C.OUT_OF_MEMORY, "Pod new-0", BACK),
    Row("only CPU changed, and killed for memory", lambda: oom(limits({"memory": "256Mi", "cpu": "2"}, {"memory": "256Mi", "cpu": "1"})), C.OUT_OF_MEMORY, "Pod new-0", words=("does not bring that",)),
    Row("CPU request lowered, and no room for it", lambda: nowhere(requests({"cpu": "2"}, {"cpu": "1"}), NO_CPU), C.UNSCHEDULABLE, "Pod new-0", words=("the revision before asked for no less cpu",)),
    Row("CPU request lowered, and no room for it, with Recreate", lambda: recreated(requests({"cpu": "4"}, {"cpu": "2"}, World().rolling(6, old=0, new=3))), C.UNSCHEDULABLE, "Pod new-0"),
    Row("CPU request raised", lambda: nowhere(requests({"cpu": "1"}, {"cpu": "2"}), NO_CPU), C.UNSCHEDULABLE, "Pod new-0", BACK, ("changed containers[app].resources.requests.cpu",)),
    Row("a limit without a request is a request", lambda: nowhere(limits({"cpu": "1"}, {"cpu": "2"}), NO_CPU), C.UNSCHEDULABLE, "Pod new-0", BACK),
    Row("CPU request raised, and no memory", lambda: nowhere(requests({"cpu": "1", "memory": "1Gi"}, {"cpu": "2", "memory": "1Gi"}), NO_MEMORY), C.UNSCHEDULABLE, "Pod new-0"),
    Row("a memory limit added beside a request, and no CPU", lambda: nowhere(sized({"requests": {"cpu": "2"}}, {"requests": {"cpu": "2"}, "limits": {"memory": "1Gi"}}), NO_CPU), C.UNSCHEDULABLE, "Pod new-0"),
    Row("moved between containers, and no CPU", lambda: nowhere(moved(), NO_CPU), C.UNSCHEDULABLE, "Pod new-0"),
    Row("quota of pods, and CPU changed", lambda: over("pods", requests({"cpu": "1"}, {"cpu": "2"}, none_yet())), C.QUOTA, "ResourceQuota team"),
    Row("quota of CPU, and CPU lowered", lambda: over("requests.cpu", requests({"cpu": "2"}, {"cpu": "1"}, none_yet())), C.QUOTA, "ResourceQuota team"),
    Row("quota of CPU, and CPU raised", lambda: over("requests.cpu", requests({"cpu": "1"}, {"cpu": "2"}, none_yet())), C.QUOTA, "ResourceQuota team", BACK),
    Row("quota of CPU by its short name, and CPU raised", lambda: over("cpu", requests({"cpu": "1"}, {"cpu": "2"}, none_yet())), C.QUOTA, "ResourceQuota team", BACK),
    Row("quota of memory, and CPU raised", lambda: over("requests.memory", requests({"cpu": "1", "memory": "1Gi"}, {"cpu": "2", "memory": "1Gi"}, none_yet())), C.QUOTA, "ResourceQuota team"),
    Row("quota of limits, and the limit raised", lambda: over("limits.memory", limits({"memory": "1Gi"}, {"memory": "2Gi"}, none_yet())), C.QUOTA, "ResourceQuota team", BACK),
    Row("quota wants a limit that the release took away", lambda: refused(limits({"cpu": "1"}, {}, none_yet()), "failed quota: team: must specify limits.cpu for: app"), C.QUOTA, "ResourceQuota team", BACK),
    Row("quota wants a limit that nobody set", lambda: refused(limits({}, {"memory": "1Gi"}, none_yet()), "failed quota: team: must specify limits.cpu for: app"), C.QUOTA, "ResourceQuota team"),
    Row("below the minimum of memory, and CPU raised", lambda: bounded("minimum memory usage per Container is 128Mi, but request is 64Mi", requests({"memory": "64Mi", "cpu": "1"}, {"memory": "64Mi", "cpu": "2"}, none_yet())),
        C.LIMIT_RANGE, "LimitRange sizes"),
    Row("below the minimum of memory, and memory lowered", lambda: bounded("minimum memory usage per Container is 128Mi, but request is 64Mi", requests({"memory": "256Mi"}, {"memory": "64Mi"}, none_yet())),
        C.LIMIT_RANGE, "LimitRange sizes", BACK),
    Row("above the maximum of memory, and memory lowered", lambda: bounded("maximum memory usage per Container is 1Gi, but limit is 2Gi", limits({"memory": "3Gi"}, {"memory": "2Gi"}, none_yet())), C.LIMIT_RANGE, "LimitRange sizes"),
    Row("above the maximum of memory, and memory raised", lambda: bounded("maximum memory usage per Container is 1Gi, but limit is 2Gi", limits({"memory": "1Gi"}, {"memory": "2Gi"}, none_yet())), C.LIMIT_RANGE, "LimitRange sizes", BACK),
    Row("put out for a size that the release gave it", lambda: outgrown({}, {"ephemeral-storage": "10Mi"}), C.EVICTED, "Pod gone-0", BACK, ("3 pods put out", 'exceeded its local ephemeral storage limit "10Mi"')),
    Row("put out for its size, past the deadline", lambda: past_deadline(outgrown({"ephemeral-storage": "1Gi"}, {"ephemeral-storage": "10Mi"})), C.EVICTED, "Pod gone-0", BACK),
    Row("put out for a size that the release raised", lambda: outgrown({"ephemeral-storage": "5Mi"}, {"ephemeral-storage": "10Mi"}), C.EVICTED, "Pod gone-0", words=("raise the size that they outgrew",)),
    Row("a full volume of a release that made it no smaller", lambda: filled(old=0, took=20), C.EVICTED, "Pod gone-0", BACK, (FILLED.strip(),), asks="made none of their sizes smaller, and whether the pods before it filled theirs as well is not known"),
    Row("a full volume, and one before it was filled too", lambda: put_out(filled(old=0, before="2Gi"), "past-0", revision=1, made=300, ended=50), C.EVICTED, "Pod gone-0", BACK,
        asks="pod past-0 of an older revision was put out for its own size as well 50 min ago"),
    Row("a full volume that the release made smaller, and one before it was filled days ago", lambda: put_out(filled(old=3, before="2Gi"), "past-0", revision=1, made=5 * 24 * 60 + 60, ended=5 * 24 * 60), C.EVICTED, "Pod gone-0", BACK),
    Row("a full volume that the release made smaller", lambda: filled(old=0, before="2Gi", took=20), C.EVICTED, "Pod gone-0", BACK),
    Row("a full volume, and older pods serve for days without it", lambda: filled(old=3), C.EVICTED, "Pod gone-0", BACK),
    Row("put out by a node under pressure", pressed, C.EVICTED, "Node node-1", words=("no change of the pod template brings that",)),
]  # fmt: skip


def moved() -> World:
    """The release gave a second container what it took from the first."""
    extra = {"name": "proxy", "image": "p:1"}
    return same_image(
        World().rolling(),
        lambda s: s.update(containers=[{**s["containers"][0], "resources": {"requests": {"cpu": "3"}}}, {**extra, "resources": {"requests": {"cpu": "1"}}}]),
        lambda s: s.update(containers=[{**s["containers"][0], "resources": {"requests": {"cpu": "2"}}}, {**extra, "resources": {"requests": {"cpu": "2"}}}]),
    )  # fmt: skip


def slowed(which: str, old: str, new: str) -> World:
    world = limits({"cpu": old}, {"cpu": new})
    return fails(which, world.both(app(**{f"{which.lower()}Probe": HTTP})))


PROBES = [
    Row("liveness loosened, and times out", lambda: probe("Liveness", {"timeoutSeconds": 1}, {"timeoutSeconds": 5}), C.LIVENESS_PROBE, "Pod new-0", words=("the revision before had no looser livenessProbe",)),
    Row("liveness tightened", lambda: probe("Liveness", {"timeoutSeconds": 5}, {"timeoutSeconds": 1}), C.LIVENESS_PROBE, "Pod new-0", BACK, ("containers[app].livenessProbe",)),
    Row("liveness set for the first time", lambda: probe("Liveness", None, {}), C.LIVENESS_PROBE, "Pod new-0", BACK),
    Row("liveness begins sooner: the startup probe is gone", lambda: fails("Liveness", same_image(World().rolling(), app(livenessProbe=HTTP, startupProbe=HTTP), app(livenessProbe=HTTP))),
        C.LIVENESS_PROBE, "Pod new-0", BACK, ("containers[app].startupProbe",)),
    Row("startup given more time", lambda: probe("Startup", {"failureThreshold": 3}, {"failureThreshold": 30}), C.STARTUP_PROBE, "Pod new-0"),
    Row("startup given more time, asked more often", lambda: probe("Startup", {"failureThreshold": 3, "periodSeconds": 10}, {"failureThreshold": 30, "periodSeconds": 5}), C.STARTUP_PROBE, "Pod new-0"),
    Row("startup given less time", lambda: probe("Startup", {"failureThreshold": 30}, {"failureThreshold": 3}), C.STARTUP_PROBE, "Pod new-0", BACK),
    Row("readiness loosened", lambda: probe("Readiness", {"failureThreshold": 3}, {"failureThreshold": 10}), C.READINESS_PROBE, "Pod new-0"),
    Row("readiness asks elsewhere", lambda: probe("Readiness", {}, {"httpGet": {"path": "/ready", "port": "http"}}), C.READINESS_PROBE, "Pod new-0", BACK),
    Row("readiness asks a port whose name moved", lambda: fails("Readiness", same_image(World().rolling(), app(readinessProbe=HTTP), app(readinessProbe=HTTP, ports=[{"name": "http", "containerPort": 9090}]))),
        C.READINESS_PROBE, "Pod new-0", BACK, ("containers[app].ports",)),
    Row("another port declared, and readiness fails", lambda: fails("Readiness", same_image(World().rolling(), app(readinessProbe=HTTP), app(readinessProbe=HTTP, ports=[{"name": "http", "containerPort": 8080}, {"name": "metrics", "containerPort": 9102}]))),
        C.READINESS_PROBE, "Pod new-0"),
    *(Row(f"{which} fails, and CPU raised", lambda which=which: slowed(which, "500m", "1"), code, "Pod new-0") for which, code in (("Startup", C.STARTUP_PROBE), ("Liveness", C.LIVENESS_PROBE))),  # type: ignore[misc]
    Row("startup fails, and CPU cut", lambda: slowed("Startup", "1", "50m"), C.STARTUP_PROBE, "Pod new-0", BACK, ("containers[app].resources.limits.cpu",)),
    Row("liveness tightened, and a crash of its own", lambda: same_image(World().rolling(), app(livenessProbe={**HTTP, "timeoutSeconds": 5}), app(livenessProbe=HTTP)).crash("new-0"), C.CRASH, "Pod new-0"),
]  # fmt: skip
NAMED = [
    Row("a claim that both mount is gone, and a volume was added", lambda: nowhere(same_image(World().rolling(), claim("data"), lambda s: s.update(volumes=[{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}, {"name": "tmp", "emptyDir": {}}])), NO_CLAIM),
        C.VOLUME, "PersistentVolumeClaim data", words=("the revision before mounts PersistentVolumeClaim data as well",)),
    Row("a claim that only the release mounts", lambda: nowhere(same_image(World().rolling(), pod(), claim("data")), NO_CLAIM), C.VOLUME, "PersistentVolumeClaim data", BACK, ("volumes[data]",)),
    Row("a Secret in a volume of both is gone, and a variable was added", lambda: same_image(World().rolling(), pod(volumes=[{"name": "c", "secret": {"secretName": "tls"}}]), lambda s: s.update(volumes=[{"name": "c", "secret": {"secretName": "tls"}}, {"name": "d", "emptyDir": {}}]))
        .event("FailedMount", 'MountVolume.SetUp failed for volume "c" : secret "tls" not found', "Pod/new-0", first=at(minutes=4)), C.CONFIG_MISSING, "Secret tls", words=("the revision before needs Secret tls as well",)),
    Row("a mount fails, and another volume was added", lambda: same_image(World().rolling(), pod(volumes=[{"name": "c", "nfs": {"server": "s"}}]), pod(volumes=[{"name": "c", "nfs": {"server": "s"}}, {"name": "d", "emptyDir": {}}]))
        .event("FailedMount", 'MountVolume.SetUp failed for volume "c" : mount failed: exit status 32', "Pod/new-0", first=at(minutes=4)), C.VOLUME, "Pod new-0"),
    Row("a mount fails that the release changed", lambda: same_image(World().rolling(), pod(volumes=[{"name": "c", "nfs": {"server": "s"}}]), pod(volumes=[{"name": "c", "nfs": {"server": "t"}}]))
        .event("FailedMount", 'MountVolume.SetUp failed for volume "c" : mount failed: exit status 32', "Pod/new-0", first=at(minutes=4)), C.VOLUME, "Pod new-0", BACK),
    Row("a mount of a PersistentVolume fails, and a claim was added", lambda: same_image(World().rolling(), claim("data"), claim("data", "cache"))
        .event("FailedMount", 'MountVolume.SetUp failed for volume "pvc-7" : mount failed: exit status 32', "Pod/new-0", first=at(minutes=4)), C.VOLUME, "Pod new-0", BACK, ("volumes[cache]",)),
    Row("one of two node labels is not wanted any more", lambda: nowhere(same_image(World().rolling(), pod(nodeSelector={"disk": "ssd", "zone": "a"}), pod(nodeSelector={"disk": "ssd"})), NO_LABEL), C.UNSCHEDULABLE, "Pod new-0"),
    Row("another node label is wanted", lambda: nowhere(same_image(World().rolling(), pod(nodeSelector={"disk": "ssd"}), pod(nodeSelector={"disk": "nvme"})), NO_LABEL), C.UNSCHEDULABLE, "Pod new-0", BACK),
    Row("a toleration of another taint was dropped", lambda: tainted(nowhere(same_image(World().rolling(), pod(tolerations=[{"key": "spot", "operator": "Exists"}]), pod()), "0/3 nodes are available: 3 node(s) had untolerated taint {dedicated: gpu}."), "dedicated", "node-1", value="gpu"),
        C.UNSCHEDULABLE, "Pod new-0", words=("the revision before does not tolerate dedicated either",)),
    Row("an anti-affinity that is only preferred now", lambda: nowhere(same_image(World().rolling(), pod(affinity={"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "a"}, {"topologyKey": "b"}]}}),
        pod(affinity={"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "a"}]}})), "0/3 nodes are available: 3 node(s) didn't match pod anti-affinity rules."), C.UNSCHEDULABLE, "Pod new-0"),
    Row("Pod Security wants what neither has, and another rule is kept", lambda: refused(same_image(none_yet(), app(securityContext={}), app(securityContext={"allowPrivilegeEscalation": False})), ROOT), C.POD_SECURITY, "Namespace shop",
        words=("the revision before breaks runAsNonRoot of the Pod Security Standards as well",)),
    Row("Pod Security wants what the release took away", lambda: refused(same_image(none_yet(), app(securityContext={"runAsNonRoot": True}), app(securityContext={"allowPrivilegeEscalation": False})), ROOT), C.POD_SECURITY, "Namespace shop", BACK),
    Row("a webhook wants a label that neither has, and another was added", lambda: refused(labelled(none_yet(), version="v2"), TEAM), C.WEBHOOK, "webhook validate.test", BACK, asks="whether the revision before would be refused as well is not known"),
    Row("a webhook wants a label that the release took away", lambda: refused(labelless(), TEAM), C.WEBHOOK, "webhook validate.test", BACK, ("the error names metadata.labels",)),
    Row("a webhook wants a label that the release took away, and says so late", lambda: refused(labelless(), TEAM.replace("request: ", f"request: {'policy passed; ' * 40}")), C.WEBHOOK, "webhook validate.test", BACK, ("the error names metadata.labels",)),
    Row("the API server names a field that the release set", lambda: refused(same_image(none_yet(), app(), app(workingDir="app")), "spec.containers[0].workingDir: Invalid value: must be absolute"), C.CREATE_REFUSED, "Deployment web", BACK,
        ("the error names containers[app].workingDir",)),
    Row("an account that both name is gone", lambda: refused(same_image(none_yet(), pod(serviceAccountName="runner"), pod(serviceAccountName="runner", dnsPolicy="Default")), 'error looking up service account shop/runner: serviceaccount "runner" not found'),
        C.SERVICE_ACCOUNT, "ServiceAccount runner"),
    Row("an account that the release names", lambda: refused(same_image(none_yet(), pod(), pod(serviceAccountName="runner")), 'error looking up service account shop/runner: serviceaccount "runner" not found'), C.SERVICE_ACCOUNT, "ServiceAccount runner", BACK),
    Row("denied, and a pull Secret was added", lambda: denied([], ["regcred"]), C.IMAGE_DENIED, f"image {V1}", words=("the revision before pulls from the same repository",)),
    Row("denied, and a pull Secret was taken away", lambda: denied(["regcred"], []), C.IMAGE_DENIED, f"image {V1}", BACK, ("imagePullSecrets",)),
    Row("may not run as root, and a capability was dropped", lambda: same_image(World().rolling(), app(securityContext={"runAsNonRoot": True}), app(securityContext={"runAsNonRoot": True, "capabilities": {"drop": ["ALL"]}}))
        .state("new-0", {"waiting": {"reason": "CreateContainerConfigError", "message": "container has runAsNonRoot and image will run as root"}}), C.SECURITY_CONTEXT, "Pod new-0"),
    Row("a StatefulSet: memory raised, and killed for it", lambda: oom(limits({"memory": "256Mi"}, {"memory": "512Mi"}, stateful())), C.OUT_OF_MEMORY, "Pod new-0"),
]  # fmt: skip


def labelless() -> World:
    world = labelled(none_yet())
    world.before["metadata"]["labels"] |= {"team": "shop"}
    return world


def denied(old: list[str], new: list[str]) -> World:
    world = same_image(
        World().rolling(),
        pod(imagePullSecrets=[{"name": n} for n in old]),
        pod(imagePullSecrets=[{"name": n} for n in new]),
    )
    for name in {*old, *new}:
        world.put("Secret", name, data={".dockerconfigjson": "e30="})
    said = f'failed to pull image "{V1}": unauthorized: authentication required'
    return world.state("new-0", {"waiting": {"reason": "ErrImagePull", "message": said}}, since=1)


def stateful() -> SetWorld:
    world = SetWorld(Kind.STATEFUL_SET)
    world.rolling(old=2, new=1)
    return world


@pytest.mark.parametrize("row", [*AMOUNTS, *PROBES, *NAMED], ids=lambda row: row.name)
async def test_promise_11_a_release_is_guilty_only_where_the_template_before_would_not_show_it(
    row: Row,
) -> None:
    await holds(row)


KYVERNO = (
    'admission webhook "validate.kyverno.svc-fail" denied the request: disallow-latest-tag: validate-image-tag: "validation error: a '
    "mutable image tag e.g. 'latest' is not allowed. rule validate-image-tag failed at path /spec/containers/0/image/\""
)


@pytest.mark.parametrize(
    ("image", "named"), [("registry.test/web:latest", True), ("registry.test/web:v3", False)]
)
async def test_an_image_that_an_admission_policy_names_by_field_and_tag_is_the_release_s(
    image: str, *, named: bool
) -> None:
    world = World().rolling()
    world.template["spec"]["containers"][0]["image"] = image
    world._adopt()
    world.refused(KYVERNO, gone=1)
    world.unmade[2] = 3
    _, steps = await world.look()
    step = steps["roll-back"]
    assert step.applies, step.why
    assert (step.asks == "") is named, step.asks
