"""Rolling back: to the newest older revision that really differs, and never in a circle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from inline_snapshot import snapshot

from app.domain.json import Obj
from app.domain.plan import ActionKind, FieldChange
from app.domain.workload import Revision, Workload
from app.kube import read
from app.kube.actions import Impossible, roll_back, unstick
from app.kube.parse import fingerprint, parse_pod
from tests.unit.kube import manifests as m
from tests.unit.kube.fake import FakeCluster
from tests.unit.kube.test_actions import built, refused


def _template(version: int, restarted: str = "") -> Obj:
    annotations = {"kubectl.kubernetes.io/restartedAt": restarted} if restarted else None
    return m.template(m.container(image=f"registry.test/langgraph:v{version}"), annotations=annotations)


V1, V2, V3 = _template(1), _template(2), _template(3)
V2_AGAIN, V2_TWICE = _template(2, "2026-03-04T02:00:00Z"), _template(2, "2026-03-04T02:30:00Z")


async def _history(now: Obj, *stored: tuple[int, Obj], **spec: Any) -> tuple[Workload, Sequence[Revision]]:
    workload = m.workload(m.deployment(now, **spec))
    cluster = FakeCluster(*(m.replica_set(n, t, cause=f"deploy {n}") for n, t in stored))
    return workload, await read.revisions(cluster, workload)


async def test_the_previous_revision_is_restored_whole() -> None:
    workload, revisions = await _history(V2, (1, V1), (2, V2))
    action = built(roll_back(workload, revisions))
    assert action.changes == (
        FieldChange("/spec/template", V2, V1),
        FieldChange("/metadata/annotations/kubernetes.io~1change-cause", None, "deploy 1"),
    )
    assert (action.kind, action.pods_affected, action.reversible) == (ActionKind.ROLL_BACK, 3, True)
    assert (action.summary, action.undo) == snapshot(
        (
            "Roll back rag7/Deployment/langgraph from revision 2 (registry.test/langgraph:v2) to revision 1 (registry.test/langgraph:v1)",
            "put revision 2 back",
        )
    )
    assert (action.params["from_revision"], action.params["to_revision"]) == (2, 1)
    assert action.params["left"] == fingerprint(V2)


async def test_the_hash_label_of_a_replica_set_never_gets_into_the_template() -> None:
    workload, revisions = await _history(V2, (1, V1), (2, V2))
    restored = built(roll_back(workload, revisions)).changes[0].after
    assert "pod-template-hash" not in restored["metadata"]["labels"]


async def test_mere_restarts_are_skipped() -> None:
    workload, revisions = await _history(V2_TWICE, (1, V1), (2, V2), (3, V2_AGAIN), (4, V2_TWICE))
    action = built(roll_back(workload, revisions))
    assert (action.params["from_revision"], action.params["to_revision"]) == (4, 1)


async def test_a_history_of_restarts_only_leads_nowhere() -> None:
    workload, revisions = await _history(V2_TWICE, (2, V2), (3, V2_AGAIN), (4, V2_TWICE))
    assert refused(roll_back(workload, revisions)) == snapshot(
        "all 2 older revisions of rag7/Deployment/langgraph have the present template (restarts only)"
    )


@pytest.mark.parametrize(
    ("now", "stored"),
    [
        (V2, [m.replica_set(1, V1), m.replica_set(3, V3), m.replica_set(4, V2, earlier="2", made=2)]),
        (V2, [m.replica_set(1, V1), m.replica_set(3, V3), m.replica_set(4, V2, made=2)]),
        (V2, [m.replica_set(2, V2), m.replica_set(3, V3), m.replica_set(4, V2_AGAIN)]),
        (V2_AGAIN, [m.replica_set(3, V3), m.replica_set(4, V2, earlier="2"), m.replica_set(5, V2_AGAIN)]),
        (V2, [m.replica_set(4, V2, earlier="2")]),
        (V2, [m.replica_set(2, V2), m.replica_set(3, V3)]),
    ],
    ids=["annotation", "age", "another ReplicaSet", "restarted since", "pruned", "not numbered yet"],
)
async def test_what_a_rollback_restored_is_not_rolled_back(now: Obj, stored: list[Obj]) -> None:
    workload = m.workload(m.deployment(now))
    revisions = await read.revisions(FakeCluster(*stored), workload)
    assert "was restored by a rollback already, and it still fires" in refused(roll_back(workload, revisions))


async def test_going_back_from_a_restart_is_no_rollback() -> None:
    workload = m.workload(m.deployment(V2))
    stored = (m.replica_set(1, V1), m.replica_set(3, V2_AGAIN), m.replica_set(4, V2, earlier="2", made=2))
    action = built(roll_back(workload, await read.revisions(FakeCluster(*stored), workload)))
    assert action.params["to_revision"] == 1


async def test_a_version_that_somebody_rolled_back_from_is_never_the_goal() -> None:
    """v1, v2, back to v1, then v3: before v3 ran v1, and v2 is the one that was given up."""
    workload = m.workload(m.deployment(V3))
    stored = (m.replica_set(2, V2), m.replica_set(3, V1, earlier="1", made=1), m.replica_set(4, V3))
    revisions = await read.revisions(FakeCluster(*stored), workload)
    assert built(roll_back(workload, revisions)).params["to_revision"] == 3
    assert refused(roll_back(workload, revisions, frozenset({fingerprint(V1)}))) == snapshot(
        "rag7/Deployment/langgraph was already rolled away from every different revision (3, 2)"
    )


async def test_a_version_that_this_service_left_is_never_the_goal() -> None:
    workload, revisions = await _history(V3, (1, V1), (2, V2), (3, V3))
    assert built(roll_back(workload, revisions)).params["to_revision"] == 2
    assert built(roll_back(workload, revisions, frozenset({fingerprint(V2)}))).params["to_revision"] == 1


async def test_without_history_the_limit_is_named() -> None:
    workload, revisions = await _history(V2, (2, V2), revisionHistoryLimit=0)
    no = roll_back(workload, revisions)
    assert refused(no) == snapshot(
        "no older revision of rag7/Deployment/langgraph is kept (revisionHistoryLimit is 0)"
    )
    assert isinstance(no, Impossible)
    assert no.advice == "deploy a known good version from its source"


async def test_a_template_that_no_controller_has_seen_goes_back_to_the_newest_revision() -> None:
    fresh = m.deployment(V3)
    fresh["status"]["observedGeneration"] = 3
    workload = m.workload(fresh)
    revisions = await read.revisions(FakeCluster(m.replica_set(1, V1), m.replica_set(2, V2)), workload)
    action = built(roll_back(workload, revisions))
    assert (action.params["from_revision"], action.params["to_revision"]) == (None, 2)
    assert "from the present template" in action.summary


async def test_a_paused_rollout_is_left_to_whoever_paused_it() -> None:
    workload, revisions = await _history(V2, (1, V1), (2, V2), paused=True)
    no = roll_back(workload, revisions)
    assert "is paused, so a rollback would not roll out" in refused(no)
    assert isinstance(no, Impossible)
    assert no.advice.endswith("only then kubectl rollout resume deployment/langgraph -n rag7")
    assert no.advice.startswith("see why it is paused, and make its template right first")


async def test_a_stateful_set_goes_back_by_its_controller_revisions() -> None:
    workload = m.workload(m.stateful_set(V2))
    cluster = FakeCluster(m.controller_revision(1, V1), m.controller_revision(2, V2))
    action = built(roll_back(workload, await read.revisions(cluster, workload)))
    assert action.changes == (FieldChange("/spec/template", V2, V1),)


def _member(name: str, revision: str, *, ready: bool) -> Obj:
    pod = m.pod(name, owner=m.owned_by("StatefulSet", "postgres", "sts-uid"), ready=ready)
    pod["metadata"]["labels"] = {"app": "postgres", "controller-revision-hash": f"postgres-{revision}"}
    return pod


@pytest.mark.parametrize(
    ("spec", "stuck"),
    [
        ({}, ["postgres-1"]),
        ({"podManagementPolicy": "OrderedReady"}, ["postgres-1"]),
        ({"podManagementPolicy": "Parallel"}, []),
    ],
)
def test_a_stateful_set_stuck_on_a_bad_pod_needs_that_pod_deleted_too(spec: Obj, stuck: list[str]) -> None:
    pods = [
        parse_pod(_member("postgres-0", "hash1", ready=False)),
        parse_pod(_member("postgres-1", "hash2", ready=False)),
        parse_pod(_member("postgres-2", "hash2", ready=True)),
    ]
    deletions = unstick(m.workload(m.stateful_set(V2, **spec)), pods)
    assert [a.object.name for a in deletions] == stuck
    assert all(a.kind is ActionKind.DELETE_POD for a in deletions)


def test_a_deployment_is_never_stuck_that_way() -> None:
    assert unstick(m.workload(), [m.pod_snapshot(ready=False)]) == ()
