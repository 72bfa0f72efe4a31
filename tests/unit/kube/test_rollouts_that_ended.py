"""Whether a rollout came to its end, told by when the older ReplicaSets lost their last pod."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from app.domain.json import Obj
from app.domain.workload import Revision
from app.kube.actions import roll_back
from app.kube.known_good import PodsByTemplate, Records, Word, pods_by_template
from app.kube.lineage import lives
from app.kube.parse import parse_replica_set
from tests.unit.kube import manifests as m
from tests.unit.kube.test_actions import built
from tests.unit.kube.test_known_good import DAY, HOUR, MINUTE, NOW, revision, template

FOURTH = revision(4, 4, 5 * MINUTE, current=True)


def _past(*emptied: float | None) -> list[Revision]:
    """v1 for days, v2 since a day, v3 since 20 min, v4: how many seconds ago the first three lost their last pod."""
    made = [revision(1, 1, 9 * DAY), revision(2, 2, DAY), revision(3, 3, 25 * MINUTE)]
    at = [None if s is None else NOW - timedelta(seconds=s) for s in emptied]
    return [FOURTH, *reversed([replace(r, emptied_at=e) for r, e in zip(made, at, strict=True)])]


def _pods(found: list[Revision]) -> PodsByTemplate:
    return pods_by_template(m.workload(m.deployment(template(4))), found, [], NOW)


@pytest.mark.parametrize(
    ("emptied", "unfinished", "repairs", "goal"),
    [
        ((None, None, None), (), (), 2),
        ((DAY - MINUTE, 24 * MINUTE, 4 * MINUTE), (), (), 2),  # each came to its end
        ((24 * MINUTE, 25 * MINUTE - 1, 4 * MINUTE), (2,), (3,), 3),  # v1 served until v3 did
        ((24 * MINUTE, 25 * MINUTE, 5 * MINUTE), (2,), (3,), 3),
        # all at once: v1 and v2 went together, before the ReplicaSet of v3 was made; nothing tells whether v3 was ready
        ((25 * MINUTE + 30, 25 * MINUTE + 31, 5 * MINUTE + 9), (2,), (), 1),
        ((DAY + 9, 25 * MINUTE + 31, 5 * MINUTE + 9), (), (), 2),  # all at once, each time
        ((MINUTE, MINUTE, MINUTE), (), (), 2),  # a new version of the controller wrote all of them
        ((4 * MINUTE, 25 * MINUTE, 5 * MINUTE), (2, 3), (), 1),  # two in a row were stuck
    ],
)
def test_a_revision_that_was_replaced_before_the_pods_of_an_older_one_were_gone_is_not_known_good(
    emptied: tuple[float | None, ...], unfinished: tuple[int, ...], repairs: tuple[int, ...], goal: int
) -> None:
    found = _past(*emptied)
    pods = _pods(found)
    assert {r.number for r in found if r.fingerprint in pods.unfinished} == set(unfinished)
    assert {r.number for r in found if r.fingerprint in pods.repairs} == set(repairs)
    known = Records(lives(found), (), 1_800, None, pods)
    bad = [r.number for r in found if known.standing(r).word is Word.BAD]
    assert sorted(bad) == list(unfinished)
    workload = m.workload(m.deployment(template(4)))
    assert built(roll_back(workload, found, records=known, pods=pods)).params["to_revision"] == goal


def test_when_a_template_that_came_back_replaced_another_one_is_not_told() -> None:
    """v1, v2, v1 again, v3: the ReplicaSet of v1 is empty since v3, and says nothing of v2."""
    found = [
        revision(4, 3, 5 * MINUTE, current=True),
        replace(revision(3, 1, DAY, earlier=(1,)), emptied_at=NOW - timedelta(minutes=4)),
        replace(revision(2, 2, HOUR), emptied_at=NOW - timedelta(minutes=30)),
    ]
    assert _pods(found).unfinished == frozenset()


@pytest.mark.parametrize(
    ("replicas", "status", "told"), [(0, {"replicas": 0}, True), (0, {"replicas": 1}, False), (1, {}, False)]
)
def test_an_empty_replica_set_tells_since_when(replicas: int, status: Obj, told: bool) -> None:
    manifest = m.replica_set(1, template(1))
    manifest["spec"]["replicas"], manifest["status"] = replicas, status
    manifest["metadata"]["managedFields"] = [
        {"manager": "kube-controller-manager", "time": "2026-03-04T02:58:00Z"},
        {"manager": "kube-controller-manager", "time": "2026-03-04T02:50:00Z", "subresource": "status"},
    ]
    found = parse_replica_set(manifest).emptied_at
    assert found == (NOW - timedelta(minutes=10) if told else None)
