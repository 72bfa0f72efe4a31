"""Removing pods: exactly the one that was meant, once, and told to Kubernetes in an Event."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from app.domain.errors import ClusterUnavailable, DisruptionBlocked, ObjectChanged
from app.domain.outcome import ActionResult
from app.domain.plan import Action
from app.domain.target import Kind
from app.kube import actions, apply
from app.kube.event import event_for
from app.kube.readback import PAUSES
from tests.unit.kube import manifests as m
from tests.unit.kube.fake import FakeCluster, raising
from tests.unit.kube.test_actions import built
from tests.unit.kube.test_apply import ID, LOST, carry_out, real_writes, scaling

POD = "langgraph-hash2-abcde"


def removal(kind: str = "delete") -> Action:
    build = actions.delete_pod if kind == "delete" else actions.evict_pod
    return built(build(m.pod_snapshot(), m.workload()))


@pytest.mark.parametrize("kind", ["delete", "evict"])
async def test_a_pod_is_removed_once_by_its_uid(kind: str) -> None:
    cluster = FakeCluster(m.pod())
    action = removal(kind)
    assert (await apply.check(cluster, action)).ref is not None
    await apply.dry_run(cluster, action, ID, action.object)
    assert await apply.in_place(cluster, action, ID) == ""
    for _ in range(2):
        assert (await carry_out(cluster, action)).result is ActionResult.APPLIED
    assert cluster.writes == [(kind, True), (kind, False)]
    assert await apply.in_place(cluster, action, ID)
    assert (await apply.check(cluster, action)).code == "object_missing"


async def test_a_new_pod_of_the_same_name_stays() -> None:
    cluster = FakeCluster(m.pod())
    cluster.of(Kind.POD, POD)["metadata"]["uid"] = "the-next-one"
    assert (await carry_out(cluster, removal())).result is ActionResult.APPLIED
    assert real_writes(cluster) == []


async def test_a_pod_that_changed_hands_is_not_removed() -> None:
    cluster = FakeCluster(m.pod(owner=m.owned_by("ReplicaSet", "other", "other-uid")))
    assert (
        "does not belong to rag7/Deployment/langgraph any more"
        in (await apply.check(cluster, removal())).text
    )


async def test_a_terminating_pod_counts_as_removed_and_is_not_checked_in() -> None:
    cluster = FakeCluster(m.pod())
    cluster.of(Kind.POD, POD)["metadata"]["deletionTimestamp"] = "2026-03-04T03:00:00Z"
    assert (await carry_out(cluster, removal())).result is ActionResult.APPLIED
    assert "is being deleted" in (await apply.check(cluster, removal())).text
    assert real_writes(cluster) == []


async def test_a_budget_that_says_no_is_a_refusal_with_its_waiting_time() -> None:
    cluster = FakeCluster(m.pod())
    cluster.before = [raising(DisruptionBlocked("needs 3 healthy pods and has 3", retry_after=10))]
    done = await carry_out(cluster, removal("evict"))
    assert (done.result, done.code, done.retry_after) == (ActionResult.REFUSED, "disruption_blocked", 10)


@pytest.mark.parametrize("arrived", [True, False])
async def test_a_lost_answer_to_a_removal_is_settled_by_looking(arrived: bool) -> None:
    cluster = FakeCluster(m.pod())
    (cluster.after if arrived else cluster.before).append(raising(LOST))
    if arrived:
        assert (await carry_out(cluster, removal())).result is ActionResult.APPLIED
    else:
        with pytest.raises(ClusterUnavailable, match="nothing was written"):
            await carry_out(cluster, removal())
        assert (await carry_out(cluster, removal())).result is ActionResult.APPLIED
    assert real_writes(cluster) == ["delete"]


async def test_a_removal_that_cannot_be_looked_at_stays_unclear() -> None:
    cluster = FakeCluster(m.pod())

    def lost() -> None:
        cluster.on_get = [raising(ClusterUnavailable("down"))] * len(PAUSES)
        raise LOST

    cluster.after = [lost]
    assert (await carry_out(cluster, removal())).result is ActionResult.UNCLEAR


async def test_a_pod_whose_version_keeps_moving_is_given_up() -> None:
    cluster = FakeCluster(m.pod())
    cluster.before = [raising(ObjectChanged("conflict"))] * 9
    done = await carry_out(cluster, removal("evict"))
    assert (done.result, done.code, len(cluster.before)) == (ActionResult.REFUSED, "object_changed", 4)


def test_an_event_fits_the_api_and_is_the_same_each_time() -> None:
    at = datetime(2026, 3, 4, 4, 0, 0, 0, timezone(timedelta(hours=1)))
    event = event_for(scaling(FakeCluster(m.deployment())), ID, "Remediated", "ä" * 900, at)
    assert event["eventTime"] == "2026-03-04T03:00:00.000000Z"
    assert len(event["note"].encode()) <= 1024
    assert event["note"].endswith("ä…")
    assert (event["metadata"]["namespace"], event["action"]) == ("rag7", "scale")
    assert event["regarding"] == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "namespace": "rag7",
        "name": "langgraph",
        "uid": "dep-uid",
    }
    later = at.astimezone(UTC) + timedelta(hours=1)
    again = event_for(scaling(FakeCluster(m.deployment())), ID, "Remediated", "short", later)
    other = event_for(scaling(FakeCluster(m.deployment())), f"{ID}/undo", "Undone", "short", later)
    assert again["metadata"]["name"] == event["metadata"]["name"] != other["metadata"]["name"]
    assert again["note"] == "short"
