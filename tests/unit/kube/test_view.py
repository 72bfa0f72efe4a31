"""One look asks for each thing once, shares what is under way, and changes nothing."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from app.domain.errors import AccessDenied, ObjectMissing
from app.domain.json import Obj
from app.domain.target import Kind, Target
from app.kube import read
from app.kube.read import View
from tests.unit.kube import manifests as m
from tests.unit.kube.fake import FakeCluster

TARGET = Target(m.NAMESPACE, Kind.DEPLOYMENT, "langgraph")


class Counting(FakeCluster):
    """Counts reads."""

    def __init__(self, *objects: Obj) -> None:
        super().__init__(*objects)
        self.reads: Counter[str] = Counter()

    async def get(self, kind: Kind, namespace: str, name: str) -> Obj:
        self.reads[f"get {kind}"] += 1
        await asyncio.sleep(0)
        return await super().get(kind, namespace, name)

    async def list_objects(self, kind: Kind, *args: Any, **options: Any) -> list[Obj]:
        self.reads[f"list {kind}"] += 1
        await asyncio.sleep(0)
        return await super().list_objects(kind, *args, **options)


async def test_what_is_asked_for_at_the_same_time_is_read_once() -> None:
    cluster = Counting(m.deployment())
    view = View(cluster)
    first, second = await asyncio.gather(
        read.read_workload(view, TARGET), view.get(Kind.DEPLOYMENT, m.NAMESPACE, "langgraph")
    )
    assert first.manifest == second
    assert cluster.reads == {"get Deployment": 1, "list HorizontalPodAutoscaler": 1}


async def test_another_view_reads_again() -> None:
    cluster = Counting(m.deployment())
    for _ in range(2):
        await View(cluster).get(Kind.DEPLOYMENT, m.NAMESPACE, "langgraph")
    assert cluster.reads["get Deployment"] == 2


async def test_a_failure_of_reading_ahead_is_heard_by_who_asks() -> None:
    view = View(Counting())
    await read.ahead(view, TARGET)
    with pytest.raises(ObjectMissing):
        await view.get(Kind.DEPLOYMENT, m.NAMESPACE, "langgraph")
    with pytest.raises(ObjectMissing):
        await read.read_workload(view, TARGET)


async def test_one_reader_that_gives_up_leaves_the_read_to_the_others() -> None:
    view = View(Counting(m.deployment()))
    gone = asyncio.create_task(view.get(Kind.DEPLOYMENT, m.NAMESPACE, "langgraph"))
    stays = asyncio.create_task(view.get(Kind.DEPLOYMENT, m.NAMESPACE, "langgraph"))
    await asyncio.sleep(0)
    gone.cancel()
    assert (await stays)["metadata"]["name"] == "langgraph"
    with pytest.raises(asyncio.CancelledError):
        await gone


async def test_a_list_that_is_given_out_twice_is_two_lists() -> None:
    view = View(Counting(m.deployment()))
    first = await view.list_objects(Kind.DEPLOYMENT, m.NAMESPACE)
    first.clear()
    assert len(await view.list_objects(Kind.DEPLOYMENT, m.NAMESPACE)) == 1


async def test_a_view_changes_nothing() -> None:
    class Denied(FakeCluster):
        async def patch(self, *args: Any, **options: Any) -> Obj:
            raise AccessDenied("the cluster was asked")

    view = View(Denied(m.deployment()))
    for refused in (
        view.patch(Kind.DEPLOYMENT, m.NAMESPACE, "langgraph", []),
        view.delete_pod(m.NAMESPACE, "pod", "uid"),
        view.evict_pod(m.NAMESPACE, "pod", "uid"),
        view.create_event({}),
    ):
        with pytest.raises(RuntimeError, match="a view was asked to"):
            await refused
