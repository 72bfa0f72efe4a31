"""What objects of the cluster say of themselves never reaches a text of ours with its secrets, or whole when it is long."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from app.domain.json import Obj
from app.kube.rollout import rollout_status
from app.kube.scaled_objects import _said, at_zero, paused, said
from app.kube.startup import _refused
from remediations.causes import findings_of
from tests.unit.causes.world import World
from tests.unit.kube import manifests as m

SECRET = "Kr8vTq2xPz7Lw"
SAYINGS = (
    f'admission webhook "v.test" denied the request: env DB_PASSWORD="{SECRET}" is not allowed',
    f"error parsing redis metadata: password={SECRET}\nat line 3",
    f'spec.env[0].value: Invalid value: "{SECRET}": must be no more than 3 characters; token={SECRET}',
    "long " * 40_000,
)  # fmt: skip


def _scaled(words: str, *, noted: bool = False) -> Obj:
    notes = {"autoscaling.keda.sh/paused-replicas": f"token={SECRET} {words}"} if noted else {}
    conditions = [{"type": "Ready", "status": "False", "reason": "Error", "message": words}]
    return {"metadata": {"name": "web", "annotations": notes}, "status": {"conditions": conditions}}


def _refusing(words: str, **status: int) -> Obj:
    manifest = m.deployment()
    failure = {"type": "ReplicaFailure", "status": "True", "message": words}
    manifest["status"] |= {"conditions": [failure], "updatedReplicas": 0, **status}
    return manifest


TOLD: dict[str, Callable[[str], str]] = {
    "a rollout whose pods are refused": lambda w: rollout_status(m.workload(_refusing(w))).text,
    "pods that cannot be made": lambda w: _refused(m.workload(_refusing(w))),
    "a ScaledObject that is not ready": lambda w: said(_scaled(w)),
    "KEDA's word on its autoscaler": lambda w: _said(_scaled(w)),
    "a ScaledObject that is paused": lambda w: paused(_scaled(w, noted=True)),
    "a ScaledObject at zero": lambda w: at_zero(_scaled(w, noted=True))[0],
}


@pytest.mark.parametrize("words", SAYINGS, ids=["admission", "a parser", "a field", "long"])
@pytest.mark.parametrize("what", TOLD)
def test_what_an_object_says_is_one_bounded_line_without_secrets(what: str, words: str) -> None:
    told = TOLD[what](words)
    assert told
    assert SECRET not in told
    assert "\n" not in told
    assert len(told) < 400


@pytest.mark.parametrize(
    "words",
    [
        f'admission webhook "v.test" denied the request: value "{SECRET.lower()}" of env GREETING is not allowed',
        f'pods "a-" is forbidden: spec.x: Invalid value: "{SECRET.lower()}": no',
    ],
)
async def test_a_refusal_is_told_without_the_values_that_it_quotes(words: str) -> None:
    """A value of small letters looks like any word: that it is quoted tells."""
    world = World().refused(words)
    found = await world.investigate()
    assert "denied" in str(findings_of(found)) or "forbidden" in str(findings_of(found))
    assert SECRET.lower() not in str(findings_of(found))
