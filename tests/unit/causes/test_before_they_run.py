"""Why pods are not made, get no node, or cannot start: right cause with its object, and right write or none.

Unless a row says otherwise an unrelated release was rolled out well half an hour before: it is never rolled back.
"""

from __future__ import annotations

from typing import Any

import pytest

from app.domain.json import Obj
from app.domain.target import Kind
from remediations.causes import CauseCode as C
from tests.unit.causes.table import Row, holds
from tests.unit.causes.world import V2, World, at

QUOTA = "exceeded quota: team, requested: limits.memory=512Mi, used: limits.memory=2Gi, limited: limits.memory=2Gi"
PSS = 'violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false (container "app" must set securityContext.allowPrivilegeEscalation=false)'
MORE = "exceeded quota: team, requested: requests.memory=64Gi, used: requests.memory=2Gi, limited: requests.memory=8Gi"
HOST = 'violates PodSecurity "restricted:latest": host namespaces (hostNetwork=true)'
IMAGE = {"waiting": {"reason": "ImagePullBackOff", "message": f'Back-off pulling image "{V2}"'}}


def unreadable(world: World, kind: str) -> World:
    world.cluster.unreadable.add(Kind(kind))
    return world


def pull(
    said: str, *, rolling: bool = False, secrets: tuple[str, ...] = (), reason: str = "ErrImagePull"
) -> World:
    """Pod new-0 does not get its image."""
    world = World().rolling() if rolling else World()
    if secrets:
        world.both(lambda spec: spec.update(imagePullSecrets=[{"name": n} for n in secrets]))
    message = f'failed to pull image "{V2}": {said}'
    return world.state("new-0", {"waiting": {"reason": reason, "message": message}}, since=1)


def env(name: str, key: str, kind: str = "configMapKeyRef") -> Any:
    def change(spec: Obj) -> None:
        spec["containers"][0]["env"] = [{"name": "A", "valueFrom": {kind: {"name": name, "key": key}}}]

    return change


def needs_config(*, new_only: bool, rolling: bool = False, keys: tuple[str, ...] | None = None) -> World:
    world = World().rolling() if rolling else World()
    change = env("web-config", "A")
    world = world.only_new(change) if new_only else world.both(change)
    if keys is not None:
        world.config(keys=keys)
    said = (
        "couldn't find key A in ConfigMap shop/web-config"
        if keys is not None
        else 'configmap "web-config" not found'
    )
    return world.state("new-0", {"waiting": {"reason": "CreateContainerConfigError", "message": said}})


def claims(claim: Obj | None, said: str) -> World:
    def change(spec: Obj) -> None:
        spec["volumes"] = [{"name": "data", "persistentVolumeClaim": {"claimName": "web-data"}}]

    world = World().both(change).unscheduled("new-0", said)
    return world if claim is None else world.put("PersistentVolumeClaim", "web-data", **claim)


def mount(said: str, reason: str = "FailedMount", *, volume: Obj | None = None) -> World:
    world = World().both(lambda spec: spec.update(volumes=[volume or {"name": "v", "emptyDir": {}}]))
    world.state("new-0", {"waiting": {"reason": "ContainerCreating"}})
    return world.event(reason, said, "Pod/new-0", first=at(minutes=4))


def selector(spec: Obj) -> None:
    spec["nodeSelector"] = {"disk": "fast"}


def bigger(spec: Obj) -> None:
    spec["containers"][0]["resources"] = {"requests": {"memory": "64Gi"}}


UNTOLD = "0/3 nodes are available: 3 node(s) had untolerated taint(s). preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling."
MIXED = "0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 Insufficient memory. preemption: 0/3 nodes are available: 1 Preemption is not helpful."
SINGLE = "0/3 nodes are available: 1 node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode, 2 node(s) had volume node affinity conflict."
DEVICES = "0/3 nodes are available: 3 cannot allocate all claims. still not schedulable, preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling."


def tainted(world: World, key: str, *nodes: str, value: str = "") -> World:
    for name in nodes:
        taint = {"key": key, "value": value, "effect": "NoSchedule"}
        world.put(
            "Node",
            name,
            namespace="",
            spec={"taints": [taint]},
            status={"conditions": [{"type": "Ready", "status": "True"}]},
        )
    return world


def tolerates(spec: Obj) -> None:
    spec["tolerations"] = [{"key": "dedicated", "operator": "Equal", "value": "gpu", "effect": "NoSchedule"}]


def scaling(reason: str, said: str, ago: float, world: World) -> World:
    return world.event(reason, said, "Pod/new-0", ago=ago)


def data(spec: Obj) -> None:
    spec["volumes"] = [{"name": "data", "persistentVolumeClaim": {"claimName": "web-data"}}]


def device(spec: Obj) -> None:
    spec["resourceClaims"] = [{"name": "gpu", "resourceClaimTemplateName": "single-gpu"}]


def no_scheduler() -> World:
    world = World().both(lambda s: s.update(schedulerName="volcano"))
    pod = world.pods["new-0"]
    pod["spec"].pop("nodeName")
    pod["status"] = {"phase": "Pending", "conditions": [{"type": "Initialized", "status": "True"}]}
    return world


def no_toleration_any_more() -> World:
    """The release dropped the toleration that the nodes' taint needs."""
    world = World().rolling()
    tolerates(world.before["spec"])
    return tainted(world.unscheduled("new-0", UNTOLD), "dedicated", "node-1", "node-2", "node-3", value="gpu")


MADE = [
    Row("quota full", lambda: World().refused(QUOTA), C.QUOTA, "ResourceQuota team",
        words=("used limits.memory=2Gi of limits.memory=2Gi", "3 pods of 3 cannot be made", "does not bring that")),
    Row("quota full, no pod and no condition left", lambda: gone().event("FailedCreate", f'Error creating: pods "web-r2-abc" is forbidden: {QUOTA}', "ReplicaSet/web-r2"),
        C.QUOTA, "ResourceQuota team"),
    Row("quota full by a release that asks for more", lambda: World().rolling(new=0).only_new(bigger).refused(MORE, gone=0).short(), C.QUOTA, "ResourceQuota team",
        "roll-back", ("containers[app].resources",)),
    Row("quota wants limits", lambda: World().refused("failed quota: team: must specify limits.cpu for: app"), C.QUOTA, "ResourceQuota team", words=("limits.cpu",)),
    Row("quota not counted yet", lambda: World().refused("status unknown for quota: team, resources: limits.memory,pods"), C.QUOTA, "ResourceQuota team",
        words=("has not been counted yet (limits.memory,pods)",)),
    Row("Pod Security", lambda: World().refused(PSS), C.POD_SECURITY, "Namespace shop", words=("restricted:latest",)),
    Row("Pod Security against a release", lambda: World().rolling(new=0).only_new(lambda s: s.update(hostNetwork=True)).refused(HOST, gone=0).short(),
        C.POD_SECURITY, "Namespace shop", "roll-back", ("hostNetwork",)),
    Row("webhook denies", lambda: World().refused('admission webhook "policy.test" denied the request: image from a foreign registry'), C.WEBHOOK, "webhook policy.test",
        words=("image from a foreign registry",)),
    Row("webhook away", lambda: World().refused('Internal error occurred: failed calling webhook "inject.test": failed to call webhook: Post "https://inject.test": no endpoints available'),
        C.WEBHOOK, "webhook inject.test", words=("cannot be called", "no change of the pod template brings that")),
    Row("ServiceAccount missing", lambda: World().refused('error looking up service account shop/runner: serviceaccount "runner" not found'), C.SERVICE_ACCOUNT, "ServiceAccount runner",
        words=("create ServiceAccount runner",)),
    Row("PriorityClass missing", lambda: World().refused("no PriorityClass with name urgent was found"), C.PRIORITY_CLASS, "PriorityClass urgent"),
    Row("LimitRange", lambda: World().put("LimitRange", "sizes", spec={"limits": []}).refused("maximum memory usage per Container is 256Mi, but limit is 512Mi"),
        C.LIMIT_RANGE, "LimitRange sizes"),
    Row("refused for another reason", lambda: World().refused("something new"), C.CREATE_REFUSED, "Deployment web", words=("something new",)),
]  # fmt: skip
PLACED = [
    Row("no room", lambda: World().unscheduled("new-0", "0/3 nodes are available: 3 Insufficient memory. preemption: 0/3 nodes are available: 3 No preemption victims found for incoming pod."),
        C.UNSCHEDULABLE, "Pod new-0", words=("3 have not enough memory", "Of 3 nodes")),
    Row("a release that asks for too much", lambda: World().rolling().only_new(bigger).unscheduled("new-0", "0/3 nodes are available: 3 Insufficient memory."),
        C.UNSCHEDULABLE, "Pod new-0", "roll-back"),
    Row("a release that wants a node that is not there", lambda: World().rolling().only_new(selector).unscheduled("new-0", "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector."),
        C.UNSCHEDULABLE, "Pod new-0", "roll-back", ("nodeSelector",)),
    Row("node label gone", lambda: World().both(selector).unscheduled("new-0", "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector."),
        C.UNSCHEDULABLE, "Pod new-0", words=("nodeSelector",)),
    Row("taints", lambda: World().unscheduled("new-0", "0/3 nodes are available: 1 node(s) had untolerated taint {dedicated: db}, 2 node(s) had untolerated taint {node.kubernetes.io/not-ready: }."),
        C.UNSCHEDULABLE, "Pod new-0", words=("2 are not ready", "taint {dedicated: db}")),
    Row("all nodes cordoned", lambda: World().unscheduled("new-0", "0/3 nodes are available: 3 node(s) were unschedulable."), C.UNSCHEDULABLE, "Pod new-0", words=("uncordon",)),
    Row("cordoned during a release", lambda: World().rolling().unscheduled("new-0", "0/3 nodes are available: 3 node(s) were unschedulable."), C.UNSCHEDULABLE, "Pod new-0",
        words=("no change of the pod template brings that",)),
    Row("host port", lambda: World().unscheduled("new-0", "0/3 nodes are available: 3 node(s) didn't have free ports for the requested pod ports."), C.UNSCHEDULABLE, "Pod new-0"),
    Row("anti-affinity", lambda: World().unscheduled("new-0", "0/3 nodes are available: 3 node(s) didn't match pod anti-affinity rules."), C.UNSCHEDULABLE, "Pod new-0"),
    Row("claim missing", lambda: claims(None, '0/3 nodes are available: persistentvolumeclaim "web-data" not found.'), C.VOLUME, "PersistentVolumeClaim web-data", words=("does not exist",)),
    Row("claim pending", lambda: claims({"status": {"phase": "Pending"}, "spec": {"storageClassName": "fast"}}, "0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims.")
        .event("ProvisioningFailed", 'storageclass.storage.k8s.io "fast" not found', "PersistentVolumeClaim/web-data"),
        C.VOLUME, "PersistentVolumeClaim web-data", words=('storageclass.storage.k8s.io "fast" not found', "is Pending")),
    Row("taints that the scheduler does not name", lambda: tainted(World().unscheduled("new-0", UNTOLD), "dedicated", "node-1", "node-2", "node-3", value="gpu"),
        C.UNSCHEDULABLE, "Pod new-0", words=("3 have taint {dedicated: gpu}", "let the pod tolerate it", "does not bring that")),
    Row("a toleration that the release dropped", no_toleration_any_more, C.UNSCHEDULABLE, "Pod new-0", "roll-back", ("3 have taint {dedicated: gpu}",)),
    Row("taints of nodes that may not be read", lambda: unreadable(World().unscheduled("new-0", UNTOLD), "Node"), C.UNSCHEDULABLE, "Pod new-0",
        words=("3 have a taint that the pod does not tolerate", "look at the taints of the nodes")),
    Row("a taint that is not named beside too little memory", lambda: tainted(World().unscheduled("new-0", MIXED), "node.kubernetes.io/not-ready", "node-1"),
        C.UNSCHEDULABLE, "Pod new-0", words=("1 are not ready; 2 have not enough memory", "repair the nodes that are not ready; or add a node")),
    Row("words that are not known beside others", lambda: World().unscheduled("new-0", "0/3 nodes are available: 1 node(s) were on fire, 2 Insufficient memory."),
        C.UNSCHEDULABLE, "Pod new-0", words=("2 have not enough memory; 1 node(s) were on fire",)),
    Row("a volume for one pod alone", lambda: World().both(data).unscheduled("new-0", SINGLE), C.VOLUME, "PersistentVolumeClaim web-data",
        words=("1 has a pod that uses the volume", "ReadWriteOncePod is for one pod", "2 cannot reach")),
    Row("no device is free", lambda: World().both(device).unscheduled("new-0", DEVICES), C.UNSCHEDULABLE, "Pod new-0", words=("3 have no device that is free", "resourceslices")),
    Row("a device that only the release wants", lambda: World().rolling().only_new(device).unscheduled("new-0", DEVICES), C.UNSCHEDULABLE, "Pod new-0", "roll-back"),
    Row("a claim of a device that is not made", lambda: World().both(device).unscheduled("new-0", 'waiting for dynamic resource controller to create the resourceclaim for pod "shop/new-0"'),
        C.UNSCHEDULABLE, "Pod new-0", words=("ResourceClaim has not been made (from ResourceClaimTemplate single-gpu)",)),
    Row("the cluster autoscaler adds no node", lambda: scaling("NotTriggerScaleUp", "pod didn't trigger scale-up: 1 max node group size reached", 1, World().unscheduled("new-0", MIXED)),
        C.UNSCHEDULABLE, "Pod new-0", words=("the cluster autoscaler adds no node", "1 max node group size reached")),
    Row("a node that was asked for and does not come", lambda: scaling("TriggeredScaleUp", "pod triggered scale-up: [{group 1->2 (max: 5)}]", 12, World().unscheduled("new-0", MIXED)),
        C.UNSCHEDULABLE, "Pod new-0", words=("a node was asked for 12 min ago and has not come",)),
    Row("a scheduler that nobody runs", no_scheduler, C.UNSCHEDULABLE, "Pod new-0", words=("schedulerName",)),
    Row("the kubelet has no room", lambda: turned_down("OutOfcpu", "Pod was rejected: Node didn't have enough resource: cpu, requested: 2000, used: 3000, capacity: 4000"),
        C.REJECTED, "Node node-1", words=("rejected 4 pods (OutOfcpu)", "used: 3000", "ask for less")),
    Row("a device of the node is broken", lambda: turned_down("UnexpectedAdmissionError", "Pod was rejected: Allocate failed due to no healthy devices present"),
        C.REJECTED, "Node node-1", words=("no healthy devices", "repair the device")),
    Row("rejected for a reason that is not known", lambda: turned_down("SomethingNew", "Pod was rejected: something new"), C.REJECTED, "Node node-1", words=("something new",)),
    Row("node affinity that the kubelet checks", lambda: turned_down("NodeAffinity", "Pod was rejected: Predicate NodeAffinity failed"), C.REJECTED, "Node node-1", words=("label node node-1",)),
    Row("ended by the template's own deadline", lambda: turned_down("DeadlineExceeded", "Pod was active on the node longer than the specified deadline"),
        C.REJECTED, "Pod f-0", words=("activeDeadlineSeconds",)),
    Row("node of the pod away", lambda: World().state("new-0", {"running": {"startedAt": at(minutes=30)}}, since=2)
        .put("Node", "node-1", namespace="", status={"conditions": [{"type": "Ready", "status": "Unknown", "message": "Kubelet stopped posting node status."}]}),
        C.NODE, "Node node-1", words=("Kubelet stopped posting",)),
]  # fmt: skip
STARTED = [
    Row("volume on another node", lambda: mount('Multi-Attach error for volume "pvc-1" Volume is already used by pod(s) old-1', "FailedAttachVolume", volume={"name": "data", "persistentVolumeClaim": {"claimName": "web-data"}}),
        C.VOLUME, "PersistentVolumeClaim web-data", words=("still attached to another node",)),
    Row("volume of a missing Secret", lambda: mount('MountVolume.SetUp failed for volume "v" : secret "tls" not found'), C.CONFIG_MISSING, "Secret tls"),
    Row("volume of a missing key", lambda: mount('MountVolume.SetUp failed for volume "v" : references non-existent config key: app.yaml', volume={"name": "v", "configMap": {"name": "web-config", "items": [{"key": "app.yaml", "path": "a"}]}}).config(),
        C.CONFIG_MISSING, "ConfigMap web-config", words=("key app.yaml",)),
    Row("no sandbox", lambda: World().state("new-0", {"waiting": {"reason": "ContainerCreating"}}).event("FailedCreatePodSandBox", "Failed to create pod sandbox: plugin type calico failed (add): no IP addresses available", "Pod/new-0"),
        C.SANDBOX, "Node node-1", words=("no IP addresses available",)),
    Row("ConfigMap deleted", lambda: needs_config(new_only=False), C.CONFIG_MISSING, "ConfigMap web-config", words=("the revision before needs ConfigMap web-config as well", "create ConfigMap web-config key A")),
    Row("ConfigMap that only the release needs", lambda: needs_config(new_only=True, rolling=True), C.CONFIG_MISSING, "ConfigMap web-config", "roll-back"),
    Row("key removed", lambda: needs_config(new_only=False, keys=("B",)), C.CONFIG_MISSING, "ConfigMap web-config", words=("which does not have it",)),
    Row("key that only the release needs", lambda: needs_config(new_only=True, rolling=True, keys=("B",)), C.CONFIG_MISSING, "ConfigMap web-config", "roll-back"),
    Row("pull Secret missing", lambda: pull("unauthorized: authentication required", secrets=("regcred",)), C.PULL_SECRET, "Secret regcred", words=("create Secret regcred", "unauthorized")),
    Row("pull Secret missing during a release", lambda: pull("401 Unauthorized", secrets=("regcred",), rolling=True), C.PULL_SECRET, "Secret regcred", words=("the revision before needs Secret regcred as well",)),
    Row("pull Secret missing, told by the kubelet", lambda: pull("denied").event("FailedToRetrieveImagePullSecret", "Unable to retrieve some image pull secrets (hubcred); attempting to pull the image may not succeed.", "Pod/new-0"),
        C.PULL_SECRET, "Secret hubcred"),
    Row("denied, and its pull Secret may not be read", lambda: unreadable(pull("pull access denied: no basic auth credentials", secrets=("regcred",)), "Secret"), C.IMAGE_DENIED, f"image {V2}",
        words=("whether imagePullSecret regcred exists was not read",)),
    Row("denied without any pull Secret", lambda: pull("pull access denied: no basic auth credentials"), C.IMAGE_DENIED, f"image {V2}", words=("the pods name no imagePullSecret",)),
    Row("pull Secret that is there is denied", lambda: pull("403 Forbidden", secrets=("regcred",)).config("regcred", kind="Secret"), C.IMAGE_DENIED, f"image {V2}", words=("registry.test denies it",)),
    Row("denied during a release of the same repository", lambda: pull("unauthorized", rolling=True), C.IMAGE_DENIED, f"image {V2}", words=("does not bring that",)),
    Row("tag does not exist, in a release", lambda: pull("manifest unknown: not found", rolling=True), C.IMAGE_MISSING, f"image {V2}", "roll-back", (f"push image {V2}",)),
    Row("tag deleted after the release was rolled out", lambda: pull("manifest unknown: not found"), C.IMAGE_MISSING, f"image {V2}", words=("had its pods running before",)),
    Row("the registry's words are in an event", lambda: World().rolling().state("new-0", IMAGE).event("Failed", f'Failed to pull image "{V2}": rpc error: code = NotFound desc = {V2}: not found', "Pod/new-0", container="app"),
        C.IMAGE_MISSING, f"image {V2}", "roll-back", ("code = NotFound",)),
    Row("registry limits us", lambda: pull("toomanyrequests: You have reached your pull rate limit", rolling=True), C.REGISTRY, f"image {V2}", words=("limits our pulls",)),
    Row("registry away", lambda: pull("dial tcp: lookup registry.test: no such host", rolling=True), C.REGISTRY, f"image {V2}", words=("cannot be reached",)),
    Row("wrong architecture in the manifest", lambda: pull("no match for platform in manifest: not found", rolling=True), C.ARCHITECTURE, f"image {V2}", "roll-back"),
    Row("invalid image name", lambda: pull("", reason="InvalidImageName", rolling=True), C.IMAGE_MISSING, f"image {V2}", "roll-back"),
    Row("the node's disk is full, in a release", lambda: pull("failed to extract layer: write /var/lib/containerd/tmp: no space left on device", rolling=True), C.NODE, "Node node-1",
        words=("free or repair the disk of node node-1", "no change of the pod template brings that")),
    Row("the kubelet limits its pulls, in a release", lambda: pull("pull QPS exceeded", rolling=True), C.REGISTRY, f"image {V2}", words=("registryPullQPS",)),
    Row("a registry without TLS, in a release", lambda: pull('Head "https://registry.test/v2/": http: server gave HTTP response to HTTPS client', rolling=True), C.REGISTRY, f"image {V2}",
        words=("answers without TLS",)),
    Row("a signature is missing after the release was rolled out", lambda: pull("Source image rejected: A signature was required, but no signature exists", reason="SignatureValidationFailed"),
        C.IMAGE_PULL, f"image {V2}", words=("signature policy", "A signature was required")),
    Row("a pull that does not end in time, in a release", lambda: pull("context deadline exceeded", rolling=True), C.REGISTRY, f"image {V2}", words=("Likely", "did not end in time")),
    Row("words about a pull that are not known", lambda: pull("the moon is in the wrong phase"), C.IMAGE_PULL, f"image {V2}", words=("Possibly", "the moon is in the wrong phase")),
    Row("the runtime is slow to make a container, in a release", lambda: World().rolling().state("new-0", {"waiting": {"reason": "CreateContainerError", "message": "context deadline exceeded"}}),
        C.NODE, "Node node-1", words=("Likely", "container runtime", "no change of the pod template brings that")),
    Row("a mount that the release brought and that is no directory", lambda: World().rolling().only_new(lambda s: s["containers"][0].update(volumeMounts=[{"name": "c", "mountPath": "/etc/app.conf"}]))
        .state("new-0", {"waiting": {"reason": "RunContainerError", "message": 'failed to create shim task: OCI runtime create failed: mounting "/x" to rootfs at "/etc/app.conf": not a directory'}}),
        C.CANNOT_START, "Pod new-0", "roll-back"),
    Row("runs as root", lambda: World().rolling().state("new-0", {"waiting": {"reason": "CreateContainerConfigError", "message": "container has runAsNonRoot and image will run as root"}}),
        C.SECURITY_CONTEXT, "Pod new-0", "roll-back"),
]  # fmt: skip


def turned_down(reason: str, said: str) -> World:
    world = World()
    del world.pods["new-0"]
    for n in range(4):
        pod = world.pod(f"f-{n}", made=4 + n, ready=False)
        pod["status"] = {
            "phase": "Failed",
            "reason": reason,
            "message": said,
            "conditions": [{"type": "Ready", "status": "False"}],
        }
    return world


def gone() -> World:
    world = World()
    world.pods.clear()
    return world


@pytest.mark.parametrize("row", [*MADE, *PLACED, *STARTED], ids=lambda row: row.name)
async def test_the_cause_is_named_with_its_object_and_nothing_else_is_written(row: Row) -> None:
    await holds(row)


@pytest.mark.parametrize("reason", ["TriggeredScaleUp", "Nominated"])
async def test_nobody_is_told_to_add_a_node_while_one_comes(reason: str) -> None:
    world = World().unscheduled("new-0", MIXED)
    world.pods["new-0"]["metadata"]["creationTimestamp"] = at(minutes=12)
    diagnosis, steps = await scaling(
        reason, "pod triggered scale-up: [{group 1->2 (max: 5)}]", 2, world
    ).look()
    assert diagnosis.rest == "still starting, nothing to do: 2 of 3 pods ready, a node is being added"
    assert [s for s in steps.values() if s.applies] == []


async def test_pods_that_were_rejected_long_ago_or_are_replaced_are_no_cause() -> None:
    world = turned_down("OutOfcpu", "Pod was rejected: Node didn't have enough resource: cpu")
    world.pod("new-0")
    assert (await world.look())[0].finding("cause.first").data["code"] is None  # type: ignore[union-attr]


@pytest.mark.parametrize("state", [
    {"waiting": {"reason": "ErrImagePull", "message": "pull failed: the moon is in the wrong phase"}},
    {"waiting": {"reason": "ImagePullBackOff", "message": f'Back-off pulling image "{V2}"'}},
    {"waiting": {"reason": "CreateContainerError", "message": "the moon is in the wrong phase"}},
])  # fmt: skip
async def test_words_that_are_not_known_are_shown_and_a_person_is_asked_before_a_release_is_taken_back(
    state: Obj,
) -> None:
    diagnosis, steps = await World().rolling().state("new-0", state).look()
    cause = diagnosis.finding("cause.first")
    assert cause is not None
    assert cause.data["sureness"] == "possible"
    assert str(state["waiting"]["message"]).rpartition(": ")[2] in cause.text
    assert steps["roll-back"].applies
    assert steps["roll-back"].asks.startswith("the cause is not sure")
