"""Undoing: only what is still ours, all of it or nothing, twice without setback."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from inline_snapshot import snapshot

from app.domain.cluster import MARKER
from app.domain.errors import AccessDenied, ClusterUnavailable, TryLater
from app.domain.json import Obj
from app.domain.outcome import UndoResult
from app.domain.plan import Action
from app.domain.target import Kind
from app.kube import actions, apply, read
from app.kube.readback import PAUSES
from tests.unit.kube import manifests as m
from tests.unit.kube.fake import FakeCluster, raising
from tests.unit.kube.test_actions import NOW, built
from tests.unit.kube.test_apply import ID, LOST, Naps, carry_out, real_writes, scaling

D = Kind.DEPLOYMENT
NAME = "langgraph"


async def _undo(cluster: FakeCluster, action: Action) -> apply.Undone:
    return await apply.undo(cluster, action, ID, sleep=Naps())


async def _scaled() -> tuple[FakeCluster, Action]:
    cluster = FakeCluster(m.deployment())
    action = scaling(cluster)
    await carry_out(cluster, action)
    return cluster, action


async def test_the_old_value_comes_back_with_the_undos_own_marker() -> None:
    cluster, action = await _scaled()
    done = await _undo(cluster, action)
    live = cluster.of(D, NAME)
    assert (done.result, done.text) == (UndoResult.UNDONE, "undone: scale back to 3 replicas")
    assert (live["spec"]["replicas"], live["metadata"]["annotations"][MARKER]) == (3, f"{ID}/undo")


@pytest.mark.parametrize(
    ("labels", "made"),
    [({}, ""), ({"scaledobject.keda.sh/name": "queue"}, " (made by KEDA from ScaledObject queue)")],
)
async def test_an_autoscaler_made_since_wins_over_the_undo_of_a_size(
    labels: dict[str, str], made: str
) -> None:
    cluster, action = await _scaled()
    hpa = m.hpa()
    hpa["metadata"]["labels"] = labels
    cluster.put(hpa)
    done = await _undo(cluster, action)
    says = f"autoscaler {hpa['metadata']['name']}{made} sizes rag7/Deployment/langgraph between"
    assert (done.result, says in done.text, "its hand wins" in done.text) == (UndoResult.CONFLICT, True, True)
    assert (cluster.of(D, NAME)["spec"]["replicas"], real_writes(cluster)) == (5, ["patch"])


async def test_a_size_is_not_set_where_an_autoscaler_came_meanwhile() -> None:
    cluster = FakeCluster(m.deployment())
    action = scaling(cluster)
    cluster.put(m.hpa())
    found = await apply.check(cluster, action)
    assert (found.ref, "its hand wins" in found.text) == (None, True)


async def test_undoing_twice_is_harmless_under_either_name() -> None:
    cluster, action = await _scaled()
    await _undo(cluster, action)
    cluster.edit(D, NAME)["spec"]["replicas"] = 5  # somebody scales up again: that is theirs
    assert (await _undo(cluster, action)).result is UndoResult.UNDONE
    assert (await apply.undo(cluster, action, apply.undo_id(ID), sleep=Naps())).result is UndoResult.UNDONE
    assert (real_writes(cluster), cluster.of(D, NAME)["spec"]["replicas"]) == (["patch", "patch"], 5)


async def test_somebody_elses_value_is_kept_and_named() -> None:
    cluster, action = await _scaled()
    live = cluster.edit(D, NAME)
    live["spec"]["replicas"] = 9
    live["metadata"]["managedFields"] = [
        {"manager": "kubectl-scale", "fieldsV1": {"f:spec": {"f:replicas": {}}}}
    ]
    done = await _undo(cluster, action)
    assert (done.result, done.conflicts) == (
        UndoResult.CONFLICT,
        ("/spec/replicas is 9, not 5 (last set by kubectl-scale)",),
    )
    assert (cluster.of(D, NAME)["spec"]["replicas"], real_writes(cluster)) == (9, ["patch"])


async def test_a_paused_rollout_is_left_to_whoever_paused_it() -> None:
    cluster, action = await _scaled()
    live = cluster.edit(D, NAME)
    live["spec"]["paused"] = True
    live["metadata"]["managedFields"] = [
        {
            "manager": "kubectl-rollout",
            "time": "2026-03-04T03:00:05Z",
            "fieldsV1": {"f:spec": {"f:paused": {}}},
        }
    ]
    done = await _undo(cluster, action)
    assert done.result is UndoResult.CONFLICT
    assert "is paused (by kubectl-rollout at 2026-03-04 03:00:05 UTC)" in done.text
    assert (cluster.of(D, NAME)["spec"]["replicas"], real_writes(cluster)) == (5, ["patch"])


async def test_what_is_back_already_is_nothing_to_undo() -> None:
    cluster, action = await _scaled()
    cluster.edit(D, NAME)["spec"]["replicas"] = 3
    assert (await _undo(cluster, action)).result is UndoResult.NOTHING
    assert real_writes(cluster) == ["patch"]


async def test_changes_of_other_fields_do_not_hinder_and_survive() -> None:
    cluster, action = await _scaled()
    cluster.edit(D, NAME)["spec"]["minReadySeconds"] = 9
    cluster.before = [lambda: cluster.edit(D, NAME, spec=False)]
    assert (await _undo(cluster, action)).result is UndoResult.UNDONE
    assert cluster.of(D, NAME)["spec"]["minReadySeconds"] == 9


async def test_with_one_foreign_field_none_is_undone() -> None:
    cluster = FakeCluster(m.deployment(m.template(m.container("a"), m.container("b"))))
    workload = m.workload(cluster.of(D, NAME))
    action = built(actions.raise_memory(workload, ["a", "b"], 2, 4 * m.GIB))
    await carry_out(cluster, action)
    containers = cluster.edit(D, NAME)["spec"]["template"]["spec"]["containers"]
    containers[1]["resources"]["limits"]["memory"] = "3Gi"
    containers[0]["resources"]["limits"]["memory"] = "1024Mi"  # the same as our 1Gi
    done = await _undo(cluster, action)
    assert (done.result, len(done.conflicts)) == (UndoResult.CONFLICT, 1)
    assert "[name=b]/resources/limits/memory is 3Gi, not 1Gi" in done.text
    assert real_writes(cluster) == ["patch"]
    containers[1]["resources"]["limits"]["memory"] = "1Gi"
    assert (await _undo(cluster, action)).result is UndoResult.UNDONE
    restored = cluster.of(D, NAME)["spec"]["template"]["spec"]["containers"]
    assert [c["resources"]["limits"]["memory"] for c in restored] == ["512Mi", "512Mi"]


async def test_a_container_that_is_gone_is_a_conflict_and_no_crash() -> None:
    cluster = FakeCluster(m.deployment(m.template(m.container("a"), m.container("b"))))
    action = built(actions.raise_memory(m.workload(cluster.of(D, NAME)), ["b"], 2, 4 * m.GIB))
    await carry_out(cluster, action)
    del cluster.edit(D, NAME)["spec"]["template"]["spec"]["containers"][1]
    done = await _undo(cluster, action)
    assert done.result is UndoResult.CONFLICT
    assert "is absent, not 1Gi" in done.text


_OLD = m.template(m.container(image="registry.test/langgraph:v1"))


async def _rolled_back(cluster: FakeCluster) -> Action:
    workload = m.workload(cluster.of(D, NAME))
    action = built(actions.roll_back(workload, await read.revisions(cluster, workload)))
    await carry_out(cluster, action)
    return action


def _history() -> tuple[Obj, ...]:
    return m.deployment(), m.replica_set(1, _OLD, cause="v1"), m.replica_set(2, m.template())


async def test_undoing_a_rollback_restores_the_template_that_was_replaced() -> None:
    cluster = FakeCluster(*_history())
    action = await _rolled_back(cluster)
    assert cluster.of(D, NAME)["spec"]["template"] == _OLD
    assert cluster.of(D, NAME)["metadata"]["annotations"]["kubernetes.io/change-cause"] == "v1"
    assert (await _undo(cluster, action)).result is UndoResult.UNDONE
    live = cluster.of(D, NAME)
    assert live["spec"]["template"] == m.template()
    assert "kubernetes.io/change-cause" not in live["metadata"]["annotations"]


class Defaulting(FakeCluster):
    """Completes every template it is given, as an API server does that knows a newer field."""

    async def patch(self, *args: Any, **options: Any) -> Obj:
        result = await super().patch(*args, **options)
        result["spec"]["template"]["spec"]["newField"] = "default"
        if not options.get("dry_run"):
            self.put(result)
        return copy.deepcopy(result)


async def test_a_template_that_the_server_completed_is_still_ours() -> None:
    cluster = Defaulting(*_history())
    action = await _rolled_back(cluster)
    assert cluster.of(D, NAME)["spec"]["template"] != action.changes[0].after
    assert (await _undo(cluster, action)).result is UndoResult.UNDONE
    assert cluster.writes == [("patch", False), ("patch", True), ("patch", False)]


async def test_a_template_that_somebody_edited_is_not_ours() -> None:
    cluster = Defaulting(*_history())
    action = await _rolled_back(cluster)
    cluster.edit(D, NAME)["spec"]["template"]["spec"]["containers"][0]["image"] = (
        "registry.test/langgraph:hotfix"
    )
    done = await _undo(cluster, action)
    assert done.result is UndoResult.CONFLICT
    assert done.text == snapshot(
        "left as it is, for it is not ours any more: /spec/template is a template with registry.test/langgraph:hotfix, not a template with registry.test/langgraph:v1"
    )
    assert cluster.writes == [("patch", False), ("patch", True)]


async def test_what_has_nothing_to_undo_says_why() -> None:
    cluster = FakeCluster(m.deployment())
    action = built(actions.rollout_restart(m.workload(), NOW))
    done = await _undo(cluster, action)
    assert (done.result, done.text) == (UndoResult.NOTHING, action.undo)
    assert cluster.gets == []


@pytest.mark.parametrize("gone", ["deleted", "re-created"])
async def test_an_object_that_is_gone_took_our_change_with_it(gone: str) -> None:
    cluster, action = await _scaled()
    if gone == "deleted":
        cluster.objects.clear()
    else:
        cluster.edit(D, NAME)["metadata"]["uid"] = "another"
        cluster.of(D, NAME)["spec"]["replicas"] = 3
    assert (await _undo(cluster, action)).result is UndoResult.NOTHING


async def test_who_creates_an_object_anew_with_what_we_had_set_has_it() -> None:
    """It stands, so that `nothing to undo` would be false."""
    cluster, action = await _scaled()
    cluster.edit(D, NAME)["metadata"]["uid"] = "another"
    done = await _undo(cluster, action)
    assert done.result is UndoResult.CONFLICT
    assert done.text.startswith(
        "left as it is: rag7/Deployment/langgraph was created anew by somebody with what we had set"
    )
    assert (cluster.of(D, NAME)["spec"]["replicas"], real_writes(cluster)) == (5, ["patch"])


async def test_a_refusal_is_a_failed_undo() -> None:
    cluster, action = await _scaled()
    cluster.before = [raising(AccessDenied("the verb patch on deployments.apps is not granted"))]
    done = await _undo(cluster, action)
    assert done.result is UndoResult.FAILED
    assert "not granted" in done.text


async def test_an_unreachable_cluster_may_be_asked_again() -> None:
    cluster, action = await _scaled()
    cluster.before = [raising(ClusterUnavailable("connection refused"))]
    with pytest.raises(ClusterUnavailable):
        await _undo(cluster, action)
    assert (await _undo(cluster, action)).result is UndoResult.UNDONE


@pytest.mark.parametrize("arrived", [True, False])
async def test_a_lost_answer_is_read_back_and_what_did_nothing_is_not_sent_again_unasked(
    arrived: bool,
) -> None:
    """Somebody may have taken the incident meanwhile: whoever calls looks at everything anew."""
    cluster, action = await _scaled()
    (cluster.after if arrived else cluster.before).append(raising(LOST))
    if not arrived:
        with pytest.raises(ClusterUnavailable, match="reading back shows that nothing was written"):
            await _undo(cluster, action)
    assert (await _undo(cluster, action)).result is UndoResult.UNDONE
    assert (real_writes(cluster), cluster.of(D, NAME)["spec"]["replicas"]) == (["patch", "patch"], 3)


async def test_an_undo_that_cannot_be_read_back_has_failed() -> None:
    cluster, action = await _scaled()

    def lost() -> None:
        cluster.on_get = [raising(ClusterUnavailable("down"))] * len(PAUSES)
        raise LOST

    cluster.after = [lost]
    done = await _undo(cluster, action)
    assert done.result is UndoResult.FAILED
    assert "cannot be read back" in done.text


async def test_an_object_that_never_holds_still_is_looked_at_again_later() -> None:
    cluster, action = await _scaled()
    cluster.before = [lambda: cluster.edit(D, NAME, spec=False)] * 9
    with pytest.raises(TryLater, match="changed again before each of 5 attempts"):
        await _undo(cluster, action)
    assert len(cluster.before) == 4


async def test_a_rollout_whose_status_is_written_for_seconds_is_waited_for() -> None:
    """Controllers on a busy server were seen to write it longer than a second."""
    cluster, action = await _scaled()
    cluster.before, naps = [lambda: cluster.edit(D, NAME, spec=False)] * 4, Naps()
    assert (await apply.undo(cluster, action, ID, sleep=naps)).result is UndoResult.UNDONE
    assert (sum(naps.taken) >= 3, naps.taken == sorted(naps.taken)) == (True, True)


async def test_whose_the_object_became_between_two_attempts_of_an_undo_is_heard_of_first() -> None:
    """Owners and marks move no generation, so that the values alone are still ours."""
    cluster, action = await _scaled()

    def taken() -> None:
        cluster.edit(D, NAME, spec=False)["metadata"]["annotations"]["argocd.argoproj.io/tracking-id"] = (
            "rag7:x"
        )

    cluster.before = [taken]
    with pytest.raises(TryLater, match="since it was looked at"):
        await _undo(cluster, action)
    assert (real_writes(cluster), cluster.of(D, NAME)["spec"]["replicas"]) == (["patch"], 5)
    assert (await _undo(cluster, action)).result is UndoResult.UNDONE, "by who has looked at it as it is"


async def test_a_status_that_moves_between_two_attempts_of_an_undo_is_nobodys() -> None:
    cluster, action = await _scaled()
    cluster.before = [lambda: cluster.edit(D, NAME, spec=False)]
    assert (await _undo(cluster, action)).result is UndoResult.UNDONE
