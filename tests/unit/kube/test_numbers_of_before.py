"""A ControllerRevision that comes back gets a new number and keeps none of before; when it was made and when it was written last tell them."""

from __future__ import annotations

import pytest

from app.domain.json import Obj
from app.domain.target import Kind, Target
from app.kube.actions.roll_back import doubts
from app.kube.lineage import left_by_return, put_back, released_again
from app.kube.parse import parse_workload
from app.kube.read import revisions_of
from tests.unit.kube import manifests as m

HOUR = "2026-03-04T{:02d}:00:00Z"


def stored(version: int, number: int, made: int, written: int | None = None) -> Obj:
    """Of version `version`, made at this hour; its number was written at the other one."""
    found = m.controller_revision(
        number, m.template(m.container(image=f"registry.test/langgraph:v{version}"))
    )
    meta = found["metadata"]
    meta["name"] = f"langgraph-v{version}"
    meta["creationTimestamp"] = HOUR.format(made)
    at = HOUR.format(made if written is None else written)
    meta["managedFields"] = [
        {"manager": "kube-controller-manager", "time": at, "fieldsV1": {"f:revision": {}}}
    ]
    return found


ONCE = [stored(1, 1, 1), stored(2, 2, 2), stored(3, 3, 3)]
AGAIN = [stored(1, 3, 1, 3), stored(2, 4, 2, 4), stored(3, 5, 5)]
BACK = [stored(1, 3, 1, 3), stored(2, 2, 2)]
PUT_BACK = [stored(1, 3, 1, 3), stored(2, 4, 2, 4)]
LABELLED = [stored(1, 1, 1, 9), stored(2, 2, 2, 9), stored(3, 3, 3, 9)]
"""Somebody wrote a label on all of them later."""


@pytest.mark.parametrize(
    ("manifests", "earlier", "left", "again"),
    [
        (ONCE, {}, set(), set()),
        (BACK, {"v1": (1,)}, {"v2"}, set()),
        (PUT_BACK, {"v1": (1,), "v2": (2,)}, set(), {"v2"}),
        (AGAIN, {"v1": (1,), "v2": (2,)}, set(), {"v2"}),
        (LABELLED, {}, set(), set()),
    ],
    ids=["once each", "rolled back", "released again", "and a release after it", "a label on all"],
)
def test_what_was_rolled_back_from_and_released_again(
    manifests: list[Obj], earlier: dict[str, tuple[int, ...]], left: set[str], again: set[str]
) -> None:
    newest = max(manifests, key=lambda one: int(one["revision"]))
    workload = parse_workload(
        Target(m.NAMESPACE, Kind.STATEFUL_SET, "langgraph"),
        {**m.deployment(newest["data"]["spec"]["template"]), "kind": "StatefulSet"},
    )
    found = revisions_of(workload, manifests)
    versions = {r.fingerprint: r.name.rpartition("-")[2] for r in found}
    assert {versions[r.fingerprint]: r.earlier for r in found if r.earlier} == earlier
    assert {versions[f] for f in released_again(found)} == again
    assert {versions[f] for f in left_by_return(found)} == left
    assert put_back(found) is (manifests is PUT_BACK)
    for one in found:
        if versions[one.fingerprint] in again:
            assert "released again" in doubts(one, found, ())
