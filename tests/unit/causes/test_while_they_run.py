"""Why containers end or are not ready, what was stopped on purpose, what stands around: right cause, right write or none.

Unless a row says otherwise an unrelated release was rolled out well half an hour before: it is never rolled back.
"""

from __future__ import annotations

from typing import Any

import pytest

from app.domain.json import Obj
from remediations.causes import CauseCode as C
from tests.unit.causes.table import Row, holds
from tests.unit.causes.world import World, at

LIVENESS = "Liveness probe failed: HTTP probe failed with statuscode: 500"
READINESS = "Readiness probe failed: Get http://10.0.0.1:8080/ready: connect: connection refused"


def unready(world: World, *names: str, since: float = 3.0, started: float = 30.0) -> World:
    for name in names:
        world.state(name, {"running": {"startedAt": at(minutes=started)}}, since=since)
    return world


def probed(said: str, *, rolling: bool = False, since: float = 3.0) -> World:
    world = World().rolling() if rolling else World()
    unready(world, "new-0", since=5.0 if rolling else since, started=4.9 if rolling else 30)
    return world.event(
        "Unhealthy", said, "Pod/new-0", first=at(minutes=4.5 if rolling else since), container="app"
    )


def config(world: World, changed: float) -> World:
    def use(spec: Obj) -> None:
        spec["containers"][0]["envFrom"] = [{"configMapRef": {"name": "web-config"}}]

    return world.both(use).config(changed=changed)


def with_init(world: World) -> World:
    return world.both(lambda s: s.update(initContainers=[{"name": "wait", "image": "registry.test/wait:v1"}]))


def with_sidecar(world: World) -> World:
    def add(spec: Obj) -> None:
        spec["containers"].append({"name": "proxy", "image": "registry.test/proxy:v1"})

    return world.both(add)


def scaled(world: World, by: str = "kubectl-scale") -> World:
    world.replicas = 0
    world.pods.clear()
    world.fields.append({"manager": by, "subresource": "scale", "time": at(minutes=20), "fieldsV1": {"f:spec": {"f:replicas": {}}}})  # fmt: skip
    return world


def injected() -> World:
    """The pod has a container that its template does not have."""
    world = World().rolling()
    world.pods["new-0"]["spec"]["containers"].append({"name": "mesh", "image": "registry.test/mesh:v1"})
    return world.crash("new-0", container="mesh")


def traceless() -> World:
    """The API server drops the owner of a replica count of 0."""
    world = World()
    world.replicas = 0
    world.pods.clear()
    return world.event(
        "ScalingReplicaSet", "Scaled down replica set web-r2 from 3 to 0", "Deployment/web", ago=3
    )


def paused(new: int = 0) -> World:
    world = World().rolling(new=new)
    world.spec["paused"] = True
    return world


def service(name: str = "web", selector: Any = None, **port: Any) -> World:
    spec = {"selector": selector or {"app": "web"}, "ports": [{"port": 80, **port}]}
    return World().put("Service", name, changed=4, by="kubectl-edit", spec=spec)


def crashing(**crash: Any) -> World:
    return World().rolling().crash("new-0", **crash)


def fresh() -> World:
    """All pods are of the release of five minutes ago, which never became ready."""
    return World().rolling(old=0, new=3)


def gated() -> World:
    world = unready(World(), "new-0", since=3)
    pod = world.pods["new-0"]
    pod["status"]["containerStatuses"][0]["ready"] = True
    pod["status"]["conditions"][0] |= {
        "reason": "ReadinessGatesNotReady",
        "message": 'corresponding condition of pod readiness gate "target-health" does not exist.',
    }
    return world


GATE = "target-health.elbv2.k8s.aws/k8s-web"
REGISTERS = ("Elb.RegistrationInProgress", "Target registration is in progress")
MISMATCH = ("Target.ResponseCodeMismatch", "Health checks failed with these codes: [502]")


def checked(told: tuple[str, str], *said: str, rolling: bool = True, added: bool = False) -> World:
    """The gate's own condition tells what a load balancer found of one pod: of a release, or of one of long ago."""
    world = World().rolling(deployed=16) if rolling else World()
    world.fired = 1
    gates = [{"conditionType": GATE}]
    (world.only_new if added else world.both)(lambda spec: spec.update(readinessGates=gates))
    world = unready(world, "new-0", since=15 if rolling else 3)
    status = world.pods["new-0"]["status"]
    status["phase"] = "Running"
    status["containerStatuses"][0] |= {"ready": True, "state": {"running": {"startedAt": at(minutes=15)}}}
    message = f'the status of pod readiness gate "{GATE}" is not "True", but False'
    status["conditions"][0] |= {"reason": "ReadinessGatesNotReady", "message": message}
    own = {"type": GATE, "status": "False", "reason": told[0], "message": told[1]}
    status["conditions"] += [{**own, "lastTransitionTime": at(minutes=3)}] if any(told) else []
    return world.said("app", *said, previous=False) if said else world


def dark() -> World:
    world = World()
    world.pods["new-0"]["status"] = {
        "phase": "Pending",
        "conditions": [{"type": "PodScheduled", "status": "True"}],
    }
    return world


def evicted() -> World:
    world = World()
    world.pods["new-0"]["status"] = {
        "phase": "Failed",
        "reason": "Evicted",
        "message": "The node was low on resource: memory.",
        "conditions": [{"type": "Ready", "status": "False"}],
    }
    return world


def scaler(condition: Obj) -> World:
    spec = {"scaleTargetRef": {"kind": "Deployment", "name": "web"}, "maxReplicas": 3}
    return World().put(
        "HorizontalPodAutoscaler", "web", spec=spec, status={"desiredReplicas": 3, "conditions": [condition]}
    )


def old_ones_leave() -> World:
    """A pod of the old ReplicaSet ends, and is not ready any more."""
    world = World()
    world.pod("old-0", revision=1, made=9000, ready=False)["metadata"]["deletionTimestamp"] = at(minutes=0.1)
    return world


ENDED = [
    Row("a release that crashes", lambda: crashing().said("app", "2026-03-04 ERROR KeyError: 'QUEUE'"), C.CRASH, "Pod new-0", "roll-back", ("KeyError: 'QUEUE'", "exit code 1")),
    Row("a release that crashes on all pods, without an old one left", lambda: fresh().crash(restarts=3), C.CRASH, "Pod new-0", "roll-back", ("(3 pods alike)",)),
    Row("a segmentation fault", lambda: crashing(code=139), C.CRASH, "Pod new-0", "roll-back", ("SIGSEGV",)),
    Row("a command that is not there", lambda: crashing(code=127), C.CRASH, "Pod new-0", "roll-back", ("the command was not found",)),
    Row("exec format error in the log", lambda: crashing(code=255).said("app", "exec /app: exec format error"), C.ARCHITECTURE, "Pod new-0", "roll-back"),
    Row("StartError", lambda: crashing(code=128, reason="StartError", message='exec: "serve": executable file not found in $PATH'), C.CANNOT_START, "Pod new-0", "roll-back", ("executable file not found",)),
    Row("ends by itself", lambda: crashing(code=0, reason="Completed"), C.ENDS, "Pod new-0", "roll-back", ("exit code 0",)),
    Row("ConfigMap changed 14 s ago, then they crash", lambda: config(World(), 14 / 60).crash(ended=0.1, restarts=1, ran=29.5, first=0.1), C.CRASH, "Pod new-0",
        words=("14 s ago: ConfigMap web-config changed by kubectl-edit", "fits better")),
    Row("crashes begin long after the release", lambda: World().crash(ended=0.5, restarts=1, ran=29, first=0.5), C.CRASH, "Pod new-0", words=("ran well for 30 min",)),
    Row("pods of the old revision crash as well", lambda: World().rolling(new=1, old=2).crash(), C.CRASH, "Pod new-0", words=("not the newest revision alone is broken",)),
    Row("a sidecar crashes that the release did not touch", lambda: with_sidecar(World().rolling()).crash("new-0", container="proxy"), C.CRASH, "Pod new-0", words=("containers[app].image", "does not bring that")),
    Row("a sidecar crashes that admission put in", injected, C.CRASH, "Pod new-0", words=("Container mesh of new-0 (put in by admission)", "does not bring that")),
    Row("ConfigMap repaired since the last crash", lambda: config(fresh(), 0.2).crash(ended=2.0, restarts=3), C.CRASH, "Pod new-0", "restart"),
    Row("killed for memory", lambda: World().crash("new-0", code=137, reason="OOMKilled", restarts=3, first=2), C.OUT_OF_MEMORY, "Pod new-0", "roll-back", ("OOMKilled, no limit: it was the node",),
        "ran for 28 min before that began; 2 other pods of revision 2 (v1 -> v2) run without it"),
    Row("killed for memory by a release", lambda: crashing(code=137, reason="OOMKilled", restarts=3), C.OUT_OF_MEMORY, "Pod new-0", "roll-back"),
    Row("SIGTERM by liveness is no memory kill", lambda: World().crash("new-0", code=143, restarts=4, first=4).event("Unhealthy", LIVENESS, "Pod/new-0", container="app", first=at(minutes=4)),
        C.LIVENESS_PROBE, "Pod new-0", words=("statuscode: 500", "SIGTERM", "ran well for 26 min")),
    Row("exit 0 by liveness in a release", lambda: crashing(code=0, reason="Completed").event("Unhealthy", LIVENESS, "Pod/new-0", container="app", first=at(minutes=4)), C.LIVENESS_PROBE, "Pod new-0", "roll-back"),
    Row("startup probe", lambda: crashing(code=137).event("Unhealthy", "Startup probe failed: timeout", "Pod/new-0", container="app", first=at(minutes=4)), C.STARTUP_PROBE, "Pod new-0", "roll-back"),
    Row("init container crashes", lambda: with_init(World()).crash("new-0", container="wait", first=3), C.CRASH, "Pod new-0", words=("Init container wait",)),
    Row("init container waits", lambda: with_init(World().rolling()).state("new-0", {"running": {"startedAt": at(minutes=4)}}, container="wait").said("wait", "waiting for db:5432", previous=False),
        C.INIT_WAITS, "Pod new-0", words=("has run for 4 min", "waiting for db:5432")),
]  # fmt: skip


def mesh(probe: str) -> World:
    """A native sidecar with this probe, in both templates, and the container that waits for it."""
    sidecar: Obj = {
        "name": "mesh",
        "image": "registry.test/mesh:1",
        "restartPolicy": "Always",
        probe: {"httpGet": {"port": 15021, "path": "/healthz"}},
    }
    world = World().both(lambda s: s.update(initContainers=[sidecar]))
    world.state("new-0", {"running": {"startedAt": at(minutes=4.8)}}, container="mesh", since=4.9)
    return world.state("new-0", {"waiting": {"reason": "PodInitializing"}}, since=4.9)


def mesh_fails(probe: str, which: str) -> World:
    said = f"{which} probe failed: HTTP probe failed with statuscode: 503"
    return mesh(probe).event("Unhealthy", said, "Pod/new-0", first=at(minutes=4.5), container="mesh")


UNREADY = [
    Row("a native sidecar's startup probe", lambda: mesh_fails("startupProbe", "Startup"), C.STARTUP_PROBE, "Pod new-0", words=("Startup probe of sidecar mesh", "GET :15021/healthz", "503")),
    Row("a native sidecar's readiness probe", lambda: mesh_fails("readinessProbe", "Readiness"), C.READINESS_PROBE, "Pod new-0", words=("Readiness probe of sidecar mesh",)),
    Row("a native sidecar that the kubelet ends", lambda: mesh_fails("livenessProbe", "Liveness").crash("new-0", code=137, container="mesh", restarts=3), C.LIVENESS_PROBE, "Pod new-0",
        words=("the kubelet ended it",)),
    Row("readiness fails on a healthy release", lambda: probed(READINESS), C.READINESS_PROBE, "Pod new-0", words=("connection refused", "ran well for")),
    Row("readiness fails in a release", lambda: probed(READINESS, rolling=True), C.READINESS_PROBE, "Pod new-0", "roll-back"),
    Row("readiness fails after a Secret was changed", lambda: config(probed(READINESS, since=0.5), 1), C.READINESS_PROBE, "Pod new-0", words=("ConfigMap web-config changed",)),
    Row("runs and is not ready, nothing says why", lambda: unready(World(), "new-0"), C.NOT_READY, "Pod new-0"),
    Row("readiness gate", gated, C.READINESS_GATE, "Pod new-0", words=("target-health",)),
    Row("a load balancer gets a wrong answer of a release", lambda: checked(MISMATCH), C.READINESS_PROBE, "Pod new-0", "roll-back", (": ".join(MISMATCH), "why app answers the load balancer so")),
    Row("it gets none", lambda: checked(("Target.Timeout", "Request timed out")), C.READINESS_PROBE, "Pod new-0", "roll-back", ("Request timed out",)),
    Row("the program says that others are away", lambda: checked(MISMATCH, "ERROR dial tcp 10.0.0.3:5432: connect: connection refused"), C.READINESS_PROBE, "Pod new-0", "roll-back", asks="speaks of something else"),
    Row("it gets a wrong answer of a version of long ago", lambda: checked(MISMATCH, rolling=False), C.READINESS_PROBE, "Pod new-0", words=("ran well for", ": ".join(MISMATCH))),
    Row("it does not know the pod yet", lambda: checked(REGISTERS), C.READINESS_GATE, "Pod new-0", words=(f"{GATE} says {': '.join(REGISTERS)}", "the revision before had the same readinessGates")),
    Row("the release brought the gate", lambda: checked(REGISTERS, added=True), C.READINESS_GATE, "Pod new-0", "roll-back", ("changed readinessGates",)),
    Row("nobody says why a gate is not passed", lambda: checked(("", "")), C.READINESS_GATE, "Pod new-0", words=(f'"{GATE}" is not "True", but False',)),
    Row("Pending without a word", dark, C.NOT_READY, "Pod new-0", words=("nothing says why",)),
    Row("evicted, and nothing came", evicted, C.EVICTED, "Node node-1", words=("low on resource: memory",)),
]  # fmt: skip
AROUND = [
    Row("scaled to 0", lambda: scaled(World()), C.SCALED_TO_ZERO, "Deployment web", words=("by kubectl-scale 20 min ago", "ask who scaled it whether that is meant")),
    Row("scaled to 0, and who did it left no trace", traceless, C.SCALED_TO_ZERO, "Deployment web", words=("is scaled to 0 3 min ago",)),
    Row("paused in a rollout", paused, C.PAUSED, "Deployment web", words=("rollout resume", "when that is meant")),
    Row("paused in a rollout whose new pod is not ready", lambda: paused(new=1), C.PAUSED, "Deployment web", words=("make its pod template right first", "only then kubectl rollout resume")),
    Row("Service with another selector", lambda: service(selector={"app": "webb"}), C.SERVICE_SELECTOR, "Service web", words=("it selects app=webb", "changed 4 min ago by kubectl-edit")),
    Row("Service with a number that no container declares, set just now", lambda: service(targetPort=8081), C.SERVICE_PORT, "Service web",
        words=("Likely", "targetPort 8081, which no container declares", "correct targetPort of Service web")),
    Row("Service whose EndpointSlices are empty", lambda: service().emptied("web", 4), C.SERVICE_ENDPOINTS, "Service web", words=("have no ready address",)),
    Row("Service with a port that is not there", lambda: service(targetPort="metrics"), C.SERVICE_PORT, "Service web", words=("which no container names",)),
    Row("autoscaler without requests", lambda: scaler({"type": "ScalingActive", "status": "False", "reason": "FailedGetResourceMetric", "message": "missing request for cpu in container app of Pod new-0"}),
        C.AUTOSCALER, "HorizontalPodAutoscaler web", words=("missing request for cpu",)),
    Row("autoscaler at its maximum", lambda: scaler({"type": "ScalingLimited", "status": "True", "reason": "TooManyReplicas"}), C.AUTOSCALER, "HorizontalPodAutoscaler web", words=("at its maximum of 3 replicas",)),
    Row("a new network policy", lambda: World().put("NetworkPolicy", "deny", changed=6, spec={"podSelector": {}, "policyTypes": ["Egress"]}), C.NETWORK_POLICY, "NetworkPolicy deny", words=("Egress",)),
]  # fmt: skip


@pytest.mark.parametrize("row", [*ENDED, *UNREADY, *AROUND], ids=lambda row: row.name)
async def test_the_cause_is_named_with_its_object_and_nothing_else_is_written(row: Row) -> None:
    await holds(row)


def restarted(ended: float, **crash: Any) -> World:
    world = World()
    last = {
        "reason": "Error",
        "exitCode": 1,
        "finishedAt": at(minutes=ended),
        "startedAt": at(minutes=ended + 1),
    }
    world.state(
        "new-0",
        {"running": {"startedAt": at(minutes=ended)}},
        last=last,
        restarts=crash.get("restarts", 3),
        since=ended,
    )
    pod = world.pods["new-0"]
    pod["status"]["containerStatuses"][0]["ready"] = True
    pod["status"]["conditions"][0]["status"] = "True"
    return world


def starting() -> World:
    return World().rolling(deployed=1)


@pytest.mark.parametrize(
    ("world", "rest"),
    [
        (World, "Healthy for 30 min, nothing to do: 3 of 3 pods ready"),
        (lambda: restarted(12), "Recovered 12 min ago, nothing to do: 3 of 3 pods ready"),
        (starting, "Still starting, nothing to do: 3 of 3 pods ready, the newest was made 60 s ago"),
        (old_ones_leave, "Healthy for 30 min, nothing to do: 3 of 3 pods ready"),
    ],
    ids=[
        "healthy",
        "recovered",
        "starting",
        "old pods leave",
    ],
)
async def test_what_is_healthy_or_still_starting_is_left_alone_and_said(world: Any, rest: str) -> None:
    diagnosis, steps = await world().look()

    assert diagnosis.rest == rest[:1].lower() + rest[1:]
    assert [s.name for s in steps.values() if s.applies] == []
    assert {s.why for s in steps.values()} == {rest}


async def test_a_restart_a_moment_ago_is_not_over() -> None:
    diagnosis, _ = await restarted(2).look()
    assert diagnosis.rest == ""


async def test_a_container_that_crashes_every_quarter_of_an_hour_has_not_recovered() -> None:
    world = restarted(12)
    world.pods["new-0"]["status"]["containerStatuses"][0]["lastState"]["terminated"]["startedAt"] = at(
        minutes=27
    )
    diagnosis, _ = await world.look()
    assert diagnosis.rest == ""
