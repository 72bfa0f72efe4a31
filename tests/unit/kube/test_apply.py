"""Carrying out actions: once, on the object that was meant, with certainty about what happened."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from inline_snapshot import snapshot

from app.domain.cluster import MARKER, OPT
from app.domain.errors import (
    AccessDenied,
    ClusterThrottled,
    ClusterUnavailable,
    ObjectInvalid,
    OutcomeUnclear,
    RemediatorError,
    TryLater,
)
from app.domain.json import Obj
from app.domain.outcome import ActionResult
from app.domain.plan import Action
from app.domain.target import Kind
from app.kube import actions, apply
from app.kube.readback import PAUSES
from tests.unit.kube import manifests as m
from tests.unit.kube.fake import FakeCluster, raising
from tests.unit.kube.test_actions import built

ID = "run_1/0.0"
D = Kind.DEPLOYMENT
NAME = "langgraph"


class Naps:
    """Sleep that only takes notes; `on` runs something instead of the n-th sleep."""

    def __init__(self, **on: Any) -> None:
        self.taken: list[float] = []
        self.on = {int(k[1:]): v for k, v in on.items()}

    async def __call__(self, seconds: float) -> None:
        self.taken.append(seconds)
        self.on.get(len(self.taken), lambda: None)()


def scaling(cluster: FakeCluster, to: int = 5) -> Action:
    return built(actions.scale(m.workload(cluster.of(D, NAME)), to))


async def carry_out(cluster: FakeCluster, action: Action, sleep: Naps | None = None) -> apply.Applied:
    return await apply.apply(cluster, action, ID, action.object, sleep=sleep or Naps())


def real_writes(cluster: FakeCluster) -> list[str]:
    return [verb for verb, dry_run in cluster.writes if not dry_run]


async def test_the_change_and_the_marker_are_one_write() -> None:
    cluster = FakeCluster(m.deployment())
    done = await carry_out(cluster, scaling(cluster))
    live = cluster.of(D, NAME)
    assert (done.result, done.resource_version) == (ActionResult.APPLIED, live["metadata"]["resourceVersion"])
    assert (live["spec"]["replicas"], live["metadata"]["annotations"][MARKER]) == (5, ID)
    assert real_writes(cluster) == ["patch"]


async def test_executed_again_after_a_crash_nothing_is_written() -> None:
    cluster = FakeCluster(m.deployment())
    action = scaling(cluster)
    await carry_out(cluster, action)
    again = await carry_out(cluster, action)
    assert again.result is ActionResult.APPLIED
    assert "was applied already" in again.text
    assert real_writes(cluster) == ["patch"]


async def test_executed_again_it_does_not_overwrite_what_somebody_did_since() -> None:
    cluster = FakeCluster(m.deployment())
    action = scaling(cluster)
    await carry_out(cluster, action)
    cluster.edit(D, NAME)["spec"]["replicas"] = 8
    again = await carry_out(cluster, action)
    assert again.text == snapshot(
        "Scale rag7/Deployment/langgraph from 3 to 5 replicas: was applied already; changed since: /spec/replicas is 8, not 5"
    )
    assert cluster.of(D, NAME)["spec"]["replicas"] == 8


async def test_a_status_update_in_between_only_costs_another_attempt() -> None:
    cluster = FakeCluster(m.deployment())
    action = scaling(cluster)
    cluster.before = [lambda: cluster.edit(D, NAME, spec=False)] * 4
    assert (await carry_out(cluster, action)).result is ActionResult.APPLIED
    assert real_writes(cluster) == ["patch"]


async def test_the_object_as_checked_is_patched_without_another_look() -> None:
    cluster = FakeCluster(m.deployment())
    action = scaling(cluster)
    found = await apply.check(cluster, action)
    assert found.ref is not None
    cluster.gets.clear()
    done = await apply.apply(cluster, action, ID, found.ref, found.seen, sleep=Naps())
    assert (done.result, len(cluster.gets)) == (ActionResult.APPLIED, 1)  # the patch's own


@pytest.mark.parametrize(
    ("spec", "result", "gets"),
    [(False, ActionResult.APPLIED, 3), (True, ActionResult.REFUSED, 2)],
    ids=["in its status", "in its spec"],
)
async def test_an_object_that_moved_since_it_was_checked_is_looked_at_anew(
    spec: bool, result: ActionResult, gets: int
) -> None:
    cluster = FakeCluster(m.deployment())
    action = scaling(cluster)
    found = await apply.check(cluster, action)
    assert found.ref is not None
    live = cluster.edit(D, NAME, spec=spec)
    live["spec"] |= {"minReadySeconds": 9} if spec else {}
    cluster.gets.clear()
    done = await apply.apply(cluster, action, ID, found.ref, found.seen, sleep=Naps())
    assert (done.result, len(cluster.gets)) == (result, gets)  # each patch looks, and one look between two


async def test_an_object_that_never_holds_still_is_given_up_after_five_attempts() -> None:
    cluster = FakeCluster(m.deployment())
    action = scaling(cluster)
    cluster.before = [lambda: cluster.edit(D, NAME, spec=False)] * 9
    done = await carry_out(cluster, action)
    assert (done.result, done.code, done.passing) == (ActionResult.REFUSED, "object_changed", True)
    assert (real_writes(cluster), len(cluster.before)) == ([], 4)


async def test_a_dry_run_that_only_meets_other_writes_says_nothing_against_the_action() -> None:
    cluster = FakeCluster(m.deployment())
    action = scaling(cluster)
    found = await apply.check(cluster, action)
    assert found.ref is not None
    cluster.before = [lambda: cluster.edit(D, NAME, spec=False)] * 9
    with pytest.raises(TryLater, match="changed again before each of 5 attempts"):
        await apply.dry_run(cluster, action, ID, found.ref, found.seen)


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("replicas", 4, "/spec/replicas is 4, not 3"),
        (
            "minReadySeconds",
            9,
            "the spec of rag7/Deployment/langgraph changed since the check (generation 5, was 4)",
        ),
        ("paused", True, "the rollout of rag7/Deployment/langgraph is paused"),
    ],
)
async def test_a_spec_that_changed_since_the_check_is_left_alone(field: str, value: Any, why: str) -> None:
    cluster = FakeCluster(m.deployment())
    action = scaling(cluster)
    cluster.before = [lambda: cluster.edit(D, NAME)["spec"].update({field: value})]
    done = await carry_out(cluster, action)
    assert (done.result, done.text, real_writes(cluster)) == (ActionResult.REFUSED, why, [])


async def test_the_mark_of_the_owners_that_changed_since_the_check_is_for_the_gates() -> None:
    cluster = FakeCluster(m.deployment())
    action = scaling(cluster)
    found = await apply.check(cluster, action)
    assert found.ref is not None
    cluster.edit(D, NAME)["metadata"]["annotations"] = {OPT: "false"}
    cluster.before = [lambda: cluster.edit(D, NAME, spec=False)]
    with pytest.raises(TryLater, match="enabled of rag7/Deployment/langgraph changed"):
        await apply.dry_run(cluster, action, ID, found.ref, found.seen)
    done = await apply.apply(cluster, action, ID, found.ref, found.seen, sleep=Naps())
    assert (done.result, done.passing, real_writes(cluster)) == (ActionResult.REFUSED, True, [])
    assert "changed since it was looked at" in done.text


async def test_other_annotations_are_nobodys_hand_however_often_they_change() -> None:
    """A Deployment counts them as a generation, and tools annotate several times a second."""
    cluster = FakeCluster(m.deployment())
    action = scaling(cluster)
    found = await apply.check(cluster, action)
    assert found.ref is not None

    def noted() -> None:
        meta = cluster.edit(D, NAME)["metadata"]
        meta["annotations"] = {**(meta.get("annotations") or {}), "note": meta["resourceVersion"]}

    cluster.before = [noted] * 3
    assert await apply.dry_run(cluster, action, ID, found.ref, found.seen) == "the dry run was accepted"
    cluster.before = [noted] * 3
    done = await apply.apply(cluster, action, ID, found.ref, found.seen, sleep=Naps())
    assert (done.result, real_writes(cluster)) == (ActionResult.APPLIED, ["patch"])


async def test_a_namesake_is_never_touched() -> None:
    cluster = FakeCluster(m.deployment())
    action = scaling(cluster)
    cluster.edit(D, NAME)["metadata"] |= {"uid": "another", "annotations": {MARKER: ID}}
    done = await carry_out(cluster, action)
    assert (done.result, real_writes(cluster)) == (ActionResult.REFUSED, [])
    assert "deleted and created again" in done.text
    assert await apply.in_place(cluster, action, ID) == ""


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (AccessDenied("the verb patch on deployments.apps is not granted"), "access_denied"),
        (
            ObjectInvalid("admission webhook x denied the request", code="admission_denied"),
            "admission_denied",
        ),
    ],
)
async def test_a_refusal_of_the_server_is_a_result(error: RemediatorError, code: str) -> None:
    cluster = FakeCluster(m.deployment())
    cluster.before = [raising(error)]
    done = await carry_out(cluster, scaling(cluster))
    assert (done.result, done.code) == (ActionResult.REFUSED, code)


@pytest.mark.parametrize(
    "error", [ClusterThrottled("429", retry_after=7), ClusterUnavailable("connection refused")]
)
async def test_what_was_certainly_not_sent_may_be_tried_later(error: RemediatorError) -> None:
    cluster = FakeCluster(m.deployment())
    cluster.before = [raising(error)]
    action = scaling(cluster)
    with pytest.raises(type(error)):
        await carry_out(cluster, action)
    assert (await carry_out(cluster, action)).result is ActionResult.APPLIED
    assert real_writes(cluster) == ["patch"]


async def test_an_object_that_is_gone_is_refused() -> None:
    cluster = FakeCluster(m.deployment())
    action = scaling(cluster)
    cluster.objects.clear()
    done = await carry_out(cluster, action)
    assert (done.result, done.code) == (ActionResult.REFUSED, "object_missing")


LOST = OutcomeUnclear("timed out (TimeoutError)", where="patch deployments.apps rag7/langgraph")


async def test_a_lost_answer_is_settled_by_the_marker() -> None:
    cluster = FakeCluster(m.deployment())
    cluster.after = [raising(LOST)]
    done = await carry_out(cluster, scaling(cluster))
    assert done.result is ActionResult.APPLIED
    assert "reading back confirms it" in done.text
    assert real_writes(cluster) == ["patch"]


async def test_a_write_that_did_not_arrive_is_told_and_can_be_repeated() -> None:
    cluster = FakeCluster(m.deployment())
    cluster.before = [raising(LOST)]
    action, naps = scaling(cluster), Naps()
    with pytest.raises(ClusterUnavailable, match="reading back shows that nothing was written") as caught:
        await carry_out(cluster, action, naps)
    assert (caught.value.code, caught.value.__cause__) == ("not_applied", LOST)
    assert naps.taken == list(PAUSES)
    assert sum(naps.taken) > 15  # the server gives a write up after 15 s
    assert (await carry_out(cluster, action)).result is ActionResult.APPLIED
    assert real_writes(cluster) == ["patch"]


async def test_a_late_write_is_still_found() -> None:
    cluster = FakeCluster(m.deployment())
    cluster.before = [raising(LOST)]
    action = scaling(cluster)

    def lands() -> None:
        cluster.edit(D, NAME)["spec"]["replicas"] = 5
        cluster.of(D, NAME)["metadata"]["annotations"] = {MARKER: ID}

    done = await carry_out(cluster, action, Naps(n3=lands))
    assert done.result is ActionResult.APPLIED


async def test_once_the_version_has_moved_on_a_lost_write_can_never_land() -> None:
    cluster = FakeCluster(m.deployment())
    cluster.before = [raising(LOST)]
    naps = Naps(n2=lambda: cluster.edit(D, NAME, spec=False))
    with pytest.raises(ClusterUnavailable, match="nothing was written"):
        await carry_out(cluster, scaling(cluster), naps)
    assert len(naps.taken) == 2


async def test_only_what_cannot_be_read_back_stays_unclear() -> None:
    cluster = FakeCluster(m.deployment())
    action = scaling(cluster)

    def lost() -> None:
        cluster.on_get = [raising(ClusterUnavailable("down"))] * len(PAUSES)
        raise LOST

    cluster.after = [lost]
    done = await carry_out(cluster, action)
    assert (done.result, done.code) == (ActionResult.UNCLEAR, "outcome_unclear")
    # Asked again when the API server is back, the marker tells.
    assert (await carry_out(cluster, action)).result is ActionResult.APPLIED
    assert await apply.in_place(cluster, action, ID)
    assert real_writes(cluster) == ["patch"]


async def test_an_object_deleted_while_the_answer_was_lost_is_gone() -> None:
    cluster = FakeCluster(m.deployment())
    cluster.before = [raising(LOST)]
    done = await carry_out(cluster, scaling(cluster), Naps(n1=cluster.objects.clear))
    assert (done.result, done.code) == (ActionResult.REFUSED, "object_missing")


async def test_the_check_gives_the_fresh_reference_or_the_reason() -> None:
    cluster = FakeCluster(m.deployment())
    action = scaling(cluster)
    cluster.edit(D, NAME, spec=False)
    found = await apply.check(cluster, action)
    assert found.ref is not None
    assert (found.ref.resource_version, found.done) == ("101", False)
    await carry_out(cluster, action)
    assert (await apply.check(cluster, action)).ref is None
    assert (await apply.check(cluster, action, ID)).done
    cluster.objects.clear()
    assert (await apply.check(cluster, action)).code == "object_missing"


async def test_the_check_names_the_field_and_its_writer() -> None:
    cluster = FakeCluster(m.deployment())
    action = scaling(cluster)
    live = cluster.edit(D, NAME)
    live["spec"]["replicas"] = 9
    fields: Obj = {"f:spec": {"f:replicas": {}}}
    live["metadata"]["managedFields"] = [
        {"manager": "kubectl-scale", "time": "2026-03-04T03:01:00Z", "fieldsV1": fields}
    ]
    assert (await apply.check(cluster, action)).text == snapshot(
        "/spec/replicas is 9, not 3 (last set by kubectl-scale at 2026-03-04 03:01:00 UTC)"
    )


async def test_a_template_is_shown_by_its_images_only() -> None:
    secret = m.container(env=[{"name": "PASSWORD", "value": "hunter2"}])
    cluster = FakeCluster(m.deployment(m.template(secret)))
    action = built(actions.scale(m.workload(cluster.of(D, NAME)), 5))
    action = replace(
        action, changes=(replace(action.changes[0], path="/spec/template", before=m.template()),)
    )
    text = (await apply.check(cluster, action)).text
    assert text == snapshot(
        "/spec/template is a template with registry.test/langgraph:v2, not a template with registry.test/langgraph:v2"
    )


async def test_an_autoscaler_that_moved_to_another_workload_is_left_alone() -> None:
    cluster = FakeCluster(m.deployment(), m.hpa())
    action = built(actions.scale(m.workload(autoscaler=m.autoscaler()), 5))
    assert (await apply.check(cluster, action)).ref is not None
    cluster.of(Kind.HPA, "langgraph-hpa")["spec"]["scaleTargetRef"]["name"] = "other"
    assert "does not scale rag7/Deployment/langgraph any more" in (await apply.check(cluster, action)).text


async def test_the_rehearsal_is_a_dry_run_of_the_same_patch() -> None:
    cluster = FakeCluster(m.deployment())
    action = scaling(cluster)
    assert await apply.dry_run(cluster, action, ID, action.object) == "the dry run was accepted"
    assert (cluster.writes, cluster.of(D, NAME)) == ([("patch", True)], m.deployment())
    cluster.before = [lambda: cluster.edit(D, NAME, spec=False)] * 3
    assert await apply.dry_run(cluster, action, ID, action.object) == "the dry run was accepted"
    cluster.before = [lambda: cluster.edit(D, NAME, spec=False)] * 5
    with pytest.raises(TryLater):
        await apply.dry_run(cluster, action, ID, action.object)
    cluster.before = [raising(ObjectInvalid("exceeded quota"))]
    with pytest.raises(ObjectInvalid):
        await apply.dry_run(cluster, action, ID, action.object)
    cluster.edit(D, NAME)["spec"]["replicas"] = 4
    with pytest.raises(TryLater, match="/spec/replicas is 4, not 3"):
        await apply.dry_run(cluster, action, ID, action.object)


async def test_an_admission_rule_that_bends_our_values_is_found_by_the_rehearsal() -> None:
    class Clamping(FakeCluster):
        async def patch(self, *args: Any, **options: Any) -> Any:
            return {**await super().patch(*args, **options), "spec": {"replicas": 4}}

    cluster = Clamping(m.deployment())
    action = scaling(cluster)
    with pytest.raises(
        ObjectInvalid, match="an admission rule changes the values: /spec/replicas is 4, not 5"
    ):
        await apply.dry_run(cluster, action, ID, action.object)
