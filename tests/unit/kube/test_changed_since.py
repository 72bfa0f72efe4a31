"""Findings C1 and H5: whether a size was changed since an alert, told by what stands around the workload and not by guesses."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.domain.workload import KubeEvent
from app.kube.hands import hand_since
from app.kube.lineage import Around

T0 = datetime(2026, 3, 4, 3, 0, tzinfo=UTC)


def at(seconds: int) -> str:
    return (T0 + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def web(replicas: int = 4) -> dict[str, Any]:
    """A Deployment that a person scaled, nobody knows when, and whose status was written just now."""
    fields = [
        {"manager": "kubectl", "subresource": "scale", "fieldsV1": {"f:spec": {"f:replicas": {}}}},
        {"manager": "kube-controller-manager", "subresource": "status", "time": at(90), "fieldsV1": {}},
    ]
    meta = {"name": "web", "generation": 3, "managedFields": fields}
    return {"metadata": meta, "spec": {"replicas": replicas}, "status": {"observedGeneration": 3}}


def replica_set(name: str, made: int, written: int, replicas: int) -> dict[str, Any]:
    fields = [{"manager": "kube-controller-manager", "time": at(written), "fieldsV1": {}}]
    meta = {"name": name, "creationTimestamp": at(made), "managedFields": fields}
    return {"metadata": meta, "spec": {"replicas": replicas}}


def event(name: str, start: int, end: int, seconds: int) -> KubeEvent:
    way = "up" if end > start else "down"
    text = f"Scaled {way} replica set {name} from {start} to {end}"
    return KubeEvent(
        "ScalingReplicaSet", text, "Normal", 1, T0 + timedelta(seconds=seconds), "Deployment/web"
    )


NEW, OLD = "web-new", "web-old"
ALONE = [replica_set(NEW, -900, 60, 4)]
ROLLING = [replica_set(NEW, -20, 60, 3), replica_set(OLD, -9000, 60, 1)]
ROLLED = [event(NEW, 0, 1, -20), event(OLD, 4, 3, -10), event(NEW, 1, 3, 60)]


@pytest.mark.parametrize(
    ("stored", "events", "now", "told"),
    [
        ([replica_set(NEW, -900, -60, 4)], [], 100, ""),  # not written since
        (ALONE, [event(NEW, 2, 4, 60)], 100, "kubectl changed replicas at 03:01:00 UTC"),
        (ALONE, [], 300, ""),  # written for an annotation, as no Event says otherwise
        (ALONE, [], 100, "kubectl changed replicas at 03:01:00 UTC"),  # the Event may be on its way
        (ALONE, [], 4000, "kubectl changed replicas at 03:01:00 UTC"),  # Events are gone by then
        (ALONE, None, 300, "kubectl changed replicas at 03:01:00 UTC"),  # they may not be read
        (
            ALONE,
            [event(OLD, n, n + 1, -500) for n in range(9)],
            300,
            "kubectl changed replicas at 03:01:00 UTC",
        ),
        (ROLLING, ROLLED, 100, ""),  # a release that began before the alert, and as many pods as before
        (ROLLING, [event(NEW, 0, 1, -20), event(OLD, 2, 1, -10)], 100, "kubectl changed replicas"),
        (None, [], 100, "kubectl changed replicas"),  # nothing can be read: asked about
    ],
)
def test_when_a_person_scaled_is_told_by_what_the_controller_wrote(
    stored: list[dict[str, Any]] | None, events: list[KubeEvent] | None, now: int, told: str
) -> None:
    around = Around(T0 + timedelta(seconds=now), stored, NEW, events=events)
    found = hand_since(web(), T0, around)
    assert (found.text if found else "") == told


@pytest.mark.parametrize(("ours", "told"), [((), "somebody changed template at 03:00:30 UTC"), ((31,), "")])
def test_a_template_that_nobody_has_written_is_somebodys_unless_it_is_ours(
    ours: tuple[int, ...], told: str
) -> None:
    manifest = web()
    del manifest["metadata"]["managedFields"][0]
    stored = [replica_set(NEW, 30, 30, 4), replica_set(OLD, -900, 30, 0)]
    wrote = [T0 + timedelta(seconds=s) for s in ours]
    found = hand_since(manifest, T0, Around(T0 + timedelta(seconds=200), stored, NEW, events=[], ours=wrote))
    assert (found.text if found else "") == told


@pytest.mark.parametrize(("noted", "told"), [(True, ""), (False, "somebody changed its spec")])
def test_an_annotation_that_the_controller_has_not_looked_at_yet_is_no_change_of_the_spec(
    *, noted: bool, told: str
) -> None:
    """What only takes away leaves no entry: without any that explains the generation it is asked about."""
    found = web()
    fields = [found["metadata"]["managedFields"][1]]
    if noted:
        fields.append(
            {"manager": "kubectl-annotate", "time": at(80), "fieldsV1": {"f:metadata": {"f:annotations": {}}}}
        )
    found["metadata"] |= {"generation": 4, "managedFields": fields}
    hand = hand_since(
        found, T0, Around(T0 + timedelta(seconds=100), [replica_set(NEW, -900, -60, 4)], NEW, events=[])
    )
    assert (hand.text if hand else "") == told
