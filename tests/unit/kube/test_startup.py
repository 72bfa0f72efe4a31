"""Finding E: a verification ends early only for what waiting does not heal, and names the pod and the words."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.domain.target import Kind, Target
from app.kube.parse import parse_pod, parse_workload
from app.kube.startup import new_pods

ACTED = datetime(2026, 3, 4, 3, 0, tzinfo=UTC)
TARGET = Target("rag7", Kind.DEPLOYMENT, "web")


def pod(state: dict[str, Any], *, age: float = 5, restarts: int = 0, ready: bool = False, **last: Any) -> Any:
    made = (ACTED + timedelta(seconds=age)).isoformat()
    status = {"name": "app", "ready": ready, "restartCount": restarts, "state": state, "lastState": last}
    ok = "True" if ready else "False"
    return parse_pod(
        {
            "metadata": {"name": "web-1", "namespace": "rag7", "uid": "p", "creationTimestamp": made},
            "status": {"conditions": [{"type": "Ready", "status": ok}], "containerStatuses": [status]},
        }
    )


def workload(*conditions: dict[str, Any]) -> Any:
    meta = {"name": "web", "namespace": "rag7", "uid": "u"}
    spec = {"replicas": 2, "template": {"spec": {"containers": []}}}
    return parse_workload(
        TARGET, {"metadata": meta, "spec": spec, "status": {"conditions": list(conditions)}}
    )


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return {"waiting": {"reason": reason, "message": message}}


CRASHED: Any = {"terminated": {"exitCode": 1, "reason": "Error"}}
QUOTA = {
    "type": "ReplicaFailure",
    "status": "True",
    "message": 'pods "web-x" is forbidden: exceeded quota: small',
}


@pytest.mark.parametrize(
    ("pods", "conditions", "why"),
    [
        ([], [], ""),
        ([pod(waiting("ContainerCreating"))], [], ""),
        ([pod(waiting("ErrImagePull"))], [], ""),  # the first try may have met a slow registry
        (
            [pod(waiting("ImagePullBackOff", "not found"))],
            [],
            "web-1/app cannot get its image (ImagePullBackOff): not found",
        ),
        (
            [pod(waiting("CreateContainerConfigError", 'secret "a" not found'))],
            [],
            'web-1/app cannot be created (CreateContainerConfigError): secret "a" not found',
        ),
        ([pod(waiting("CrashLoopBackOff"), restarts=1, **CRASHED)], [], ""),
        (
            [pod(waiting("CrashLoopBackOff"), restarts=2, **CRASHED)],
            [],
            "web-1/app crashes (exit code 1, 2 restarts)",
        ),
        ([pod({"running": {}}, restarts=4, **CRASHED)], [], ""),  # it runs now, and may get ready
        ([pod(waiting("ImagePullBackOff"), age=-600)], [], ""),  # a pod from before our write
        ([pod(waiting("ImagePullBackOff")), pod({"running": {}}, ready=True)], [], ""),
        ([], [QUOTA], 'no pod can be made: pods "web-x" is forbidden: exceeded quota: small'),
        ([pod({"running": {}})], [QUOTA], ""),  # some could be made
        ([], [{**QUOTA, "status": "False"}], ""),
    ],
)
def test_e_what_cannot_start_is_told_from_what_is_slow(
    pods: list[Any], conditions: list[dict[str, Any]], why: str
) -> None:
    assert new_pods(workload(*conditions), pods, ACTED, rolls=True).doomed == why


@pytest.mark.parametrize(
    ("meta", "status"),
    [({"generation": 2}, {"observedGeneration": 1}), ({}, {"updatedReplicas": 2})],
    ids=["said of the template before", "all pods are there"],
)
def test_e_what_was_refused_before_our_write_dooms_nothing(
    meta: dict[str, Any], status: dict[str, Any]
) -> None:
    """A rollback of what a quota refuses meets the old condition at its first looks."""
    stood = workload(QUOTA).manifest
    stood["metadata"] |= meta
    stood["status"] |= status
    assert new_pods(parse_workload(TARGET, stood), [], ACTED, rolls=True).doomed == ""


def _named(name: str, made: Any, template: str = "new") -> Any:
    return replace(made, ref=replace(made.ref, name=name), template_hash=template)


def _numbers(updated: int, replicas: int, available: int) -> Any:
    numbers = {"updatedReplicas": updated, "replicas": replicas, "availableReplicas": available}
    manifest = workload().manifest
    manifest["spec"]["replicas"], manifest["status"] = 3, {**manifest["status"], **numbers}
    return parse_workload(TARGET, manifest)


def test_how_many_pods_of_a_step_are_up_is_counted_and_one_that_is_not_is_named() -> None:
    """Pods of the template that were there already are the rollout's as well; one that is up between two crashes is not up."""
    up, down = pod({"running": {}}, ready=True), pod(waiting("ImagePullBackOff", "no such tag"))
    before = _named("web-0", pod({"running": {}}, age=-600, ready=True))
    old = _named("web-9", pod({"running": {}}, age=-600, ready=True), "old")
    flickers = _named("web-3", pod({"running": {}}, restarts=3, ready=True, **CRASHED))
    found = new_pods(
        _numbers(2, 3, 1), [_named("web-1", up), _named("web-2", down), before, old], ACTED, rolls=True
    )
    assert found.serving == 2
    assert found.text.startswith(
        "2 of 3 new pods serve, 1 of those before does, and web-2 does not: cannot get its image (ImagePullBackOff)"
    )
    alone = new_pods(_numbers(1, 4, 3), [_named("web-2", down), *[old] * 3], ACTED, rolls=True)
    assert alone.text.startswith("0 of 3 new pods serve, 3 of those before do, and web-2 does not")
    assert (
        new_pods(_numbers(2, 3, 1), [_named("web-1", up), before, old], ACTED, rolls=False).text
        == "1 new pods serve"
    )
    assert new_pods(_numbers(1, 3, 3), [flickers, old], ACTED, rolls=True).serving == 0


@pytest.mark.parametrize(
    ("numbers", "ready", "text"),
    [
        ((3, 3, 3), 3, "3 of 3 new pods serve"),
        ((2, 3, 3), 3, "2 of 3 new pods serve, 1 of those before does"),
        ((1, 4, 3), 3, "0 of 3 new pods serve, 3 of those before do"),
    ],
    ids=["all of the goal were there", "one is of what is left", "none is known to be"],
)
def test_pods_that_were_there_before_a_rollback_are_not_counted_as_of_before_as_well(
    numbers: tuple[int, int, int], ready: int, text: str
) -> None:
    there = [_named(f"web-{n}", pod({"running": {}}, age=-600, ready=True)) for n in range(ready)]
    assert new_pods(_numbers(*numbers), there, ACTED, rolls=True).text == text


def test_the_controllers_own_numbers_tell_of_pods_that_were_there_before_a_rollback() -> None:
    """No pod was made since our write: those of the older version had never gone."""
    assert new_pods(_numbers(2, 3, 2), [], ACTED, rolls=True).serving == 1
    assert new_pods(_numbers(1, 4, 3), [], ACTED, rolls=True).serving == 0
    assert new_pods(_numbers(3, 3, 3), [], ACTED, rolls=False).serving == 0
