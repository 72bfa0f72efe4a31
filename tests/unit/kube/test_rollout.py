"""Rollout status, kind by kind."""

from __future__ import annotations

from typing import Any

import pytest

from app.domain.json import Obj
from app.domain.workload import RolloutState
from app.kube.rollout import rollout_status
from tests.unit.kube import manifests as m


def _with(manifest: Obj, spec: Obj, **status: Any) -> Obj:
    manifest["spec"] |= spec
    manifest["status"] |= status
    return manifest


_FAILED = [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]
_QUOTA = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: small"}
_MOVING = {"updateRevision": "postgres-hash3"}
_PARTITION = {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}}
_ON_DELETE = {"updateStrategy": {"type": "OnDelete"}}


@pytest.mark.parametrize(
    ("manifest", "state", "text"),
    [
        (m.deployment(), "complete", "3 of 3 pods are available"),
        (_with(m.deployment(), {"paused": True}), "paused", "the rollout is paused"),
        (
            _with(m.deployment(), {}, observedGeneration=3),
            "progressing",
            "generation 4 is not observed yet (3 is)",
        ),
        (_with(m.deployment(), {}, conditions=_FAILED), "failed", "no progress within the deadline"),
        (
            _with(m.deployment(), {}, conditions=[*_FAILED, _QUOTA]),
            "failed",
            "no progress within the deadline: exceeded quota: small",
        ),
        (_with(m.deployment(), {}, updatedReplicas=1), "progressing", "1 of 3 pods are updated"),
        (
            _with(m.deployment(), {}, updatedReplicas=1, conditions=[_QUOTA]),
            "progressing",
            "1 of 3 pods are updated: exceeded quota: small",
        ),
        (_with(m.deployment(), {}, replicas=4), "progressing", "1 old pods are still to end"),
        (_with(m.deployment(), {}, availableReplicas=2), "progressing", "2 of 3 pods are available"),
        (m.deployment(replicas=0), "complete", "0 of 0 pods are available"),
        (m.stateful_set(), "complete", "2 of 2 pods are ready"),
        (_with(m.stateful_set(), {}, readyReplicas=1), "progressing", "1 of 2 pods are ready"),
        (_with(m.stateful_set(), {}, updatedReplicas=1, **_MOVING), "progressing", "1 of 2 pods are updated"),
        (_with(m.stateful_set(), {}, **_MOVING), "progressing", "2 of 2 pods are updated"),
        (
            _with(m.stateful_set(), _PARTITION, updatedReplicas=1, **_MOVING),
            "complete",
            "2 of 2 pods are ready",
        ),
        (
            _with(m.stateful_set(), _PARTITION, updatedReplicas=0, **_MOVING),
            "progressing",
            "0 of 1 pods are updated",
        ),
        (_with(m.stateful_set(), _ON_DELETE), "unknown", "updates happen when pods are deleted (OnDelete)"),
        (m.daemon_set(), "complete", "3 of 3 pods are available"),
        (_with(m.daemon_set(), {}, updatedNumberScheduled=2), "progressing", "2 of 3 pods are updated"),
        (_with(m.daemon_set(), {}, numberAvailable=2), "progressing", "2 of 3 pods are available"),
        (_with(m.daemon_set(), _ON_DELETE), "unknown", "updates happen when pods are deleted (OnDelete)"),
    ],
)
def test_a_rollout_is_complete_only_when_everything_says_so(manifest: Obj, state: str, text: str) -> None:
    found = rollout_status(m.workload(manifest))
    assert (found.state, found.text) == (RolloutState(state), text)
