"""Pods of one template, and only those from after its restart fail: what they read when they start tells them apart, and the release is innocent."""

from __future__ import annotations

import copy

import pytest

from app.kube.parse import RESTARTED_AT
from remediations.pod_restarting import PodRestarting
from tests.unit.causes.world import World, at

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


@pytest.mark.parametrize("world", [Restarted(code=137, reason="OOMKilled"), Restarted(before=0)])
async def test_what_takes_its_time_and_what_no_pod_runs_without_are_as_before(world: World) -> None:
    _, steps = await world.look(PodRestarting())
    assert "made before its restart" not in f"{steps['roll-back'].why} {steps['roll-back'].asks}"
