"""The right revision, a slow rollout and a person's hand, on a real API server with its audit log as the witness."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from tests.live.e2e.scene import Cast, Scene, Script
from tests.live.e2e.shop import BAD, ERRORS, GOOD, MERGE, STRATEGIC
from tests.live.e2e.stage import scene

pytestmark = pytest.mark.live

ASKS = Cast(asks=True, of_rules={"cooldown": "1s"})
SLOW = Cast(asks=True, of_rules={"verify": {"settle": "1s", "timeout": "6s", "poll": "1s"}})


def _bad_release(s: Scene) -> Script:
    s.shop.deploy()
    yield s.shop.settled
    s.shop.plane.set_logs(s.shop.namespace, "app=web", "main", ERRORS)


@scene(ASKS)
def test_f1_a_second_alert_does_not_bring_the_bad_version_back(s: Scene) -> Script:
    yield from s.opens()
    yield from _bad_release(s)
    s.fire("HighErrorRate")
    yield from s.fixed(lambda: s.shop.container["image"] == GOOD, "HighErrorRate")
    yield s.shop.settled
    first = s.service.incidents(s.shop.namespace)[0]["id"]
    s.fire("HighErrorRate")
    yield lambda: s.service.incidents(s.shop.namespace)[0]["id"] != first
    yield lambda: s.state == "waiting"  # whether more pods of what it went back to are to be made
    assert s.shop.container["image"] == GOOD
    sent = [json.dumps(m.request_object) for m in s.written]
    assert (len([t for t in sent if GOOD in t]), [t for t in sent if BAD in t and GOOD not in t]) == (1, [])


@scene(ASKS)
def test_f1_a_persons_rollback_is_left_alone(s: Scene) -> Script:
    yield from s.opens()
    yield from _bad_release(s)
    body = {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": GOOD}]}}}}
    query = {"fieldManager": "kubectl-rollout"}
    s.shop.plane.client().patch(s.shop.path(), json=body, headers=STRATEGIC, params=query).raise_for_status()
    yield s.shop.settled
    s.fire("HighErrorRate")
    yield lambda: s.state == "waiting"  # whether more pods of what they went back to are to be made
    assert s.run["step"] == "scale-up"
    assert s.shop.container["image"] == GOOD
    assert s.written == []


@scene(SLOW)
def test_f3_a_slow_rollout_that_helps_is_waited_for_and_never_undone(s: Scene) -> Script:
    """Twelve seconds until a pod counts, with a timeout of six."""
    yield from s.opens()
    yield from _bad_release(s)
    s.shop.edit({"spec": {"minReadySeconds": 12}}, MERGE)
    yield s.shop.settled
    s.fire("HighErrorRate")
    yield lambda: s.shop.container["image"] == GOOD
    s.fire("HighErrorRate", resolved=True)
    yield lambda: s.run["state"] not in ("acting", "verifying", "requested")
    assert s.shop.container["image"] == GOOD
    assert [m.verb for m in s.written] == ["patch"]
    assert s.run["state"] in ("fixed", "inconclusive")


@scene(Cast(asks=True))
def test_d_a_person_who_takes_our_change_back_ends_the_run(s: Scene) -> Script:
    yield from s.opens()
    s.fire()
    yield s.scaled(8)
    yield lambda: s.state == "verifying"
    s.shop.edit({"spec": {"replicas": 3}}, MERGE)
    yield s.ended("taken_over")
    assert "taken back by kubectl-edit" in s.run["result"]
    assert [m.verb for m in s.written] == ["patch"]
    assert s.shop.get()["spec"]["replicas"] == 3


@scene(Cast(asks=True, of_rules={"approval": {"expires": "30m"}}))
def test_d_a_change_after_the_alert_fired_makes_it_ask(s: Scene) -> Script:
    """Somebody is at it: nothing is written over what they did without a word."""
    yield from s.opens()
    fired = datetime.now(UTC)
    yield lambda: (datetime.now(UTC) - fired).total_seconds() > 2  # times of the API server are whole seconds
    s.shop.edit({"spec": {"template": {"metadata": {"annotations": {"by": "hand"}}}}}, MERGE)
    yield s.shop.settled
    assert s.alertmanager is not None
    s.alertmanager.fire(s.labels(), {"summary": "slow"}, fired)
    yield lambda: s.state == "waiting"
    yield s.last("kubectl-edit changed")
    assert s.written == []
