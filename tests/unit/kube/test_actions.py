"""Builders: restart, scale, pods. What they propose, in numbers, and what they refuse."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from inline_snapshot import snapshot

from app.domain.json import Obj
from app.domain.plan import Action, ActionKind, FieldChange
from app.domain.workload import Workload
from app.kube import actions
from app.kube.actions import Impossible
from app.kube.parse import parse_autoscaler, parse_pod
from tests.unit.kube import manifests as m

NOW = datetime(2026, 3, 4, 3, 0, 0, 999999, tzinfo=UTC)
_RESTART = "/spec/template/metadata/annotations/kubectl.kubernetes.io~1restartedAt"


def built(result: Action | Impossible) -> Action:
    assert isinstance(result, Action), result
    assert Action.from_json(json.loads(json.dumps(result.to_json()))) == result.seal()
    return result


def refused(result: Action | Impossible) -> str:
    assert isinstance(result, Impossible), result
    return result.why


def test_a_restart_sets_the_annotation_that_kubectl_sets() -> None:
    action = built(actions.rollout_restart(m.workload(), NOW))
    assert action.changes == (FieldChange(_RESTART, None, "2026-03-04T03:00:00Z"),)
    assert (action.kind, action.pods_affected, action.reversible) == (ActionKind.ROLLOUT_RESTART, 3, False)
    assert (action.summary, action.undo) == snapshot(
        (
            "Restart rag7/Deployment/langgraph (3 pods, one rolling update)",
            "nothing to undo: a restart makes equal pods from the same template",
        )
    )


def test_a_second_restart_replaces_the_first_and_not_in_the_same_second() -> None:
    earlier = "2026-03-04T02:00:00Z"
    again = m.workload(m.deployment(m.template(annotations={"kubectl.kubernetes.io/restartedAt": earlier})))
    assert built(actions.rollout_restart(again, NOW)).changes[0].before == earlier
    just = m.template(annotations={"kubectl.kubernetes.io/restartedAt": "2026-03-04T03:00:00Z"})
    assert "in this very second" in refused(actions.rollout_restart(m.workload(m.deployment(just)), NOW))


@pytest.mark.parametrize(
    ("manifest", "why"),
    [
        (m.deployment(paused=True), "is paused, so a restart would not roll out"),
        (m.stateful_set(updateStrategy={"type": "OnDelete"}), "only when they are deleted (OnDelete)"),
        (m.daemon_set(updateStrategy={"type": "OnDelete"}), "only when they are deleted (OnDelete)"),
    ],
)
def test_a_restart_that_would_not_roll_is_refused_with_advice(manifest: Obj, why: str) -> None:
    no = actions.rollout_restart(m.workload(manifest), NOW)
    assert why in refused(no)
    assert isinstance(no, Impossible)
    assert no.advice


def test_scaling_up_names_both_numbers() -> None:
    action = built(actions.scale(m.workload(), 5))
    assert action.changes == (FieldChange("/spec/replicas", 3, 5),)
    assert (action.kind, action.pods_affected, action.reversible) == (ActionKind.SCALE, 0, True)
    assert (action.summary, action.undo) == snapshot(
        ("Scale rag7/Deployment/langgraph from 3 to 5 replicas", "scale back to 3 replicas")
    )


def test_an_autoscaled_workload_gets_a_higher_minimum_within_the_maximum() -> None:
    autoscaled = m.workload(autoscaler=m.autoscaler(2, 6))
    action = built(actions.scale(autoscaled, 5))
    assert (action.kind, action.object.name) == (ActionKind.RAISE_MIN_REPLICAS, "langgraph-hpa")
    assert action.changes == (FieldChange("/spec/minReplicas", 2, 5),)
    assert action.target.name == "langgraph"
    assert built(actions.scale(autoscaled, 8)).summary == snapshot(
        "Raise minReplicas of autoscaler langgraph-hpa of rag7/Deployment/langgraph from 2 to 6 (8 were asked for, maxReplicas is 6)"
    )


@pytest.mark.parametrize(
    ("workload", "replicas", "why"),
    [
        (m.workload(), 3, "already has 3 replicas; 3 were asked for"),
        (m.workload(), 2, "already has 3 replicas; 2 were asked for"),
        (m.workload(m.deployment(replicas=0)), 5, "is scaled to 0: somebody stopped it on purpose"),
        (m.workload(m.daemon_set()), 5, "it has no replicas"),
        (m.workload(autoscaler=m.autoscaler(5, 6)), 5, "already holds 5 replicas; 5 were asked for"),
        (
            m.workload(m.deployment(replicas=6), autoscaler=m.autoscaler(2, 6)),
            8,
            "already holds 6 replicas (maxReplicas 6)",
        ),
        (m.workload(m.deployment(replicas=5), autoscaler=m.autoscaler(2, 6)), 5, "already holds 5 replicas"),
        (m.workload(m.deployment(replicas=0), autoscaler=m.autoscaler(2, 6)), 5, "is scaled to 0"),
    ],
)
def test_scaling_that_would_change_nothing_or_wake_the_stopped_is_refused(
    workload: Workload, replicas: int, why: str
) -> None:
    assert why in refused(actions.scale(workload, replicas))


def test_the_minimum_of_one_of_two_autoscalers_is_not_raised_as_both_stand_still() -> None:
    two = replace(m.autoscaler(2, 6), others=("keda-hpa-langgraph",))
    no = actions.scale(m.workload(autoscaler=two), 5)
    assert isinstance(no, Impossible)
    assert "2 autoscalers are for rag7/Deployment/langgraph (langgraph-hpa, keda-hpa-langgraph)" in no.why
    assert "AmbiguousSelector" in no.why
    assert no.advice.startswith("leave one autoscaler")


def test_an_autoscaler_that_is_told_not_to_scale_up_is_not_made_to_by_its_minimum() -> None:
    told = m.hpa(2, 6)
    told["spec"]["behavior"] = {"scaleUp": {"selectPolicy": "Disabled"}}
    no = actions.scale(m.workload(autoscaler=parse_autoscaler(told)), 5)
    assert isinstance(no, Impossible)
    assert "langgraph-hpa is told not to scale up (behavior.scaleUp.selectPolicy: Disabled)" in no.why
    assert "may not scale up" in no.advice


def test_a_full_autoscaler_comes_with_advice() -> None:
    no = actions.scale(m.workload(m.deployment(replicas=6), autoscaler=m.autoscaler(2, 6)), 8)
    assert isinstance(no, Impossible)
    assert no.advice == "raise maxReplicas of langgraph-hpa above 6"


@pytest.mark.parametrize(
    ("build", "kind", "verb"),
    [
        (actions.delete_pod, ActionKind.DELETE_POD, "Delete"),
        (actions.evict_pod, ActionKind.EVICT_POD, "Evict"),
    ],
)
def test_a_pod_is_removed_only_if_somebody_brings_it_back(build: object, kind: ActionKind, verb: str) -> None:
    assert callable(build)
    action = built(build(m.pod_snapshot(), m.workload()))
    assert (action.kind, action.object.uid, action.changes) == (kind, "langgraph-hash2-abcde-uid", ())
    assert (action.pods_affected, action.reversible) == (1, False)
    assert action.params["ready"] is True
    assert action.summary == f"{verb} pod langgraph-hash2-abcde of rag7/Deployment/langgraph on node node-1"
    assert action.undo == "nothing to undo: ReplicaSet langgraph-hash2 makes a new pod"
    assert "has no controller" in refused(build(m.pod_snapshot(owner={}), m.workload()))
    leaving = m.pod()
    leaving["metadata"]["deletionTimestamp"] = "2026-03-04T03:00:00Z"
    assert "terminating already" in refused(build(parse_pod(leaving), m.workload()))
