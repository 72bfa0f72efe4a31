"""That nobody paused a rollout is not said to be somebody's hand: a late word of a busy controller is none, and a resume is told by the condition
that turned."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.kube.lineage import Around, resumed_at

T0 = datetime(2026, 3, 4, 3, 0, tzinfo=UTC)


def stamp(seconds: float) -> str:
    return (T0 + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def deployment(updated: int, turned: int, reason: str = "NewReplicaSetAvailable") -> dict[str, Any]:
    condition = {
        "type": "Progressing",
        "status": "True",
        "reason": reason,
        "lastUpdateTime": stamp(updated),
        "lastTransitionTime": stamp(turned),
    }
    return {
        "metadata": {"name": "web", "uid": "u1", "generation": 3, "managedFields": []},
        "spec": {"replicas": 3, "template": {}, "progressDeadlineSeconds": 600},
        "status": {"observedGeneration": 3, "conditions": [condition]},
    }


def around(moved: int, made: int = -300) -> Around:
    replica_set = {
        "metadata": {
            "name": "web-1",
            "creationTimestamp": stamp(made),
            "managedFields": [{"manager": "kube-controller-manager", "time": stamp(moved)}],
        },
        "spec": {"replicas": 3},
    }
    return Around(now=T0 + timedelta(minutes=10), current="web-1", revisions=[replica_set], events=[])


@pytest.mark.parametrize("late", [1, 2, 5, 30])
def test_promise_8_a_rollout_whose_end_a_busy_controller_tells_late_was_resumed_by_nobody(late: int) -> None:
    assert resumed_at(deployment(60 + late, -300), around(60), T0) is None


@pytest.mark.parametrize("late", [2, 5, 30])
def test_promise_8_a_rollout_that_ends_after_its_deadline_was_resumed_by_nobody(late: int) -> None:
    assert resumed_at(deployment(60 + late, 60 + late), around(60, made=-900), T0) is None


def test_a_rollout_that_was_resumed_after_the_alert_is_told_with_its_time() -> None:
    assert resumed_at(deployment(60, 60), around(-200), T0) == T0 + timedelta(seconds=60)
    assert resumed_at(deployment(60, 60), around(-200, made=-9_000), T0) == T0 + timedelta(seconds=60)


def test_a_rollout_that_was_resumed_before_the_alert_is_nobodys_hand_since() -> None:
    assert resumed_at(deployment(-60, -60), around(-200), T0) is None
