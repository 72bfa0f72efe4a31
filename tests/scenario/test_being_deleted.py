"""The deletion of a parent is a person's hand: nothing is written into what somebody is deleting, nobody is called for it, and a run that is
watched ends with it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from app.domain.decision import Code, Verdict
from app.domain.events import EventKind
from app.domain.outcome import IncidentState, RunState
from app.domain.target import Kind
from app.policy.model import Otherwise, Policy
from tests.crash.worlds import flood
from tests.scenario.rig import Rig
from tests.scenario.scenes import (
    all_runs,
    born,
    closed,
    decision,
    policy,
    the_incident,
    the_run,
    trail,
    writes,
)

SPACE = (Kind.NAMESPACE, "", "rag7")
WORKLOAD = (Kind.DEPLOYMENT, "rag7", "langgraph")
API = (Kind.DEPLOYMENT, "rag7", "langgraph-api")


def delete_slowly(rig: Rig, where: tuple[Kind, str, str], *finalizers: str) -> None:
    """Somebody deletes it, and a finalizer holds it: it stays, with a stamp."""
    held = list(finalizers or ("example.test/hold",))
    rig.cluster.edit(*where, [{"op": "add", "path": "/metadata/finalizers", "value": held}])
    rig.cluster.delete(*where)


def an_owner(rig: Rig, *finalizers: str) -> None:
    """The workload gets an owner that is being deleted."""
    pod = {"metadata": {"labels": {"app": "mother"}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}}
    spec = {"replicas": 0, "selector": {"matchLabels": {"app": "mother"}}, "template": pod}
    meta = {"name": "mother", "namespace": "rag7"}
    mother = {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": meta, "spec": spec}
    uid = rig.cluster.create(mother)["metadata"]["uid"]
    owner = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "mother", "uid": uid}
    rig.cluster.edit(*WORKLOAD, [{"op": "add", "path": "/metadata/ownerReferences", "value": [owner]}])
    delete_slowly(rig, (Kind.STATEFUL_SET, "rag7", "mother"), *finalizers)


def the_namespace(rig: Rig) -> None:
    delete_slowly(rig, SPACE)


def the_workload(rig: Rig) -> None:
    delete_slowly(rig, WORKLOAD)


@pytest.mark.parametrize(
    ("begin", "told"),
    [
        (the_namespace, "namespace rag7 is being deleted since "),
        (the_workload, "Deployment langgraph is being deleted since "),
        (an_owner, "its owner StatefulSet mother is being deleted since "),
    ],
    ids=["namespace", "workload", "owner"],
)
async def test_nothing_is_written_into_what_somebody_is_deleting_and_nobody_is_called(
    tmp_path: Path, begin: Callable[[Rig], None], told: str
) -> None:
    rig = await born(tmp_path)
    begin(rig)
    await rig.run(400)
    found = await decision(rig)
    assert (found.verdict, found.code) == (Verdict.DENY, Code.BEING_DELETED)
    assert closed(found)["hands"] is Code.BEING_DELETED
    assert told in found.text
    assert await all_runs(rig) == []
    assert writes(rig) == []
    assert await trail(rig, EventKind.ESCALATED) == []
    assert (await the_incident(rig)).state is IncidentState.REFUSED
    await rig.close()


async def test_an_owner_that_leaves_behind_what_it_owns_stops_nothing(tmp_path: Path) -> None:
    """`kubectl delete --cascade=orphan`: the workload stays."""
    rig = await born(tmp_path)
    an_owner(rig, "orphan")
    await rig.run(5)
    assert (await decision(rig)).code is not Code.BEING_DELETED
    await rig.close()


async def test_a_deletion_that_begins_right_before_the_request_stops_it(tmp_path: Path) -> None:
    """After all gates: the namespace is read once more before the request goes out."""
    rig = await born(tmp_path)
    seen: list[bool] = []

    def meddle(request: object, when: str) -> None:
        if getattr(request, "dry_run", False) and when == "after" and not seen:
            seen.append(True)
            delete_slowly(rig, SPACE)

    rig.cluster.on_request(meddle)
    await rig.run(40)
    assert seen
    assert writes(rig) == []
    assert await trail(rig, EventKind.ESCALATED) == []
    assert (await decision(rig)).code is Code.BEING_DELETED
    await rig.close()


def _watched_rules() -> Policy:
    undo = (Otherwise.NEXT, Otherwise.UNDO, Otherwise.ESCALATE)
    return policy(otherwise=undo, cooldown=timedelta(seconds=1))


@pytest.mark.parametrize(
    ("begin", "told"),
    [
        (lambda rig: delete_slowly(rig, SPACE), "namespace rag7 is being deleted since "),
        (lambda rig: delete_slowly(rig, API), "Deployment langgraph-api is being deleted since "),
        (lambda rig: rig.cluster.delete(*API), "rag7/Deployment/langgraph-api was deleted"),
    ],
    ids=["namespace", "workload", "gone"],
)
async def test_a_run_whose_target_is_deleted_while_it_is_watched_ends_at_the_next_look(
    tmp_path: Path, begin: Callable[[Rig], None], told: str
) -> None:
    """As a person's hand: no later step, no undo, and nobody is called."""
    rig = await born(tmp_path, rules=_watched_rules(), world=flood())
    await rig.until(lambda: bool(writes(rig)), 60)
    done = writes(rig)
    await rig.run(5)
    begin(rig)
    await rig.run(40)
    run = (await all_runs(rig))[0]
    assert run.state is RunState.TAKEN_OVER
    assert told in run.result
    await rig.run(400)
    assert writes(rig) == done
    assert len(await all_runs(rig)) == 1
    assert await trail(rig, EventKind.ESCALATED) == []
    assert "remediator undo" not in "".join(rig.notebook.parents.values()), (
        "nothing is offered that is refused"
    )
    await rig.close()


async def test_an_undo_into_what_somebody_is_deleting_is_not_done(tmp_path: Path) -> None:
    """Also when a person had ordered it a moment before."""
    rig = await born(tmp_path)
    for _ in range(60):
        await rig.run(10)
        if (await the_run(rig)).state is RunState.FIXED:
            break
    done, run = writes(rig), await the_run(rig)
    assert run.state is RunState.FIXED
    await rig.operations.undo(run.id, "kim")
    delete_slowly(rig, SPACE)
    await rig.run(60)
    run = await the_run(rig)
    assert run.state is RunState.UNDO_CONFLICT
    assert "left as it is: namespace rag7 is being deleted since " in run.result
    assert writes(rig) == done
    await rig.close()
