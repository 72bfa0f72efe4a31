"""Ordinary histories of three and four revisions, on the simulated cluster: a rollback goes where a careful engineer would go, or asks.

v1 ran for six days. What runs beside the newest revision, and is ready, is what a stuck rollout goes back to, however young it is."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from app.domain.json import Obj
from app.domain.plan import ActionKind, Step
from app.domain.remediation import History, PastAlert
from app.domain.target import Kind
from app.flow.diagnosing.rollouts import read as rollouts_of
from app.kube.known_good import Word, pods_by_template
from app.kube.read import read_pods, read_workload, revisions
from app.sim.behaviour import Behaviour, When
from app.sim.scenario import Scenario
from remediations.evidence.rollouts import RollbackParams, records_of, rollback_step
from tests.births import scenario_of
from tests.unit.remediations.stage import Stage

NAME, REPOSITORY = "langgraph-worker", "ghcr.io/stacey77/rag7-worker"
CONTAINER = "/spec/template/spec/containers/0"


def image(version: str) -> Obj:
    """A release, or a hotfix by hand."""
    return {"op": "replace", "path": f"{CONTAINER}/image", "value": f"{REPOSITORY}:{version}"}


def memory(limit: str) -> Obj:
    """`kubectl set resources`."""
    return {"op": "replace", "path": f"{CONTAINER}/resources/limits/memory", "value": limit}


def restart(at: str) -> Obj:
    """`kubectl rollout restart`."""
    return {
        "op": "add",
        "path": "/spec/template/metadata/annotations",
        "value": {"kubectl.kubernetes.io/restartedAt": at},
    }


RECREATE = {"op": "replace", "path": "/spec/strategy", "value": {"type": "Recreate"}}
ALL_AT_ONCE = {"op": "replace", "path": "/spec/strategy/rollingUpdate/maxUnavailable", "value": "100%"}
PARALLEL = {"spec": {"podManagementPolicy": "Parallel"}}


def world_of(kind: Kind, broken: Sequence[str], slow: Sequence[str]) -> Scenario:
    """The shipped world without its story: these versions crash as they start, those take three minutes to be ready."""
    shipped = scenario_of("pod-restarting")
    crashes, well = shipped.behaviours[0], shipped.behaviours[1]

    def of(version: str, like: Behaviour, **changes: Any) -> Behaviour:
        when = When(image=f"{REPOSITORY}:{version}", container="worker")
        return like.model_copy(update={"name": version, "when": when, **changes})

    own = [of(v, crashes) for v in broken] + [of(v, well, ready_after=180.0) for v in slow]
    objects = tuple(_as(kind, o) if o["metadata"]["name"] == NAME else o for o in shipped.objects)
    return shipped.model_copy(update={"behaviours": (*own, well), "story": (), "objects": objects})


def _as(kind: Kind, manifest: Obj) -> Obj:
    if kind is Kind.DEPLOYMENT:
        return manifest
    made = copy.deepcopy(manifest)
    made["kind"] = kind.value
    if kind is Kind.DAEMON_SET:
        del made["spec"]["replicas"]
    else:
        made["spec"]["serviceName"] = NAME
    return made


@dataclass(frozen=True, slots=True)
class Past:
    """A history: what was done how many minutes ago, which versions crash, which are slow. `goal` is the image tag that the step goes back to, `memory` its limit
    where that tells more; `asks` are the words of what a person is asked, none for a step that is taken by itself; `moved` how many pods it replaces."""

    name: str
    story: tuple[tuple[float, Obj], ...]
    goal: str
    asks: tuple[str, ...] = ()
    broken: tuple[str, ...] = ("v3",)
    slow: tuple[str, ...] = ()
    limit: str = "512Mi"
    moved: int = 1
    kind: Kind = Kind.DEPLOYMENT
    fired: tuple[float, float] | None = None
    """Since and until how many minutes ago an alert fired."""
    left: tuple[str, ...] = ()
    """Versions that this service rolled back from."""
    lost: str = ""
    """A version whose pods were all deleted a minute ago (a node was drained)."""
    before: tuple[Obj, ...] = field(default=())
    """How the workload is made, long before."""


HOTFIX = ((27.0, image("v2")), (7.0, image("v3")))
PASTS = [
    Past("a hotfix serves", HOTFIX, "v2"),
    Past("a hotfix of an hour ago serves", ((55.0, image("v2")), (7.0, image("v3"))), "v2"),
    Past(
        "a person's memory limit serves",
        ((35.0, memory("1Gi")), (7.0, image("v3"))),
        "v1.4.2",
        limit="1Gi",
    ),
    Past(
        "a restart between",
        ((27.0, image("v2")), (17.0, restart("2026-03-04T02:00:00Z")), (7.0, image("v3"))),
        "v2",
    ),
    Past("stateful", HOTFIX, "v2", kind=Kind.STATEFUL_SET),
    Past("on each node", HOTFIX, "v2", kind=Kind.DAEMON_SET),
    Past(
        "two bad releases in a row",
        ((14.0, image("v2")), (7.0, image("v3"))),
        "v1.4.2",
        ("of an older revision was restarted again and again already 7 min before revision 3 was deployed",),
        broken=("v2", "v3"),
    ),
    Past(
        "a stuck release of three days ago, and another one",
        ((3 * 24 * 60.0, image("v2")), (7.0, image("v3"))),
        "v1.4.2",
        broken=("v2", "v3"),
    ),
    Past(
        "somebody went back, and the next release crashes",
        ((90.0, image("v2")), (40.0, image("v1.4.2")), (7.0, image("v3"))),
        "v1.4.2",
    ),
    Past(
        "all were replaced at once, and the hotfix ran for 20 minutes",
        HOTFIX,
        "v1.4.2",
        ("revision 2, which is newer than 1, is passed over: revision 2 ran only 20 min",),
        before=(RECREATE,),
        moved=3,
    ),
    Past(
        "all were replaced at once, and the version before ran for long",
        ((300.0, image("v2")), (7.0, image("v3"))),
        "v2",
        before=(RECREATE,),
        moved=3,
    ),
    Past(
        "an alert fired on the one that serves",
        HOTFIX,
        "v1.4.2",
        ("revision 2 is passed over, though 3 pods of it are ready now: KubePodNotReady fired while revision 2 ran",),
        fired=(20.0, 8.0),
        moved=3,
    ),
    Past(
        "what serves was rolled back from before",
        ((300.0, image("v2")), (7.0, image("v3"))),
        "v1.4.2",
        ("revision 2 is passed over, though 3 pods of it are ready now: it was rolled back from before",),
        left=("v2",),
        moved=3,
    ),
    Past(
        "a release into another one that was under way",
        ((10.0, image("v2")), (6.0, image("v3"))),
        "v1.4.2",
        ("revision 2 is passed over, though 1 pod of it is ready now: the rollout of revision 2 never came to its end",),
        slow=("v2",),
        moved=2,
    ),
    Past(
        "a stuck release of three days ago, another one, and the pods before both are not ready at this moment",
        ((3 * 24 * 60.0, image("v2")), (7.0, image("v3"))),
        "v1.4.2",
        broken=("v2", "v3"),
        slow=("v1.4.2",),
        lost="v1.4.2",
    ),
    Past(
        "the same on each node, where they come back with the newest version",
        ((3 * 24 * 60.0, image("v2")), (7.0, image("v3"))),
        "v1.4.2",
        ("revision 2, which is newer than 1, is passed over: nothing tells whether the rollout of revision 2 came to its end",),
        broken=("v2", "v3"),
        lost="v1.4.2",
        kind=Kind.DAEMON_SET,
        moved=3,
    ),
    Past(
        "a hotfix of 20 minutes repaired a stuck release of three days ago, and all were replaced at once",
        ((3 * 24 * 60.0, image("v2")), (27.0, image("v3")), (7.1, RECREATE), (7.0, image("v4"))),
        "v3",
        ("revision 3 is not known to be good: revision 3 ran only 20 min",),
        broken=("v2", "v4"),
        moved=3,
    ),
    Past(
        "what was rolled back from, and released again five hours ago, serves",
        ((420.0, image("v2")), (408.0, image("v1.4.2")), (300.0, image("v2")), (7.0, image("v3"))),
        "v2",
        ("revision 4 was rolled back from before, and released again",),
    ),
    Past(
        "somebody went back from what was released again, and the next release crashes",
        (
            (420.0, image("v2")),
            (408.0, image("v1.4.2")),
            (300.0, image("v2")),
            (150.0, image("v1.4.2")),
            (7.0, image("v3")),
        ),
        "v1.4.2",
    ),
    Past(
        "an alert fires since before what serves came",
        ((300.0, image("v2")), (7.0, image("v3"))),
        "v2",
        ("revision 2 is not known to be good: KubePodNotReady fired already before revision 2 came",),
        fired=(360.0, 6.0),
    ),
    Past(
        "an alert fires since before all of them",
        ((300.0, image("v2")), (7.0, image("v3"))),
        "v2",
        ("revision 2 is not known to be good: KubePodNotReady fired already before revision 2 came",),
        fired=(9 * 24 * 60.0, 6.0),
        before=(RECREATE,),
        moved=3,
    ),
    Past(
        "a release came while an alert was open",
        ((2 * 24 * 60.0, image("v2")), (7.0, image("v3"))),
        "v2",
        ("revision 3 came while KubePodNotReady was open, which had fired 13 min before, and is perhaps a repair of that",),
        fired=(20.0, 5.0),
    ),
    Past(
        "a node was drained right before the release, and all were replaced at once",
        ((2 * 24 * 60.0, image("v2")), (7.0, image("v3"))),
        "v2",
        ("revision 2 is not known to be good: KubePodNotReady fired while revision 2 ran, 1 d after it came",),
        before=(RECREATE,),
        fired=(20.0, 17.0),
        moved=3,
    ),
    Past(
        "a node was drained hours before the release",
        ((2 * 24 * 60.0, image("v2")), (7.0, image("v3"))),
        "v2",
        before=(RECREATE,),
        fired=(300.0, 297.0),
        moved=3,
    ),
    Past(
        "this service went back from each of them, and one serves",
        ((300.0, image("v2")), (7.0, image("v3"))),
        "v2",
        ("revision 2 was rolled back from before",),
        left=("v2", "v1.4.2"),
    ),
]  # fmt: skip


async def _lose(stage: Stage, version: str) -> None:
    for pod in await read_pods(stage.cluster, await read_workload(stage.cluster, stage.target)):
        if pod.specs[0].image.endswith(f":{version}"):
            stage.cluster.delete(Kind.POD, "rag7", pod.name)


async def stage_of_past(past: Past) -> Stage:
    world = world_of(past.kind, past.broken, past.slow)
    stage = Stage("pod-restarting", world, f"rag7/{past.kind}/{NAME}")
    now = 0.0
    for operation in past.before:
        stage.edit(past.kind, NAME, operation)
    for minutes, operation in past.story:
        if now:
            stage.clock.advance((now - minutes) * 60)
        now = minutes
        stage.edit(past.kind, NAME, operation)
    if past.lost:
        stage.clock.advance((now - 1) * 60)
        now = 1.0
        await _lose(stage, past.lost)
    stage.clock.advance(now * 60)
    return stage


async def _step(past: Past) -> Step:
    stage = await stage_of_past(past)
    at = stage.clock.now()
    alerts = (
        [PastAlert("KubePodNotReady", *(at - timedelta(minutes=m) for m in past.fired))] if past.fired else []
    )
    found = await revisions(stage.cluster, await read_workload(stage.cluster, stage.target))
    left = frozenset(
        r.fingerprint for r in found if r.images[0].endswith(tuple(f":{v}" for v in past.left)) and past.left
    )
    stage.history = History(alerts=tuple(alerts), left_revisions=left)
    return (await stage.look())[1]["roll-back"]


@pytest.mark.parametrize("past", PASTS, ids=lambda past: past.name)
async def test_a_rollback_goes_to_the_version_that_is_right_or_asks(past: Past) -> None:
    step = await _step(past)
    assert step.applies, step.why
    action = step.actions[0]
    assert action.kind is ActionKind.ROLL_BACK
    goal = action.changes[0].after["spec"]["containers"][0]
    assert goal["image"] == f"{REPOSITORY}:{past.goal}", step.why
    assert goal["resources"]["limits"]["memory"] == past.limit
    assert bool(step.asks) == bool(past.asks), step.asks
    assert [words for words in past.asks if words not in step.asks] == [], step.asks
    assert action.pods_affected == past.moved


async def test_a_version_of_which_no_pod_was_ever_ready_is_never_known_to_be_good() -> None:
    """It stayed in place for three days, and nobody noticed: the pods of the one before went on."""
    past = next(p for p in PASTS if p.name.startswith("a stuck release of three days ago"))
    stage = await stage_of_past(past)
    scene = await stage.scene()
    found = await revisions(stage.cluster, scene.workload)
    pods = await read_pods(stage.cluster, scene.workload)
    known = records_of(found, scene, 1_800, pods_by_template(scene.workload, found, pods, scene.now))
    told = {r.number: known.standing(r) for r in found if not r.current}
    assert (told[2].word, told[2].why) == (
        Word.BAD,
        "the rollout of revision 2 never came to its end, and no pod of it is ready",
    )
    assert told[1].word is Word.GOOD
    rows, _ = await rollouts_of(scene)
    assert [(row.number, row.word) for row in rows] == [(3, "present"), (2, "bad"), (1, "good")]


async def test_an_ordered_rollback_without_a_revision_goes_to_the_one_that_serves() -> None:
    """`kubectl rollout undo` would go to the release before, which never ran."""
    past = next(p for p in PASTS if p.name.startswith("two bad releases"))
    stage = await stage_of_past(past)
    stage.timeline = "rollback"
    step = (await stage.look(revision=None, service=""))[1]["roll-back"]
    assert step.actions[0].params["to_revision"] == 1
    assert (step.actions[0].pods_affected, step.actions[0].params["pods"]) == (1, 3)


async def test_pods_that_became_ready_a_moment_ago_prove_nothing_yet() -> None:
    """Of v1 no pod is left, and v2 came to its end a minute before v3."""
    past = Past("young", ((2.0, image("v2")), (1.2, image("v3"))), "v2")
    step = await _step(past)
    assert "revision 2 is not known to be good: revision 2 ran only" in step.asks


async def test_a_restart_whose_pods_do_not_come_up_replaces_no_serving_pod_of_its_template_unasked() -> None:
    past = Past(
        "restarted",
        ((27.0, image("v2")), (1.0, restart("2026-03-04T02:00:00Z"))),
        "",
        slow=("v2",),
        broken=(),
    )
    scene = await (await stage_of_past(past)).scene()
    step = await rollback_step("roll-back", "why", scene, RollbackParams(), starts=True)
    assert (
        "3 ready pods have the present template from before its restart, and would be replaced" in step.asks
    )


async def test_two_bad_releases_in_a_row_are_told_without_contradiction() -> None:
    """The release before crashed as well, which is what a person is asked about: then not only the newest shows it."""
    step = await _step(next(p for p in PASTS if p.name.startswith("two bad releases")))
    assert "restarted again and again already" in step.asks
    assert "only pods of" not in step.why
    assert "pods of revision 3 show it" in step.why


async def test_a_bad_release_that_a_rollback_passes_over_is_told() -> None:
    """Nothing good is known of it: nobody is asked."""
    story = ((40.0, image("v2")), (7.0, image("v3")))
    step = await _step(Past("bad", story, "v1.4.2", before=(RECREATE,), fired=(38.0, 8.0)))
    assert step.asks == ""
    assert (
        "revision 2, which is newer than 1, is passed over: KubePodNotReady fired while revision 2 ran"
        in step.why
    )
