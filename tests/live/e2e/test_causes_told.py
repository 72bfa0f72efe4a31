"""Each cause as the service's process tells it and acts on it: an alert for each situation of the causes at once, the thread's words, and
the API server's audit log as the witness of the one right write, or of none."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime

import pytest

from app.domain.json import Obj
from app.kube.client import KubeCluster
from remediations.causes import CauseCode as C
from tests.live.e2e.service import Service, body_of, policy
from tests.live.e2e.shop import SERVICE_USER, role_rules
from tests.live.e2e.stage import Stage
from tests.live.stack import ControlPlane, wait_until
from tests.live.test_causes import SITUATIONS, Situation, found, set_up

pytestmark = pytest.mark.live

Places = list[tuple[Situation, str]]
IN_FRONT = (C.SERVICE_SELECTOR, C.SERVICE_PORT, C.NETWORK_POLICY)
"""What stands in front of pods that are well."""
DECIDED = ("escalated", "observed", "waiting", "acting", "verifying")


def _expected(alertname: str, one: Situation) -> tuple[set[str], list[tuple[str, str]]]:
    """What becomes of the incident, and what is written: a release that cannot start is rolled back for its pods; whatever else a
    rollback does not mend is a person's; pods that are well, or stopped by design, are left alone."""
    if one.code is C.SCALED_TO_ZERO:
        return {"observed"}, []
    if alertname == "PodRestarting":
        if one.code is None or one.code in IN_FRONT:
            return {"observed"}, []
        rolled = [("patch", "deployments")] if one.by_rollout else []
        return ({"acting", "verifying"} if one.by_rollout else {"escalated"}), rolled
    if one.code is None:  # its pods are held back by their CPU limit, as Prometheus has it
        return {"acting", "verifying"}, [("patch", "deployments")]
    return ({"waiting"} if one.code in IN_FRONT else {"escalated"}), []


@pytest.mark.parametrize("alertname", ["PodRestarting", "HighErrorRate"])
async def test_each_cause_is_told_and_what_it_wants_is_written_once_or_nothing_is(
    stage: Stage, cluster: KubeCluster, alertname: str
) -> None:
    plane = stage.tools.plane
    places = [(one, set_up(plane, one)) for one in SITUATIONS]
    unlike = await asyncio.gather(*(found(cluster, one, namespace) for one, namespace in places))
    assert not any(unlike), unlike
    # A step is verified for longer than it takes to decide all, of which those without a step wait a minute.
    verify = {"settle": "1s", "timeout": "10m", "poll": "1s"}
    text = policy(scope={"namespaces": [namespace for _, namespace in places]}, verify=verify)
    for _, namespace in places:
        plane.grant(SERVICE_USER, role_rules(namespace, text=text), namespace)
    service = Service(stage.tools.new_place(policy_text=text))
    try:
        await asyncio.to_thread(service.serve)
        await asyncio.to_thread(_tell, service, alertname, places)
        wrong = [await asyncio.to_thread(_wrong, service, plane, alertname, *each) for each in places]
    finally:
        service.close()
    assert not any(wrong), "\n".join(filter(None, wrong))


def _tell(service: Service, alertname: str, places: Places) -> None:
    """An alert of each, and all are decided."""
    began = datetime.now(UTC)
    for _, namespace in places:
        labels = {"alertname": alertname, "namespace": namespace, "deployment": "web", "severity": "critical"}
        assert service.post(body_of(labels, began)).status_code == 202

    def decided() -> bool:
        every = [service.incidents(namespace) for _, namespace in places]
        return all(found and found[0]["state"] in DECIDED for found in every)

    wait_until(decided, 240.0, what="all alerts to be decided", interval=1.0)


def _wrong(service: Service, plane: ControlPlane, alertname: str, one: Situation, namespace: str) -> str:
    """Empty where the incident, its words and the audit log are what they have to be."""
    states, writes = _expected(alertname, one)

    def written() -> list[tuple[str, str]]:
        every = plane.mutations(user=SERVICE_USER, namespace=namespace)
        return [(m.verb, m.target) for m in every if m.target != "events"]

    if writes:
        wait_until(lambda: written() != [], 30.0, what=f"a write for {one.name}")
    (incident,) = service.incidents(namespace)
    whole: Obj = service.get(f"incidents/{incident['id']}")
    told = not states - {"escalated", "waiting"} or bool(writes)
    said = not told or one.code is None or one.word in json.dumps(whole, ensure_ascii=False)
    if incident["state"] in states and written() == writes and said:
        return ""
    return f"{one.name}: {incident['state']}, {written()}, said {said}: {json.dumps(whole)[-1500:]}"
