"""Promise 11 over situations that nobody thought of: any rollout, any faults of any pods, anything changed at any time, any alert.

The whole service on a cluster that shows them. Nothing it does ever helps there, so that it goes through all that its rule allows.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from app.domain.events import EventKind
from app.domain.target import Kind
from app.policy.model import Policy
from app.sim.scenario import Scenario
from remediations.causes import Sureness
from tests.scenario.frozen import FrozenCluster
from tests.scenario.rig import Rig
from tests.scenario.scenes import alert, body, policy, trail
from tests.unit.causes.test_invariants import CHANGES, FAULTS, worlds
from tests.unit.causes.world import SPACE, WEB, World

PODS = ("KubePodNotReady", "KubePodCrashLooping", "KubeDeploymentRolloutStuck")
"""Alerts whose rules act on a cause alone; those of the others allow a step on the symptom (scaling, more memory)."""
ALERTS = (*PODS, "HighErrorRate", "HighLatency", "OOMKilled")
MINUTES = 12


def _rules() -> Policy:
    scope = policy().scope.model_copy(update={"namespaces": (SPACE,)})
    return policy({"scope": scope})


async def _played(world: World, name: str, folder: Path) -> Rig:
    """The service heard this alert and went on until it had nothing left to do."""
    await world.scene()  # builds the manifests
    scenario = Scenario(name="generated", summary="one generated situation", namespace=SPACE)
    rig = Rig(folder / "rig.sqlite", world=scenario, cluster_type=FrozenCluster, use_api=False, stride=30.0)
    rig.policy = _rules()
    cluster = rig.cluster
    assert isinstance(cluster, FrozenCluster)
    for manifest in (
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": SPACE}},
        *world.cluster.objects.values(),
    ):
        cluster.put(manifest)
    cluster.said = world.cluster.log
    for kind in world.cluster.unreadable:
        cluster.deny("get", kind)
        cluster.deny("list", kind)
    await rig.born()
    await rig.send(
        body(alert(rig, started=60 * world.fired, alertname=name, namespace=SPACE, deployment=WEB, team=""))
    )
    await rig.run(60 * MINUTES, alerts=False)
    return rig


@st.composite
def releases(draw: st.DrawFn) -> World:
    """A release that is under way or done, one fault of some of its pods, and something else that was changed: as often guilty as
    not."""
    world = World()
    if draw(st.booleans()):
        world.rolling(
            draw(st.sampled_from([3.0, 8.0])), old=draw(st.integers(1, 3)), new=draw(st.integers(1, 2))
        )
    fault = FAULTS[draw(st.sampled_from(sorted(FAULTS)))]
    for name in draw(st.sets(st.sampled_from(sorted(world.pods)), min_size=1, max_size=2)):
        fault(world, name)
    if draw(st.booleans()):
        world.only_new(CHANGES[draw(st.sampled_from(sorted(CHANGES)))])
    if draw(st.booleans()):
        world.config(changed=draw(st.sampled_from([0.2, 4.0, 9000.0])))
    world.fired = draw(st.sampled_from([1.0, 4.0]))
    return world


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(world=st.one_of(releases(), worlds()), name=st.sampled_from(ALERTS))
@example(World().rolling().crash("new-0"), "KubePodCrashLooping")
@example(World(), "HighLatency")
@example(World().crash("new-0", code=137, reason="OOMKilled", restarts=3, first=2), "OOMKilled")
async def test_promise_11_no_write_without_a_cause_on_another_object_or_before_the_last_one_was_verified(
    world: World, name: str
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        rig = await _played(world, name, Path(folder))
        try:
            done = [m for m in rig.cluster.mutations if not m.dry_run and m.kind is not Kind.EVENT]
            records = await trail(rig)
        finally:
            await rig.close()
    own = {(Kind.DEPLOYMENT, WEB), *((Kind.POD, pod) for pod in world.pods)}
    assert {(m.kind, m.name) for m in done} <= own

    found = [r.data for r in records if r.kind is EventKind.DIAGNOSED]
    causes = [f for d in found for f in d["findings"] if f["code"] == "cause.first"]
    acted = [r for r in records if r.kind is EventKind.ACTION_ENDED and r.data["result"] == "applied"]
    if name in PODS and acted:
        assert causes[0]["data"]["code"]
        assert causes[0]["data"]["sureness"] != Sureness.POSSIBLE.value
        rolled_back = acted[0].data["summary"].startswith("Roll back")
        assert causes[0]["data"]["rollout"] is True or not rolled_back
        # Nobody approves anything here: what only a person may say is never acted upon.
        assert not causes[0]["data"]["asks"] or not rolled_back

    # A step's first action never comes before the verification of the step before it.
    steps: list[str] = []
    verified = 0
    for record in records:
        if record.kind is EventKind.VERIFIED:
            verified += 1
        elif record.kind is EventKind.ACTION_ENDED and record.data["result"] == "applied":
            step = str(record.data["id"]).rpartition(".")[0]
            if step not in steps:
                assert verified >= len(steps), (steps, step)
                steps.append(step)
