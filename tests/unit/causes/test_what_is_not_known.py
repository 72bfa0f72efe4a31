"""What is not known is no guilt: a rollback for it is a question; and what is over, or the node's doing, is no cause at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from app.domain.json import Obj
from app.domain.plan import Step
from app.domain.target import Kind
from remediations.causes import CauseCode as C
from remediations.causes import findings_of, investigate
from remediations.high_error_rate import HighErrorRate
from remediations.pod_restarting import PodRestarting
from tests.unit.causes.table import Row, holds
from tests.unit.causes.test_errors import KEY, mixed
from tests.unit.causes.test_while_they_run import config, crashing, fresh, unready
from tests.unit.causes.world import World, at


def picked_up_by_old() -> World:
    world = config(World().rolling(), 17).crash("new-0")
    world.pods["old-0"]["metadata"]["creationTimestamp"] = at(minutes=10)
    return world


def in_a_volume(*, started: float = 6 * 24 * 60) -> World:
    """Half of a release crashes on a file that was edited 12 min before it; older pods, started so many minutes ago, are ready."""
    world = World().both(lambda s: s.update(volumes=[{"name": "c", "configMap": {"name": "web-config"}}]))
    world.rolling(5, old=2, new=2).config(changed=17).crash("new-0", "new-1")
    world.said("app", "Failed to load flags from ConfigMap: invalid yaml: line 3")
    world.pods["old-0"]["metadata"]["creationTimestamp"] = at(minutes=started)
    return world


def long_ago(deployed: float = 25, **crash: Any) -> World:
    """A release that came to its end, and pods that have crashed since four minutes ago."""
    world = World()
    world.deployed = deployed
    for name in list(world.pods):
        world.pod(name, made=deployed)
    return world.crash("new-0", "new-1", **{"restarts": 5, "ended": 0.5, "ran": 0.2, "first": 4, **crash})


def blind(world: World, *kinds: Kind) -> World:
    world.cluster.unreadable |= set(kinds)
    return world


def half_told() -> World:
    """The back-off of one of two pods left no event: the API server keeps no more than it can."""
    world = long_ago()
    world.cluster.objects.pop(
        next(k for k, m in world.cluster.objects.items() if m.get("reason") == "BackOff")
    )
    return world


def quiet() -> World:
    """No pod's back-off left an event, and readiness came and went with each start."""
    world = long_ago()
    for key in [k for k, m in world.cluster.objects.items() if m.get("reason") == "BackOff"]:
        world.cluster.objects.pop(key)
    return world


def said_last(words: str, **crash: Any) -> World:
    return crashing(**crash).said("app", "INFO starting", words)


def db_service(**spec: Any) -> World:
    return (
        World()
        .rolling()
        .put("Service", "db", spec={"selector": {"app": "db"}, "ports": [{"port": 5432}], **spec})
    )


def by_node(*, ready: bool, running: float) -> World:
    """Its node was started again: the kubelet writes afterwards that it does not know how the containers ended."""
    world = World()
    world.deployed = 9
    for name in list(world.pods):
        world.pod(name, made=9)
        last = {
            "reason": "Unknown",
            "exitCode": 255,
            "finishedAt": at(minutes=running + 0.1),
            "startedAt": at(minutes=8.8),
        }
        world.state(
            name, {"running": {"startedAt": at(minutes=running)}}, last=last, restarts=1, since=running
        )
        if ready:
            up(world, name, running)
    return world


def up(world: World, name: str, since: float) -> World:
    """The pod has been ready since then."""
    status = world.pods[name]["status"]
    status["phase"] = "Running"
    status["containerStatuses"][0]["ready"] = True
    status["conditions"][0] |= {"status": "True", "lastTransitionTime": at(minutes=since)}
    return world


def at_a_start(restarts: int, *, ago: float = 5.2, ran: float = 0.3, deployed: float = 6) -> World:
    """The pods of a release crashed a few times when they started, for example until their database let them in, and are ready."""
    world = World()
    world.deployed = deployed
    for name in list(world.pods):
        world.pod(name, made=deployed)
        last = {
            "reason": "Error",
            "exitCode": 1,
            "finishedAt": at(minutes=ago),
            "startedAt": at(minutes=ago + ran),
        }
        world.state(
            name, {"running": {"startedAt": at(minutes=ago - 0.2)}}, last=last, restarts=restarts, since=ago
        )
        world.event(
            "BackOff",
            "Back-off restarting failed container app",
            f"Pod/{name}",
            first=at(minutes=ago + ran),
            ago=ago,
            container="app",
        )
        up(world, name, ago - 0.4)
    return world


def unobserved(*, annotated: bool = False) -> World:
    """The controller has not looked at a change of twelve minutes ago; or somebody has just `annotated` it, which counts as well."""
    world = World()
    whole = world.manifest

    def manifest() -> Obj:
        made = whole()
        made["metadata"]["generation"] = 3
        made["metadata"]["managedFields"][0]["time"] = at(minutes=12)
        if annotated:
            noted = {
                "manager": "kubectl",
                "time": at(minutes=0.1),
                "fieldsV1": {"f:metadata": {"f:annotations": {}}},
            }
            made["metadata"]["managedFields"].append(noted)
        return made

    vars(world)["manifest"] = manifest
    return world


def checksum() -> World:
    """Helm changed the ConfigMap and its checksum on the template, and nothing else."""
    world = config(fresh(), 5.1)
    world.before["spec"]["containers"][0]["image"] = world.containers[0]["image"]
    world.before["metadata"]["annotations"], world.template["metadata"]["annotations"] = (
        {"checksum/config": "a"},
        {"checksum/config": "b"},
    )
    return world.crash(restarts=4)


def reloaded() -> World:
    """A reloader wrote the ConfigMap's digest into the environment, and nothing else was changed."""
    world = config(fresh(), 5.1)
    world.before["spec"]["containers"][0]["image"] = world.containers[0]["image"]
    world.only_new(
        lambda s: s["containers"][0].update(env=[{"name": "STAKATER_WEB_CONFIG_CONFIGMAP", "value": "b"}])
    )
    return world.crash(restarts=4)


MIGRATIONS: tuple[tuple[str, list[str]], ...] = (
    ("registry.test/web:v2", ["alembic", "upgrade", "head"]),
    ("registry.test/web:v2", ["sh", "-c", "python manage.py migrate --noinput"]),
    ("registry.test/web:v2", ["bundle", "exec", "rails", "db:migrate"]),
    ("registry.test/web:v2", ["npx", "prisma", "migrate", "deploy"]),
    ("registry.test/web:v2", ["npx", "prisma", "db", "push"]),
    ("registry.test/web:v2", ["php", "artisan", "migrate", "--force"]),
    ("registry.test/web:v2", ["flask", "db", "upgrade"]),
    ("registry.test/web:v2", ["dotnet", "ef", "database", "update"]),
    ("registry.test/web:v2", ["typeorm", "migration:run"]),
    ("registry.test/web:v2", ["goose", "up"]),
    ("flyway/flyway:10", ["-connectRetries=60"]),
    ("liquibase/liquibase:4", ["update"]),
)


def migrating(image: str, command: list[str]) -> World:
    """The release's pods migrate before they start, and then crash."""
    world = fresh().only_new(
        lambda s: s.update(initContainers=[{"name": "prepare", "image": image, "command": command}])
    )
    for name in world.pods:
        world.state(name, {"terminated": {"reason": "Completed", "exitCode": 0}}, container="prepare")
    return world.crash(restarts=4)


def never_migrated() -> World:
    """The image of the init container that would migrate cannot be pulled."""
    world = (
        World()
        .rolling()
        .only_new(
            lambda s: s.update(
                initContainers=[
                    {
                        "name": "prepare",
                        "image": "registry.test/web:v3",
                        "command": ["alembic", "upgrade", "head"],
                    }
                ]
            )
        )
    )
    said = "manifest unknown: not found"
    return world.state(
        "new-0", {"waiting": {"reason": "ErrImagePull", "message": said}}, container="prepare"
    ).state("new-0", {"waiting": {"reason": "PodInitializing"}})


def in_front() -> World:
    """Both revisions migrate in front of their command: the newer one's migration is not the older one's."""
    command = ["sh", "-c", "alembic upgrade head && exec uvicorn app:app"]
    return fresh().both(lambda s: s["containers"][0].update(command=command)).crash(restarts=4)


OF_OTHERS = (
    "FATAL: sorry, too many clients already",
    "socket.gaierror: [Errno -3] Temporary failure in name resolution",
    'FATAL: password authentication failed for user "web"',
    "OSError: [Errno 28] No space left on device: '/data/index'",
    "x509: certificate has expired or is not yet valid",
    "KafkaTimeoutError: Failed to update metadata after 60.0 secs (broker kafka.data.svc:9092 not available)",
    "FATAL license server https://lic.example.test returned 503",
    "FATAL could not connect to db.data.svc.cluster.local:5432: Connection refused",
    "FATAL: remaining connection slots are reserved",
    "getaddrinfo ENOTFOUND cache.internal",
)
DOUBTS = [
    *(
        Row(f"a release that says {words[:40]}", lambda words=words: said_last(words), C.CRASH, "Pod new-0", "roll-back", asks="speaks of something else")  # type: ignore[misc]
        for words in OF_OTHERS
    ),
    Row("a release that says it, and Services cannot be read", lambda: blind(said_last("dial tcp: lookup db: connection refused"), Kind.SERVICE), C.CRASH, "Pod new-0", "roll-back",
        asks="(Services could not be read: cannot read Service)"),
    Row("a release that looks a Service up which does not exist", lambda: said_last("panic: dial tcp: lookup db.shop.svc.cluster.local on 10.96.0.10:53: no such host"), C.DEPENDENCY, "Service db", "roll-back",
        ("Service db does not exist",), asks="speaks of something else"),
    Row("a name of another domain is no Service", lambda: said_last("dial tcp: lookup api.example.test: no such host"), C.CRASH, "Pod new-0", "roll-back", asks="speaks of something else"),
    Row("a Service that is named by its ClusterIP", lambda: db_service(clusterIP="10.96.4.4").emptied("db", 7).crash("new-0").said("app", "dial tcp 10.96.4.4:5432: connect: connection refused"), C.DEPENDENCY, "Service db",
        words=("Service db has no ready pod",)),
    Row("an old release, and events cannot be read", lambda: blind(long_ago(), Kind.EVENT), C.CRASH, "Pod new-0", "roll-back", asks="is in trouble is not known: the events could not be read (cannot read Event)"),
    Row("an old release, and one of two pods left no event", half_told, C.CRASH, "Pod new-0", "roll-back", asks="is in trouble is not known"),
    Row("an old release, and no event", quiet, C.CRASH, "Pod new-0", "roll-back", asks="is in trouble is not known"),
    Row("an old release, readiness fails, and events cannot be read", lambda: blind(unready(World(), "new-0", "new-1", "new-2", since=4), Kind.EVENT), C.NOT_READY, "Pod new-0"),
    Row("image and ConfigMap changed together", lambda: config(fresh(), 5.1).crash(restarts=4), C.CRASH, "Pod new-0", "roll-back", asks="ConfigMap web-config was changed 6 s before the rollout by kubectl-edit"),
    Row("ConfigMap changed before, and the release picks it up", lambda: config(fresh(), 17).crash(restarts=4), C.CRASH, "Pod new-0", "roll-back", asks="ConfigMap web-config was changed 12 min before the rollout"),
    Row("ConfigMap changed before, and a pod of the older revision started with it", picked_up_by_old, C.CRASH, "Pod new-0", "roll-back"),
    Row("ConfigMap in a volume changed before, and older pods read it before that", in_a_volume, C.CRASH, "Pod new-0", "roll-back", asks="ConfigMap web-config was changed 12 min before the rollout"),
    Row("ConfigMap in a volume changed before, and an older pod started with it", lambda: in_a_volume(started=10), C.CRASH, "Pod new-0", "roll-back"),
    Row("only the checksum of a ConfigMap changed", checksum, C.CRASH, "Pod new-0", words=("look at what changed 5 min ago: ConfigMap web-config",)),
    Row("a reloader's digest of a ConfigMap changed", reloaded, C.CRASH, "Pod new-0", words=("look at what changed 5 min ago: ConfigMap web-config",)),
    Row("the node was started again, and the pods are not ready yet", lambda: by_node(ready=False, running=0.5), C.NODE, "Node node-1", words=("ended with node node-1",)),
    *(
        Row(f"migrates when its pods start: {' '.join([image, *command])}", lambda image=image, command=command: migrating(image, command), C.CRASH, "Pod new-0", "roll-back",  # type: ignore[misc]
            asks="init container prepare of revision 2 migrates when its pods start")
        for image, command in MIGRATIONS
    ),
    Row("would migrate, and its image is not there", never_migrated, C.IMAGE_MISSING, "image registry.test/web:v3", "roll-back"),
    Row("migrates in front of its command", in_front, C.CRASH, "Pod new-0", "roll-back", asks="container app of revision 2 migrates when its pods start"),
    Row("an init container that only waits is no migration", lambda: migrating("registry.test/immigration:v2", ["sh", "-c", "until nc -z db 5432; do sleep 1; done"]), C.CRASH, "Pod new-0", "roll-back"),
    Row("postStart hook", lambda: crashing(code=137).event("FailedPostStartHook", 'PostStartHook failed: exec: "/bin/sh": not found', "Pod/new-0", first=at(minutes=4), container="app"), C.CANNOT_START, "Pod new-0", "roll-back",
        ("PostStart hook of container app of new-0 fails", '"/bin/sh": not found')),
    Row("ready again for a while after several crashes", lambda: at_a_start(4), C.CRASH, "Pod new-0", words=("Possibly: container app of new-0 crashed with exit code 1", "5 min ago", "is ready again")),
    Row("the controller does not look", unobserved, C.NOT_READY, "Deployment web", words=("has not looked at deployment web since it was changed 12 min ago",)),
]  # fmt: skip


@pytest.mark.parametrize("row", DOUBTS, ids=lambda row: row.name)
async def test_what_is_not_known_is_asked_and_what_is_known_is_named(row: Row) -> None:
    await holds(row)


@pytest.mark.parametrize(
    ("world", "rest"),
    [
        (lambda: at_a_start(1), "Recovered 5 min ago, nothing to do: 3 of 3 pods ready"),
        (lambda: at_a_start(2), "Recovered 5 min ago, nothing to do: 3 of 3 pods ready"),
        (
            lambda: at_a_start(1, ago=4, ran=4.8, deployed=9),
            "Recovered 4 min ago, nothing to do: 3 of 3 pods ready",
        ),
        (lambda: by_node(ready=True, running=3.3), "Recovered 3 min ago, nothing to do: 3 of 3 pods ready"),
        (lambda: by_node(ready=True, running=0.5), "Recovered 30 s ago, nothing to do: 3 of 3 pods ready"),
    ],
    ids=[
        "one restart at a start",
        "two restarts at a start",
        "one restart",
        "node started again",
        "node started again just now",
    ],
)
async def test_pods_that_are_ready_again_are_left_alone_and_said(world: Any, rest: str) -> None:
    diagnosis, steps = await world().look()

    assert diagnosis.rest == rest[:1].lower() + rest[1:]
    assert {(s.applies, s.why) for s in steps.values()} == {(False, rest)}


def met_first(said: str, changed: float = 125, old: int = 3) -> World:
    """An image of five minutes ago crashes; so many minutes ago its ConfigMap was changed, which `old` pods of before that have not read."""
    world = config(World().rolling(5, old=old), changed).crash("new-0").said("app", said)
    world.fired = 3
    return world


FAILS, AGAIN = (
    "an older version may fail with it as well",
    "pods of an older version that start again may fail",
)


@pytest.mark.parametrize(
    ("world", "right", "told", "words"),
    [
        (lambda: met_first("KeyError: 'RAG_BATCH_SIZE'"), "acts", "2 h before the rollout by kubectl-edit", AGAIN),
        (lambda: met_first("Error: OPENAI_API_KEY is not set"), "acts", "2 h before the rollout by kubectl-edit", AGAIN),
        (lambda: met_first("KeyError: 'RAG_BATCH_SIZE'", 5.05), "acts", "3 s before the rollout", AGAIN),
        (lambda: met_first("KeyError: 'RAG_BATCH_SIZE'", old=2), "asks", "2 h before the rollout", FAILS),
        (lambda: met_first("FATAL: certificate /etc/tls/tls.crt is not valid after 2026-11-29"), "asks", "2 h before the rollout", AGAIN),
        (lambda: met_first("Error: the cert of db expired on 2026-11-28"), "asks", "2 h before the rollout", AGAIN),
        (lambda: met_first("KeyError: 'RAG_BATCH_SIZE'", 3_000), "acts", "", ""),
    ],
    ids=["changed before", "not set", "changed with it", "fewer of before serve", "a dated certificate", "a certificate that ended", "long before"],
)  # fmt: skip
async def test_what_only_new_pods_started_with_is_told_also_where_going_back_is_right(
    world: Callable[[], World], right: str, told: str, words: str
) -> None:
    """In the reason or in the question, and at the end: pods that start again have not met it yet."""
    handler, made = PodRestarting(), world()
    _, steps = await made.look(handler)
    step = steps["roll-back"]
    assert ("asks" if step.asks else "acts" if step.applies else "refuses") == right, (step.why, step.asks)
    assert told in f"{step.why} {step.asks}"
    assert words in f"{step.why} {step.asks}"
    effect = await handler.effect(await made.scene(), handler.params(), Step.from_json(step.to_json()))
    assert (effect is not None) is bool(told)
    assert effect is None or (effect.good, AGAIN in effect.text, told in effect.text) == (True, True, True)


async def test_of_errors_it_is_told_as_well() -> None:
    world = config(mixed(KEY, old_too=False), 125)
    _, steps = await world.look(HighErrorRate())
    step = steps["roll-back"]
    assert step.applies, step.why
    assert "ConfigMap web-config was changed 2 h before the rollout" in f"{step.why} {step.asks}"
    assert AGAIN in step.beware


async def test_an_annotation_of_this_moment_is_no_change_that_the_controller_missed() -> None:
    found = await investigate(await unobserved(annotated=True).scene())
    assert "has not looked at" not in str(findings_of(found))


async def test_a_broken_pod_that_is_ready_for_now_is_counted_as_one() -> None:
    """It ended a moment ago and is up again: three pods in all, and not four."""
    world = World().crash(restarts=4).said("app", "KeyError: 'QUEUE'")
    status = world.pods["new-2"]["status"]
    status["containerStatuses"][0].update(ready=True, state={"running": {"startedAt": at(seconds=20)}})
    status["conditions"][0]["status"] = "True"
    diagnosis, _ = await world.look(PodRestarting())
    told = diagnosis.finding("pods.revision")
    assert told is not None
    assert "3 pods of revision 2 broken and 1 ready" in told.text
    assert told.text.endswith("(1 of the broken is ready for now)")
