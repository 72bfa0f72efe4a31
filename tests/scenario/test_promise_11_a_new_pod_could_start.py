"""Promise 11: no step takes running pods down, or adds pods, while a new pod could not start; what stands in the way is named.

The whole service on the shipped stories, with one thing taken away or filled up before the alert is decided.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from app.domain.decision import Code, Mode, Verdict
from app.domain.events import EventKind
from app.domain.json import Obj
from app.domain.outcome import RunState
from app.domain.target import Kind
from app.policy.model import NewPodsTerms, OwnedMode, Policy
from app.sim.faults import Request
from app.sim.scenario import Scenario
from tests.births import scenario_of
from tests.scenario.rig import Rig
from tests.scenario.scenes import (
    alert,
    all_incidents,
    all_runs,
    body,
    born,
    closed,
    decision,
    policy,
    trail,
    writes,
)

NAMESPACE = "rag7"
MINUTES = 8


@cache
def _world(story: str) -> Scenario:
    """The story, in which all Deployments take environment and pull Secret from the namespace."""
    scenario = scenario_of(story)
    objects = copy.deepcopy(scenario.objects)
    for manifest in objects:
        if manifest["kind"] == "Deployment":
            manifest["spec"]["template"]["spec"]["imagePullSecrets"] = [{"name": "registry"}]
            for container in manifest["spec"]["template"]["spec"]["containers"]:
                container["envFrom"] = [
                    {"configMapRef": {"name": "langgraph-config"}},
                    {"secretRef": {"name": "langgraph-secrets"}},
                ]
    return scenario.model_copy(update={"objects": (*objects, _named("Secret", "registry"))})


async def _born(path: Path, story: str, rules: Policy | None = None) -> Rig:
    return await born(path, world=_world(story), rules=rules)


async def _told(rig: Rig) -> str:
    """What the gate said on the last decision, after a while."""
    for _ in range(MINUTES):
        await rig.run(60)
    (incident, *_) = await all_incidents(rig)
    found = await decision(rig, incident.id)
    return next((g.value for g in found.gates if g.gate == "new pods"), "")


def _once_written(rig: Rig, happens: Callable[[Rig], object]) -> list[Request]:
    """Let something happen in the very moment after the first patch; the list has that patch then."""
    seen: list[Request] = []

    def witness(request: Request, when: str) -> None:
        if not seen and request.writes and (request.verb, when) == ("patch", "after"):
            seen.append(request)
            happens(rig)

    rig.cluster.on_request(witness)
    return seen


def _without_config(rig: Rig) -> None:
    rig.cluster.delete(Kind.CONFIG_MAP, NAMESPACE, "langgraph-config")


def _without_secret(rig: Rig) -> None:
    rig.cluster.delete(Kind.SECRET, NAMESPACE, "langgraph-secrets")


def _without_pull_secret(rig: Rig) -> None:
    rig.cluster.delete(Kind.SECRET, NAMESPACE, "registry")


def _named(kind: str, name: str, **fields: object) -> Obj:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": NAMESPACE}, **fields}


def _full_quota(rig: Rig) -> None:
    """As many pods as there are, and not one more."""
    pods = sum(1 for _ in rig.cluster._store.all(Kind.POD, NAMESPACE))
    rig.cluster.create(_named("ResourceQuota", "team", spec={"hard": {"pods": str(pods)}}))


def _restricted(rig: Rig) -> None:
    """From now on the namespace refuses pods that could run as root; those that run go on."""
    path = "/metadata/labels/pod-security.kubernetes.io~1enforce"
    rig.cluster.edit(Kind.NAMESPACE, "", NAMESPACE, [{"op": "add", "path": path, "value": "restricted"}])


OBSTACLES: list[tuple[str, Callable[[Rig], None], str]] = [
    ("out-of-memory", _without_pull_secret, "imagePullSecrets needs Secret registry, which does not exist"),
    ("out-of-memory", _restricted, 'violates PodSecurity "restricted:latest"'),
    ("high-latency", _without_config, "needs ConfigMap langgraph-config, which does not exist"),
    ("high-latency", _full_quota, "ResourceQuota team refuses new pods"),
    ("high-latency", _restricted, 'violates PodSecurity "restricted:latest"'),
    ("high-error-rate", _full_quota, "ResourceQuota team refuses new pods"),
    ("high-error-rate", _restricted, 'violates PodSecurity "restricted:latest"'),
]


@pytest.mark.parametrize(
    ("story", "obstacle", "text"), OBSTACLES, ids=[f"{s}: {o.__name__[1:]}" for s, o, _ in OBSTACLES]
)
async def test_no_step_is_taken_into_an_obstacle_and_it_is_named(
    tmp_path: Path, story: str, obstacle: Callable[[Rig], None], text: str
) -> None:
    rig = await _born(tmp_path, story)
    obstacle(rig)
    told = await _told(rig)
    assert writes(rig) == []
    assert text in told
    assert text in rig.notebook.text
    await rig.close()


@pytest.mark.parametrize("story", ["out-of-memory", "high-latency", "pod-restarting"])
async def test_nothing_is_restarted_scaled_or_raised_with_its_configuration_gone(
    tmp_path: Path, story: str
) -> None:
    """Also where the pods that run have fallen to it already, so that no step is left to ask the gate about."""
    rig = await _born(tmp_path, story)
    _without_config(rig)
    _without_secret(rig)
    await _told(rig)
    assert writes(rig) == []
    await rig.close()


async def test_a_rollback_to_what_needs_a_config_map_of_its_own_that_is_gone_is_not_done(
    tmp_path: Path,
) -> None:
    """As a tool leaves it that names each version's ConfigMap by its contents and removes the former one: what runs needs none of it."""
    rig = await born(tmp_path)
    sets = await rig.cluster.list_objects(Kind.REPLICA_SET, NAMESPACE, "app=langgraph")
    old = next(s for s in sets if "v1.4.2" in s["spec"]["template"]["spec"]["containers"][0]["image"])
    path = "/spec/template/spec/containers/0/envFrom"
    needs = [{"configMapRef": {"name": "langgraph-config-7d9f2k"}}]
    patch = [{"op": "add", "path": path, "value": needs}]
    rig.cluster.edit(
        Kind.REPLICA_SET, NAMESPACE, old["metadata"]["name"], patch, manager="kube-controller-manager"
    )
    told = await _told(rig)
    assert "needs ConfigMap langgraph-config-7d9f2k, which does not exist" in told
    assert writes(rig) == []
    await rig.close()


async def test_once_the_obstacle_is_gone_the_step_is_taken(tmp_path: Path) -> None:
    rig = await _born(tmp_path, "high-latency")
    _full_quota(rig)
    await _told(rig)
    assert writes(rig) == []
    rig.cluster.delete(Kind.RESOURCE_QUOTA, NAMESPACE, "team")
    for _ in range(
        70
    ):  # what no clock lifts is looked at again after as long as it has stood, an hour at most
        await rig.run(60)
    assert "patch langgraph" in writes(rig)[0]
    await rig.close()


async def test_promise_5_what_goes_away_between_the_decision_and_the_write_stops_it(tmp_path: Path) -> None:
    """The very last look before the write finds the ConfigMap gone."""
    rig = await _born(tmp_path, "high-error-rate")
    gone = False

    def take_away(request: Request, when: str) -> None:
        nonlocal gone
        if not gone and (request.verb, request.dry_run, when) == ("patch", True, "before"):
            gone = True
            _without_config(rig)

    rig.cluster.on_request(take_away)
    await rig.run(300)
    assert gone
    assert writes(rig) == []
    found = await all_runs(rig)
    assert "needs ConfigMap langgraph-config, which does not exist" in found[-1].result
    await rig.close()


async def test_promise_4_secrets_that_may_not_be_read_make_it_ask(tmp_path: Path) -> None:
    rig = await _born(tmp_path, "high-latency")
    rig.cluster.deny("get", Kind.SECRET)
    await rig.run(180)
    found = await decision(rig)
    assert found.verdict is Verdict.ASK
    assert closed(found) == {"new pods": Code.POD_UNPROVEN}
    assert "Secret langgraph-secrets may not be read" in found.text
    assert writes(rig) == []
    await rig.close()


async def test_a_team_that_says_so_acts_without_that_right(tmp_path: Path) -> None:
    terms = NewPodsTerms(unknown=OwnedMode.ALLOW)
    rig = await _born(tmp_path, "high-latency", rules=policy(new_pods=terms))
    rig.cluster.deny("get", Kind.SECRET)
    await rig.run(180)
    assert writes(rig)[0] == "patch langgraph-api"
    await rig.close()


async def test_without_the_optional_rights_the_story_ends_as_always(tmp_path: Path) -> None:
    rig = await _born(tmp_path, "high-error-rate")
    for verb, kind in (
        ("create", Kind.POD),
        ("list", Kind.NODE),
        ("get", Kind.PRIORITY_CLASS),
        ("list", Kind.ROLLOUT),
        ("list", Kind.VPA),
        ("list", Kind.SCALED_OBJECT),
    ):
        rig.cluster.deny(verb, kind)
    await rig.run(300)
    assert writes(rig) == ["patch langgraph"]
    assert "a dry run of a pod is not allowed" in next(
        g.value for g in (await decision(rig)).gates if g.gate == "new pods"
    )
    await rig.close()


async def _rolled_back(path: Path) -> Rig:
    """The broken release was rolled back, verified, and v1.4.2 runs."""
    rig = await _born(path, "high-error-rate")
    for _ in range(10):
        await rig.run(60)
    assert writes(rig) == ["patch langgraph"]
    assert (await all_runs(rig))[0].state is RunState.FIXED
    return rig


@pytest.mark.parametrize(
    ("obstacle", "text"),
    [
        (_without_config, "needs ConfigMap langgraph-config, which does not exist"),
        (_full_quota, "ResourceQuota team refuses new pods"),
        (_restricted, 'violates PodSecurity "restricted:latest"'),
    ],
    ids=["without its ConfigMap", "full quota", "restricted"],
)
async def test_an_undo_waits_as_long_as_no_pod_of_what_it_puts_back_could_start(
    tmp_path: Path, obstacle: Callable[[Rig], None], text: str
) -> None:
    """A person ordered it; whoever wants it all the same says so."""
    rig = await _rolled_back(tmp_path)
    obstacle(rig)
    (run,) = await all_runs(rig)
    await rig.operations.undo(run.id, "ana")
    await rig.run(120)
    (held,) = await all_runs(rig)
    assert writes(rig) == ["patch langgraph"]
    assert (held.state, text in held.waits_for) == (RunState.UNDOING, True)
    await rig.operations.undo(run.id, "ana", despite=True)
    await rig.run(60)
    assert writes(rig) == ["patch langgraph", "patch langgraph (undo)"]
    await rig.close()


async def test_an_undo_goes_on_once_the_obstacle_is_gone(tmp_path: Path) -> None:
    rig = await _rolled_back(tmp_path)
    _full_quota(rig)
    (run,) = await all_runs(rig)
    await rig.operations.undo(run.id, "ana")
    await rig.run(120)
    rig.cluster.delete(Kind.RESOURCE_QUOTA, NAMESPACE, "team")
    await rig.run(60)
    assert writes(rig) == ["patch langgraph", "patch langgraph (undo)"]
    await rig.close()


async def test_the_rules_own_undo_waits_too_and_a_person_is_called(tmp_path: Path) -> None:
    """The rollback met a ConfigMap that went in the very moment of its write; to take it back needs a new pod as well, for one of the old
    ones had to go first."""
    world = copy.deepcopy(_world("high-error-rate"))
    for manifest in world.objects:
        if manifest["kind"] == "Deployment":
            rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}
            manifest["spec"]["strategy"] = rolling
    rig = await born(tmp_path, world=world, use_api=False)
    _once_written(rig, _without_config)
    await rig.until(lambda: writes(rig) == ["patch langgraph"])
    for _ in range(40):
        await rig.send(body(alert(rig, severity="critical")))
        await rig.run(30, alerts=False)
    (run, *_) = await all_runs(rig)
    assert writes(rig) == ["patch langgraph"]
    assert (run.state, run.waits_for.partition(":")[0]) == (RunState.UNDOING, "held")
    assert "needs ConfigMap langgraph-config" in rig.notebook.text
    assert len(await trail(rig, EventKind.ESCALATED)) == 1
    await rig.close()


async def test_an_undo_to_what_still_runs_in_full_needs_no_new_pod(tmp_path: Path) -> None:
    """The rollback met a quota that was filled in the very moment of its write; its rollout is stuck, and taking it back ends that."""
    rig = await born(tmp_path, world=_world("high-error-rate"), use_api=False)
    full = _once_written(rig, _full_quota)
    await rig.run(900)
    assert full
    assert writes(rig) == ["patch langgraph", "patch langgraph (undo)"]
    await rig.close()


async def test_what_keeps_a_step_from_being_taken_calls_a_person_once_and_is_taken_when_it_is_gone(
    tmp_path: Path,
) -> None:
    """Nobody else can make room; it does not wait in silence, and it does not wait for them either."""
    rig = await _born(tmp_path, "high-error-rate")
    _full_quota(rig)
    await rig.run(1_200)
    assert writes(rig) == []
    (called,) = await trail(rig, EventKind.ESCALATED)
    assert "ResourceQuota team refuses new pods" in called.data["reason"]
    rig.cluster.delete(Kind.RESOURCE_QUOTA, NAMESPACE, "team")
    await rig.until(lambda: writes(rig) == ["patch langgraph"], limit=7_200)
    await rig.close()


async def test_where_it_only_looks_nobody_is_called_for_an_obstacle(tmp_path: Path) -> None:
    rig = await _born(tmp_path, "high-error-rate", rules=policy({"mode": Mode.OBSERVE}))
    _full_quota(rig)
    await rig.run(600)
    assert await trail(rig, EventKind.ESCALATED) == []
    await rig.close()
