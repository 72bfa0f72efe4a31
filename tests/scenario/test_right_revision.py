"""A bad version that was rolled back from never comes back by our hand: not in the next incident, not after a person."""

from __future__ import annotations

import copy
from datetime import timedelta
from pathlib import Path

import pytest

from app.domain.outcome import IncidentState
from app.domain.target import Kind
from app.flow.deciding.history import history_of
from app.kube.parse import fingerprint
from app.policy.model import Policy
from app.sim import Scenario, load_scenario
from tests.scenario.rig import Rig
from tests.scenario.scenes import TARGET, alert, all_incidents, all_runs, body, born, policy, writes
from tests.unit.remediations.test_right_version import NAME, image, world_of

BAD, GOOD = "v1.5.0", "v1.4.2"


def _image(rig: Rig) -> str:
    deployment = rig.cluster.peek(Kind.DEPLOYMENT, "rag7", "langgraph")
    assert deployment is not None
    return str(deployment["spec"]["template"]["spec"]["containers"][0]["image"]).rpartition(":")[2]


def _long_memory() -> Policy:
    """No cooldown, and a window in which the good version's ReplicaSet counts as recent too."""
    quick = policy(cooldown=timedelta(seconds=1))
    rules = [
        r.model_copy(update={"params": {**r.params, "recent_deployment": 30 * 86_400}})
        if r.remediation in ("high-error-rate", "pod-restarting")
        else r
        for r in quick.rules
    ]
    return quick.model_copy(update={"rules": tuple(rules)})


async def _person_restores(rig: Rig) -> None:
    """`kubectl rollout undo`: the old ReplicaSet's template without its hash."""
    sets = await rig.cluster.list_objects(Kind.REPLICA_SET, "rag7", "app=langgraph")
    old = next(s for s in sets if GOOD in s["spec"]["template"]["spec"]["containers"][0]["image"])
    template = copy.deepcopy(old["spec"]["template"])
    template["metadata"]["labels"].pop("pod-template-hash", None)
    patch = [{"op": "replace", "path": "/spec/template", "value": template}]
    rig.cluster.edit(Kind.DEPLOYMENT, "rag7", "langgraph", patch, manager="kubectl-rollout")


async def test_the_next_incident_does_not_bring_the_bad_version_back(tmp_path: Path) -> None:
    rig = await born(tmp_path, rules=_long_memory(), use_api=False)
    try:
        await rig.run(900)
        assert (_image(rig), writes(rig)) == (GOOD, ["patch langgraph"])
        await rig.send(body(alert(rig, started=5, severity="warning")))
        await rig.run(300)
        assert (_image(rig), writes(rig)) == (GOOD, ["patch langgraph"])
        last = (await all_incidents(rig))[-1]
        assert last.state is IncidentState.ESCALATED
        assert "a return and no deployment, and it still fires" in rig.notebook.text
    finally:
        await rig.close()


async def test_a_persons_rollback_is_not_taken_for_a_deployment(tmp_path: Path) -> None:
    rig = await born(tmp_path, rules=_long_memory(), use_api=False)
    try:
        await _person_restores(rig)
        await rig.run(10)
        await rig.send(body(alert(rig)))
        await rig.run(600)
        assert (_image(rig), writes(rig)) == (GOOD, [])
    finally:
        await rig.close()


async def test_what_the_target_was_rolled_away_from_is_remembered_across_incidents_and_restarts(
    tmp_path: Path,
) -> None:
    rig = await born(tmp_path)
    bad = rig.cluster.peek(Kind.DEPLOYMENT, "rag7", "langgraph")
    assert bad is not None
    try:
        await rig.run(900)
        await rig.die()
        await rig.born()
        now, key = rig.clock.now(), rig.store.vault.key
        other = await rig.store.read(lambda conn: history_of(conn, "inc_another", TARGET, now, key, ()))
        elsewhere = await rig.store.read(
            lambda conn: history_of(conn, "inc_another", "rag7/Deployment/x", now, key, ())
        )
        left = fingerprint(bad["spec"]["template"])
        assert (left in other.left_revisions, left in elsewhere.left_revisions) == (True, False)
        assert other.tried == ()
    finally:
        await rig.close()


async def test_a_version_that_somebody_deploys_again_after_our_rollback_is_a_persons_matter(
    tmp_path: Path,
) -> None:
    """Whoever put it back overruled us: to take it away again would be a fight, and is told instead."""
    rig = await born(tmp_path, rules=_long_memory(), use_api=False)
    bad = rig.cluster.peek(Kind.DEPLOYMENT, "rag7", "langgraph")
    assert bad is not None
    try:
        await rig.run(900)
        assert (_image(rig), writes(rig)) == (GOOD, ["patch langgraph"])
        again = {"op": "replace", "path": "/spec/template", "value": bad["spec"]["template"]}
        rig.cluster.edit(Kind.DEPLOYMENT, "rag7", "langgraph", [again], manager="pipeline")
        await rig.run(900)
        assert (_image(rig), writes(rig)) == (BAD, ["patch langgraph"])
        assert (await all_incidents(rig))[-1].state is IncidentState.ESCALATED
    finally:
        await rig.close()


def _both_fail() -> Scenario:
    """Somebody else's migration took a column away; three minutes before the alert a release came, which fails like the one before."""
    shipped = load_scenario("high-error-rate")
    bad, good, *rest = shipped.behaviours
    first = bad.error_lines[0]
    line = first.line.replace(
        "TypeError: connect() got an unexpected keyword argument 'pool_size'", "KeyError: 'tenant_id'"
    )
    same = {"error_ratio": bad.error_ratio, "error_lines": (first.model_copy(update={"line": line}),)}
    both = (bad.model_copy(update=same), good.model_copy(update=same), *rest)
    story = tuple(step.model_copy(update={"at": -180.0}) for step in shipped.story)
    return shipped.model_copy(update={"behaviours": both, "story": story})


@pytest.mark.parametrize("measured", [True, False])
async def test_a_release_that_came_into_an_outage_is_not_rolled_back_by_itself(
    tmp_path: Path, *, measured: bool
) -> None:
    """Its pods' logs have the errors from their start, and those of the pods before are gone."""
    rig = Rig(tmp_path / "rig.sqlite", world=_both_fail())
    rig.policy = policy()
    await rig.born()
    try:
        rig.cluster.metrics.available = measured
        await rig.send(body(alert(rig, started=5)))
        await rig.run(120, alerts=False)
        assert (_image(rig), writes(rig)) == (BAD, [])
        assert [run.state.value for run in await all_runs(rig)] == ([] if measured else ["waiting"])
        told = "errors were there" if measured else "whether the errors came with the rollout"
        assert told in rig.notebook.text
    finally:
        await rig.close()


def _slow_start() -> Scenario:
    """The broken release is still to come, and its pods take minutes to start."""
    shipped = load_scenario("high-error-rate")
    bad, *rest = shipped.behaviours
    slow = bad.model_copy(update={"ready_after": 200.0})
    return shipped.model_copy(update={"behaviours": (slow, *rest), "story": ()})


async def test_a_guilty_release_whose_pods_are_slow_to_start_is_rolled_back_by_itself(tmp_path: Path) -> None:
    """A pod that still starts is a doubt about its readiness, and none about the errors."""
    rig = Rig(tmp_path / "rig.sqlite", world=_slow_start(), stride=10.0)
    rig.policy = policy()
    await rig.born()
    try:
        await rig.run(900)
        release = {
            "op": "replace",
            "path": "/spec/template/spec/containers/0/image",
            "value": f"ghcr.io/stacey77/rag7:{BAD}",
        }
        rig.cluster.edit(Kind.DEPLOYMENT, "rag7", "langgraph", [release], manager="pipeline")
        await rig.run(1_500)
        assert (_image(rig), writes(rig)) == (GOOD, ["patch langgraph"])
    finally:
        await rig.close()


async def test_a_hotfix_that_serves_is_what_a_stuck_release_goes_back_to(tmp_path: Path) -> None:
    """The version before ran for days and is known to be good; the hotfix is young, and its pods serve."""
    rig = Rig(tmp_path / "rig.sqlite", world=world_of(Kind.DEPLOYMENT, ("v3",), ()), stride=30.0)
    rig.policy = policy()
    await rig.born()
    try:
        rig.cluster.edit(Kind.DEPLOYMENT, "rag7", NAME, [image("v2")], manager="kubectl-edit")
        await rig.run(1_200)
        rig.cluster.edit(Kind.DEPLOYMENT, "rag7", NAME, [image("v3")], manager="pipeline")
        await rig.run(900)
        now = rig.cluster.peek(Kind.DEPLOYMENT, "rag7", NAME)
        assert now is not None
        assert now["spec"]["template"]["spec"]["containers"][0]["image"].endswith(":v2")
        assert writes(rig) == [f"patch {NAME}"]
        assert "revision 2 serves: 3 pods of it are ready now" in rig.notebook.text
    finally:
        await rig.close()
