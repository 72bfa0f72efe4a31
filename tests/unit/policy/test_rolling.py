"""How many pods a controller takes down at once: the API's defaults and roundings."""

from __future__ import annotations

from typing import Any

import pytest

from app.domain.target import Kind, ObjectRef, Target
from app.domain.workload import Workload
from app.policy.facts import Replicas
from app.policy.rolling import at_once, replicas_of


def workload(kind: Kind, desired: int, spec: dict[str, Any]) -> Workload:
    return Workload(
        target=Target("rag7", kind, "x"),
        ref=ObjectRef(kind, "rag7", "x", "u", "1"),
        paused=False,
        desired=desired,
        ready=desired,
        updated=desired,
        available=desired,
        observed_generation=1,
        labels={},
        annotations={},
        selector="app=x",
        containers=(),
        manifest={"spec": spec},
    )


@pytest.mark.parametrize(
    ("kind", "desired", "spec", "expected"),
    [
        (Kind.DEPLOYMENT, 3, {}, 0),
        (Kind.DEPLOYMENT, 4, {}, 1),
        (Kind.DEPLOYMENT, 10, {}, 2),
        (Kind.DEPLOYMENT, 10, {"strategy": {"type": "Recreate"}}, 10),
        (Kind.DEPLOYMENT, 10, {"strategy": {"rollingUpdate": {"maxUnavailable": "50%"}}}, 5),
        (Kind.DEPLOYMENT, 10, {"strategy": {"rollingUpdate": {"maxUnavailable": 3}}}, 3),
        (Kind.DEPLOYMENT, 2, {"strategy": {"rollingUpdate": {"maxUnavailable": 30}}}, 2),
        (Kind.DEPLOYMENT, 3, {"strategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}}, 0),
        (Kind.DEPLOYMENT, 3, {"strategy": {"rollingUpdate": {"maxUnavailable": "10%", "maxSurge": 0}}}, 1),
        (Kind.DEPLOYMENT, 3, {"strategy": {"rollingUpdate": {"maxUnavailable": "a lot"}}}, None),
        (Kind.DEPLOYMENT, 3, {"strategy": {"type": "BlueGreen"}}, None),
        (Kind.STATEFUL_SET, 5, {}, 1),
        (Kind.STATEFUL_SET, 5, {"updateStrategy": {"rollingUpdate": {"maxUnavailable": 2}}}, 2),
        (Kind.STATEFUL_SET, 5, {"updateStrategy": {"type": "OnDelete"}}, 0),
        (Kind.DAEMON_SET, 10, {}, 1),
        (Kind.DAEMON_SET, 10, {"updateStrategy": {"rollingUpdate": {"maxUnavailable": "25%"}}}, 3),
        (Kind.JOB, 1, {}, None),
    ],
)
def test_the_bound_is_the_controller_s_own(
    kind: Kind, desired: int, spec: dict[str, Any], expected: int | None
) -> None:
    assert at_once(workload(kind, desired, spec)) == expected


def test_the_fact_has_pods_and_bound() -> None:
    assert replicas_of(workload(Kind.DEPLOYMENT, 4, {})) == Replicas(4, 4, 4, 1)
