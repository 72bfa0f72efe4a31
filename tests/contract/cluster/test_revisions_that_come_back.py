"""The contract, revisions of a StatefulSet: one that comes back gets a new number and is written at that time, and so its earlier one is known."""

from __future__ import annotations

from app.domain.target import Kind, Target
from app.kube.lineage import released_again
from app.kube.read import read_workload, revisions
from tests.contract.cluster.looks import IMAGE, patch_web, replace
from tests.contract.cluster.sides import Side, settled, workload


async def test_what_a_stateful_set_was_rolled_back_from_and_released_again_is_known(side: Side) -> None:
    kind = Kind.STATEFUL_SET
    side.create(workload("StatefulSet"))
    await settled(side, kind)
    for version in (2, 1, 2, 3):
        # Times are in whole seconds: what follows within one has no order in time.
        for _ in range(15):
            await side.pause()
        await patch_web(side, replace(IMAGE, f"registry.test/web:{version}"), kind=kind)
        await settled(side, kind)
    web = await read_workload(side.cluster, Target(side.namespace, kind, "web"))
    found = await revisions(side.cluster, web)
    assert [(r.images[0][-1], r.number, r.earlier) for r in found] == [
        ("3", 5, ()),
        ("2", 4, (2,)),
        ("1", 3, (1,)),
    ]
    assert [r.images[0][-1] for r in found if r.fingerprint in released_again(found)] == ["2"]
