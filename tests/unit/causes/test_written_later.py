"""What was written once the trouble was there: it is no better explanation of it than the release, and nothing is restarted for it unasked beside pods that serve."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from app.domain.json import Obj
from app.domain.plan import Step
from app.domain.remediation import AnyRemediation
from app.domain.target import Kind
from app.kube.lineage import last_write
from remediations.high_error_rate import HighErrorRate
from remediations.pod_restarting import PodRestarting
from tests.unit.causes.cluster import Requests
from tests.unit.causes.test_bystanders import released
from tests.unit.causes.test_errors import log
from tests.unit.causes.test_others import CACHE, cache
from tests.unit.causes.world import SPACE, World, at

OWN = "TypeError: connect() got an unexpected keyword argument 'pool_size'"
CRASHED, WRITTEN = 2.0, 0.8
ALL = ("new-0", "new-1", "new-2")


def _entry(manager: str, minutes: float, fields: Obj, subresource: str = "") -> Obj:
    made = {"manager": manager, "operation": "Update", "time": at(minutes=minutes), "fieldsV1": fields}
    return {**made, "subresource": subresource} if subresource else made


def annotated(world: World, kind: str = "ConfigMap", name: str = "web-config") -> World:
    """Its data was written long ago; a controller wrote an annotation just now."""
    data = _entry("helm", 9_000, {"f:data": {"f:A": {}}, "f:metadata": {"f:labels": {"f:app": {}}}})
    note = _entry("reflector", WRITTEN, {"f:metadata": {"f:annotations": {"f:x": {}}}})
    world.cluster.objects[kind, SPACE, name]["metadata"]["managedFields"] = [data, note]
    return world


def configured(world: World, minutes: float, *, by: str = "kubectl-edit", kind: str = "ConfigMap") -> World:
    source = {"ConfigMap": "configMapRef", "Secret": "secretRef"}[kind]
    world.both(lambda s: s["containers"][0].update(envFrom=[{source: {"name": "web-config"}}]))
    return world.put(kind, "web-config", changed=minutes, by=by, data={"QUEUE": "x"})


def crashing(*names: str, said: str = "", code: int = 1) -> World:
    """These crash, the last time two minutes ago; 48 s ago somebody wrote the ConfigMap."""
    world = World()
    world.deployed = 30
    configured(world, WRITTEN)
    world.crash(*names, ended=CRASHED, restarts=3, ran=1.0, first=6, code=code)
    return world.said("app", said) if said else world


async def _restart(world: World) -> Step:
    _, steps = await world.look(PodRestarting())
    return steps["restart"]


@pytest.mark.parametrize("said", ["", "KeyError: 'QUEUE'", "invalid configuration: no such queue"])
async def test_where_no_pod_serves_repaired_configuration_is_tried_by_a_restart(said: str) -> None:
    step = await _restart(crashing(*ALL, said=said))
    assert (step.applies, step.asks) == (True, ""), step.why


@pytest.mark.parametrize(
    ("world", "asked"),
    [
        (lambda: crashing("new-0"), "2 pods ready now would begin anew with what no pod has tried"),
        (lambda: crashing("new-0", "new-1"), "1 pod ready now would begin anew with what no pod has tried"),
        (
            lambda: crashing(*ALL, said="connection to db:5432 refused: connection refused"),
            "what container app said last is not about configuration",
        ),
        (
            lambda: crashing(*ALL, said="panic: runtime error: index out of range [3] with length 3"),
            "what container app said last is not about configuration",
        ),
        (lambda: crashing(*ALL, code=139), "container app ended with"),
    ],
    ids=["one of three", "two of three", "a dependency", "a panic", "a signal"],
)
async def test_a_restart_for_what_was_written_is_asked_about(world: Callable[[], World], asked: str) -> None:
    step = await _restart(world())
    assert step.applies, step.why
    assert asked in step.asks


async def test_an_annotation_is_no_repair() -> None:
    step = await _restart(annotated(crashing(*ALL)))
    assert not step.applies
    assert step.why.startswith("Nothing was fixed since the last crash")


@pytest.mark.parametrize(
    ("entries", "at_minutes"),
    [
        ([_entry("helm", 90, {"f:data": {}}), _entry("reflector", 1, {"f:metadata": {}})], 90),
        ([_entry("helm", 90, {"f:spec": {}}), _entry("lb", 1, {"f:metadata": {}, "f:status": {}})], 90),
        ([_entry("helm", 90, {"f:data": {}}), _entry("edit", 1, {"f:metadata": {}, "f:data": {}})], 1),
        ([_entry("helm", 90, {"f:data": {}}), _entry("unknown", 1, {})], 1),
    ],
)
def test_what_wrote_metadata_alone_changed_nothing(entries: list[Obj], at_minutes: float) -> None:
    found = last_write({"metadata": {"name": "x", "managedFields": entries}})
    assert found is not None
    assert found.at.isoformat() == at(minutes=at_minutes).replace("Z", "+00:00")


def _broken(by: str, keys: tuple[str, ...], said: str, kind: str = "Secret") -> World:
    """A release of five minutes ago whose pods all crash with this; since the last crash its configuration was written."""
    world = World().rolling(deployed=5, old=0, new=3)
    source = {"ConfigMap": "configMap", "Secret": "secret"}[kind]
    where = {"secretName" if kind == "Secret" else "name": "used"}
    world.both(lambda spec: spec.update(volumes=[{"name": "t", source: where}]))
    world.put(kind, "used", changed=0.1, by=by, data=dict.fromkeys(keys, "x"))
    world.fired = 3
    return world.crash(restarts=4, ended=0.5).said("app", said)


TLS, SYNCED = ("tls.crt", "tls.key"), "externalsecrets.external-secrets.io/used"


@pytest.mark.parametrize(
    ("world", "back", "restart", "told"),
    [
        (lambda: _broken("cert-manager-certificates-issuing", TLS, "KeyError: 'RAG_SIZE'"), "acts", "refuses", ""),
        (lambda: _broken("cert-manager-certificates-issuing", TLS, OWN), "acts", "refuses", ""),
        (lambda: _broken("python", ("beat",), "KeyError: 'RAG_SIZE'", "ConfigMap"), "acts", "refuses", ""),
        (lambda: _broken(SYNCED, ("OTHER_KEY",), "KeyError: 'RAG_SIZE'"), "acts", "refuses", ""),
        (lambda: _broken("OpenAPI-Generator", ("beat",), OWN, "ConfigMap"), "acts", "refuses", ""),
        (lambda: _broken("Kubernetes Java Client", ("beat",), OWN, "ConfigMap"), "acts", "refuses", ""),
        (lambda: _broken("vault-agent-injector", ("OTHER_KEY",), OWN), "acts", "refuses", ""),
        (lambda: _broken("infisical-operator", ("OTHER_KEY",), OWN), "acts", "refuses", ""),
        (lambda: _broken("doppler-kubernetes-operator", ("OTHER_KEY",), OWN), "acts", "refuses", ""),
        (lambda: _broken("manager", ("beat",), "KeyError: 'RAG_SIZE'", "ConfigMap"), "acts", "refuses", ""),
        (lambda: _broken("manager", ("beat",), "ValueError: RAG_SIZE is not set", "ConfigMap"), "acts", "refuses", ""),
        (lambda: _broken("node-fetch", ("beat",), "KeyError: 'RAG_SIZE'", "ConfigMap"), "acts", "refuses", ""),
        (lambda: _broken("node-fetch", ("RAG_SIZE",), "KeyError: 'RAG_SIZE'", "ConfigMap"), "asks", "asks", "not known of node-fetch"),
        (lambda: _broken("manager", ("config.yaml",), "KeyError: 'RAG_SIZE'", "ConfigMap"), "asks", "asks", "whether a person meant it is not known of manager"),
        (lambda: _broken("manager", ("RAG_SIZE",), "KeyError: 'RAG_SIZE'", "ConfigMap"), "asks", "asks", "whether a person meant it is not known of manager"),
        (lambda: _broken("manager", ("beat",), "invalid configuration: no such queue", "ConfigMap"), "asks", "asks", "not known of manager"),
        (lambda: _broken("kustomize-controller", ("beat",), "invalid configuration: no such queue", "ConfigMap"), "refuses", "acts", ""),
        (lambda: _broken(SYNCED, ("RAG_SIZE",), "KeyError: 'RAG_SIZE'"), "asks", "asks", f"{SYNCED} writes of its own accord"),
        (lambda: _broken("kubectl-edit", ("RAG_SIZE",), "KeyError: 'RAG_SIZE'"), "refuses", "acts", ""),
        (lambda: _broken(SYNCED, ("PASSWORD",), 'FATAL: password authentication failed for user "web"'), "asks", "asks", "own accord"),
    ],
    ids=["a renewed certificate", "of a fault of the program", "a heartbeat", "another key by external-secrets", "by Python's client", "by Java's",
         "by a vault's injector", "by one store's operator", "by another's", "another key by anybody", "another variable by anybody", "another key by JavaScript's", "the very key by JavaScript's", "a file by anybody", "the very key by anybody",
         "anything by anybody", "anything that was declared", "the very key by it", "the key by a person",
         "a rotated password"],
)  # fmt: skip
async def test_of_a_crash_too_only_what_may_have_repaired_it_is_tried(
    world: Callable[[], World], back: str, restart: str, told: str
) -> None:
    _, steps = await world().look(PodRestarting())
    found = {n: "refuses" if not s.applies else "asks" if s.asks else "acts" for n, s in steps.items()}
    assert (found["roll-back"], found["restart"]) == (back, restart), [
        (s.why, s.asks) for s in steps.values()
    ]
    assert told in steps["restart"].asks


def guilty(minutes: float, kind: str = "ConfigMap", *, alert: float = 8) -> World:
    """A release of ten minutes ago brings errors of its own; the alert fired; so many minutes ago somebody wrote its configuration."""
    world = configured(released(10), minutes, kind=kind)
    world.fired = alert
    world.cluster.log["app", False] = log(OWN, 580)
    world.metrics = Requests(580)
    return world


@pytest.mark.parametrize("kind", ["ConfigMap", "Secret"])
async def test_what_was_written_after_the_alert_is_perhaps_a_repair_and_no_cause(kind: str) -> None:
    _, steps = await guilty(2, kind).look(HighErrorRate())
    step = steps["roll-back"]
    assert step.applies, step.why
    assert (
        "after the alert fired 8 min ago something was changed, perhaps to repair it: 2 min ago" in step.asks
    )


async def test_an_annotation_after_the_alert_asks_nobody() -> None:
    _, steps = await annotated(guilty(2)).look(HighErrorRate())
    assert (steps["roll-back"].applies, steps["roll-back"].asks) == (True, "")


async def test_what_was_written_before_the_errors_began_is_the_better_explanation() -> None:
    world = guilty(4, alert=3)
    world.cluster.log["app", False] = log(OWN, 230, clean_from=290)
    world.metrics = None
    _, steps = await world.look(HighErrorRate())
    assert not steps["roll-back"].applies
    assert "something that fits better changed after the rollout: 4 min ago" in steps["roll-back"].why


def repaired(
    edit: float,
    *,
    ended: float = 0.3,
    ran: float = 0.1,
    said: str = "KeyError: 'QUEUE'",
    kind: str = "ConfigMap",
    by: str = "kubectl-edit",
) -> World:
    """All pods of a release of six minutes ago crash, the alert is four minutes old, and so many minutes ago somebody wrote their configuration."""
    world = configured(World().rolling(deployed=6, old=0, new=3), edit, by=by, kind=kind)
    world.fired = 4
    return world.crash(ended=ended, ran=ran, restarts=4).said("app", said)


def beside_a_sidecar() -> World:
    """The last end of all is that of a container which does not show the cause."""
    world = World().rolling(deployed=6, old=0, new=3)
    world.both(lambda s: s["containers"].append({"name": "proxy", "image": "envoy:1", "resources": {}}))
    configured(world, 0.8)
    for pod in world.pods.values():
        last = {"exitCode": 1, "reason": "Error", "startedAt": at(minutes=5), "finishedAt": at(minutes=0.5)}
        state = {"running": {"startedAt": at(minutes=0.4)}}
        proxy = {"name": "proxy", "ready": True, "restartCount": 1, "state": state}
        pod["status"]["containerStatuses"].append({**proxy, "lastState": {"terminated": last}})
    world.fired = 4
    return world.crash(ended=1.2, ran=0.1, restarts=3).said("app", "KeyError: 'QUEUE'")


def came_up(since: float) -> World:
    """One of the pods began with it so many minutes ago, and is ready."""
    world = repaired(1.0, ended=2.0)
    last = {"reason": "Error", "exitCode": 1, "startedAt": at(minutes=2.1), "finishedAt": at(minutes=2)}
    world.state("new-2", {"running": {"startedAt": at(minutes=since)}}, last=last, restarts=5)
    status = world.pods["new-2"]["status"]
    status["conditions"][0] |= {"status": "True", "lastTransitionTime": at(minutes=since)}
    status["containerStatuses"][0]["ready"] = True
    return world


def in_a_volume(edit: float, *, made: float = 6) -> World:
    """Its files come to a pod that is there a minute or two later, and to a new one at once."""
    world = World().rolling(deployed=6, old=0, new=3)
    world.both(lambda s: s.update(volumes=[{"name": "c", "configMap": {"name": "web-config"}}]))
    world.put("ConfigMap", "web-config", changed=edit, by="kubectl-edit", data={"QUEUE": "x"})
    for pod in world.pods.values():
        pod["metadata"]["creationTimestamp"] = at(minutes=made)
    world.fired = 4
    return world.crash(ended=0.6, ran=0.05, restarts=4).said("app", "KeyError: 'QUEUE'")


def made_again() -> World:
    """The container waited for a ConfigMap, which somebody made a moment ago."""
    world = configured(World().rolling(deployed=6, old=0, new=3), 0.2)
    for name in world.pods:
        waiting = {"reason": "CreateContainerConfigError", "message": 'configmap "web-config" not found'}
        world.state(name, {"waiting": waiting})
    return world


LOGIN = 'FATAL: password authentication failed for user "web"'
UNTRIED, AFTER = (
    "the pods have not tried it yet",
    "after the alert fired 4 min ago something was changed, perhaps to repair it: 2 min ago",
)
TRIALS: list[tuple[str, Callable[[], World], str, str, str]] = [
    ("while the run that failed last went on", lambda: repaired(0.8, ran=1.0), "refuses", "acts", UNTRIED),
    ("in the second in which it began", lambda: repaired(0.4), "refuses", "acts", UNTRIED),
    ("before a bystander ended", beside_a_sidecar, "refuses", "acts", UNTRIED),
    ("and all tried it", lambda: repaired(2), "asks", "refuses", AFTER),
    ("and a pod has run with it for longer than without", lambda: came_up(0.7), "refuses", "refuses", "pod new-2 began with it 42 s ago and is ready, so it works"),
    ("and a pod has just begun with it", lambda: came_up(0.2), "refuses", "refuses", "pod new-2 began with it 12 s ago and is ready, which is too early to tell"),
    ("a password in a Secret", lambda: repaired(0.1, said=LOGIN, kind="Secret"), "refuses", "acts", UNTRIED),
    ("a ConfigMap, for a password", lambda: repaired(0.1, said=LOGIN), "asks", "asks", UNTRIED),
    ("a volume, before its files came", lambda: in_a_volume(0.9), "refuses", "acts", "files of a volume come to pods a minute or two later"),
    ("a volume, long before", lambda: in_a_volume(3.5), "asks", "refuses", "perhaps to repair it"),
    ("a volume, and the pods are new", lambda: in_a_volume(0.9, made=0.8), "refuses", "refuses", "something that fits better changed after the rollout"),
    ("what they waited for", made_again, "refuses", "refuses", "ConfigMap web-config is there now: the kubelet starts the containers"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("world", "back", "restart", "told"), [r[1:] for r in TRIALS], ids=[r[0] for r in TRIALS]
)
async def test_who_has_tried_what_was_written_is_told_by_when_the_container_of_the_cause_began(
    world: Callable[[], World], back: str, restart: str, told: str
) -> None:
    _, steps = await world().look(PodRestarting())
    found = {n: "refuses" if not s.applies else "asks" if s.asks else "acts" for n, s in steps.items()}
    assert (found["roll-back"], found["restart"]) == (back, restart), [
        (s.why, s.asks) for s in steps.values()
    ]
    step = steps["roll-back"]
    assert told in (step.asks or step.why)
    _, others = await world().look(HighErrorRate())
    other = others["roll-back"]
    assert ("asks" if other.asks else "acts" if other.applies else "refuses") == back, (other.why, other.asks)
    assert other.asks.count("perhaps to repair it") <= 1


async def test_nobody_is_called_while_a_repair_shows_whether_it_works() -> None:
    for world in (came_up(0.7), came_up(0.2), made_again()):
        _, steps = await world.look(PodRestarting())
        assert steps["restart"].later is not None


@pytest.mark.parametrize("seconds", [-1, 1, 5, 20])
@pytest.mark.parametrize("handler", [PodRestarting, HighErrorRate])
async def test_the_order_of_the_writes_of_one_delivery_tells_nothing(
    seconds: int, handler: type[AnyRemediation]
) -> None:
    world = configured(
        World().rolling(deployed=6, old=0, new=3), 6 - seconds / 60, kind="Secret", by="kubectl-set"
    )
    world.fired = 3
    world.crash(restarts=4, ended=1).said("app", OWN)
    _, steps = await world.look(handler())
    step = steps["roll-back"]
    assert "Secret web-config was changed" in step.asks, (step.why, step.asks)
    assert "and only pods of revision 2 started with it" in step.asks


async def test_an_older_pod_whose_container_began_with_it_has_met_it() -> None:
    world = World().rolling(deployed=6, old=1, new=3)
    configured(world, 7)
    world.pods["old-0"]["status"]["containerStatuses"][0] |= {
        "restartCount": 1,
        "state": {"running": {"startedAt": at(minutes=6.5)}},
    }
    world.fired = 3
    _, steps = await world.crash("new-0", "new-1", "new-2", restarts=4, ended=1).said("app", OWN).look()
    assert "started with it" not in f"{steps['roll-back'].asks} {steps['roll-back'].why}"


def back(*names: str, since: float = 2.0, said: str = CACHE) -> World:
    """These crash because a cache was away, which has been ready again for so many minutes; their last run began 4 and ended 3 min ago."""
    world = cache(World(), ready=True)
    pod = world.cluster.of(Kind.POD, "cache-0", SPACE)
    for condition in pod["status"]["conditions"]:
        condition["lastTransitionTime"] = at(minutes=since)
    world.fired = 15
    return world.crash(*names, restarts=8, ended=3, ran=1.0, first=20).said("app", f"ERROR {said}")


async def test_a_dependency_that_is_back_is_tried_by_a_restart_where_no_pod_serves() -> None:
    _, steps = await back(*ALL).look(PodRestarting())
    step = steps["restart"]
    assert (step.applies, step.asks) == (True, ""), step.why
    assert step.why.startswith(
        "Service cache, which the last words name, has had a ready pod again for 2 min"
    )
    assert "the pods have not tried it yet" in step.why
    assert "Fix the code" not in str(steps["fix-by-hand"].advice)
    assert "back-off" in steps["fix-by-hand"].advice


@pytest.mark.parametrize(
    ("world", "why"),
    [
        (lambda: back("new-0"), "Service cache, which the last words name, has had a ready pod again"),
        (lambda: back(*ALL, since=0.2), "which is too early to tell whether it stays so"),
        (
            lambda: back(*ALL, since=3.95),
            "Service cache, which the last words name, has had a ready pod again",
        ),
        (lambda: back(*ALL, since=4.5), "Nothing was fixed since the last crash"),
        (lambda: back(*ALL, since=9_000), "Nothing was fixed since the last crash"),
        (lambda: back(*ALL, said="KeyError: 'cache'"), "Nothing was fixed since the last crash"),
    ],
    ids=[
        "others serve",
        "just now",
        "during the last run",
        "before the last run",
        "always there",
        "its own error",
    ],
)
async def test_what_is_back_restarts_no_pod_that_serves_and_only_what_began_without_it(
    world: Callable[[], World], why: str
) -> None:
    step = await _restart(world())
    if why.startswith("Service") and step.applies:
        assert step.why.startswith(why)
    else:
        assert not step.applies
        assert why in step.why


async def test_a_release_is_not_taken_back_before_its_pods_have_begun_beside_what_is_back() -> None:
    world = back(*ALL)
    world.deployed = 25
    for name in ALL:
        world.pods[name]["metadata"]["creationTimestamp"] = at(minutes=24)
    _, steps = await world.look(PodRestarting())
    assert not steps["roll-back"].applies
    assert "has had a ready pod again" in steps["roll-back"].why
