"""The target of a Flagger Canary is somebody else's: each change of its template is a new release to Flagger."""

from __future__ import annotations

from typing import Any

from app.domain.errors import AccessDenied
from app.domain.json import Obj
from app.domain.owner import Owners
from app.domain.target import Kind
from app.kube.owners import owners_of
from tests.unit.kube import manifests as m
from tests.unit.kube.fake import FakeCluster

REPLICAS: Obj = {"f:spec": {"f:replicas": {}}}


def _writes(manager: str, **entry: Any) -> Obj:
    return {"manager": manager, "time": m.TIMES[1], "fieldsV1": REPLICAS, **entry}


def _primary(kind: str = "Canary", api: str = "flagger.app/v1beta1", name: str = "canary-of-web") -> Obj:
    made = m.deployment()
    made["metadata"] |= {
        "name": "langgraph-primary",
        "ownerReferences": [{"apiVersion": api, "kind": kind, "name": name, "uid": "c", "controller": True}],
    }
    return made


async def _found(*more: Obj, writes: Obj, denied: bool = False) -> Owners:
    manifest = m.deployment()
    manifest["metadata"]["managedFields"] = [writes]
    cluster = FakeCluster(manifest, *more)
    if denied:
        read = cluster.get

        async def get(kind: Kind, namespace: str, name: str) -> Obj:
            if name.endswith("-primary"):
                raise AccessDenied("not yours")
            return await read(kind, namespace, name)

        cluster.get = get  # type: ignore[method-assign]
    return await owners_of(cluster, m.workload(manifest))


async def test_the_canary_is_named_by_what_it_made_and_each_step_on_the_target_is_its_own() -> None:
    (owner,) = (await _found(_primary(), writes=_writes("flagger"))).found
    assert (str(owner), owner.of, owner.relation) == (
        "Canary canary-of-web (Flagger)",
        Kind.DEPLOYMENT,
        "controls",
    )
    assert owner.edit == "kubectl edit canary.flagger.app/canary-of-web -n rag7"
    assert (
        "each change of its template is a new release to Flagger, and langgraph-primary serves"
        in owner.clause
    )


async def test_without_its_name_that_of_the_target_is_taken() -> None:
    writes = _writes("flagger")
    others = _primary("Widget", "example.com/v1")
    for found in (
        await _found(writes=writes),
        await _found(others, writes=writes),
        await _found(_primary(), writes=writes, denied=True),
    ):
        assert [str(o) for o in found.found] == ["Canary langgraph (Flagger)"]


async def test_what_flagger_never_sized_is_no_canary_s() -> None:
    """A name that ends in primary is anybody's, and so is a status."""
    for writes in (_writes("kubectl-edit"), _writes("flagger", subresource="status")):
        assert (await _found(_primary(), writes=writes)).found == ()


async def test_the_primary_belongs_to_it_by_reference() -> None:
    manifest = _primary()
    found = await owners_of(FakeCluster(manifest), m.workload(manifest))
    assert [str(o) for o in found.found] == ["Canary canary-of-web (Flagger)"]
