"""Procedures from an order to its end on the simulated cluster: good, bad and hung releases, rollbacks, sizes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.domain.http_check import HttpAddress, HttpAnswer
from app.domain.json import JsonValue
from app.domain.outcome import IncidentState, RunState
from app.domain.target import Kind
from app.store import incidents, runs
from app.store.runs import Run
from tests.orders import API, LANGGRAPH, Order, orders_world
from tests.scenario.rig import Rig

PIN = f"@sha256:{'a' * 64}"


async def born(path: Path) -> Rig:
    return await Rig(path / "rig.sqlite", world=orders_world(), stride=15.0).born()


async def order(rig: Rig, name: str, target: str = LANGGRAPH, key: str = "1", **params: JsonValue) -> Run:
    """Order it and let it come to rest; the newest run."""
    known = len(await rig.store.read(lambda conn: runs.page(conn, None, 50)))
    await rig.store.ingest(Order(target, params).delivery(name, rig.clock, key=key))

    async def over() -> bool:
        found = await rig.store.read(lambda conn: runs.page(conn, None, 50))
        return len(found) > known and all(
            r.ended_at is not None or r.state is RunState.WAITING for r in found
        )

    await rig.until(over, 3_600)
    return (await rig.store.read(lambda conn: runs.page(conn, None, 1)))[0]


def image(rig: Rig, name: str = "langgraph") -> str:
    manifest: Any = rig.cluster.peek(Kind.DEPLOYMENT, "rag7", name)
    return str(manifest["spec"]["template"]["spec"]["containers"][0]["image"]).rpartition(":")[2]


def cause(rig: Rig) -> str:
    manifest: Any = rig.cluster.peek(Kind.DEPLOYMENT, "rag7", "langgraph")
    return str(manifest["metadata"]["annotations"]["kubernetes.io/change-cause"])


def patches(rig: Rig) -> list[str]:
    return [m.marker.rpartition("/")[2] for m in rig.cluster.mutations if m.verb == "patch" and not m.dry_run]


async def test_a_good_release_is_one_write_and_fixed_by_its_health_check(tmp_path: Path) -> None:
    rig = await born(tmp_path)
    run = await order(rig, "deploy", image=":v1.5.0", service="langgraph")
    assert (run.state, image(rig), len(patches(rig))) == (RunState.FIXED, "v1.5.0", 1)
    assert cause(rig) == "langgraph ghcr.io/stacey77/rag7:v1.5.0 (alert-remediator)"
    assert "http://langgraph.rag7:80/health answers 200" in run.result
    await rig.close()


async def test_the_application_is_asked_only_once_the_order_has_acted(tmp_path: Path) -> None:
    """Not for a dry run, not under a pause, not for a refused image, not while a plan waits."""
    rig = await born(tmp_path)
    asked: list[str] = []
    get = rig.cluster.http.get

    async def heard(address: HttpAddress) -> HttpAnswer:
        asked.append(str(len(patches(rig))))
        return await get(address)

    rig.cluster.http.get = heard  # type: ignore[method-assign]
    healthy: dict[str, JsonValue] = {"image": ":v1.5.0", "service": "langgraph"}
    dry = Order(LANGGRAPH, healthy).delivery("deploy", rig.clock, key="dry")
    assert dry.manual is not None
    await rig.store.ingest(replace(dry, manual=replace(dry.manual, dry_run=True)))
    await rig.run(60)
    await order(rig, "deploy", key="refused", image=":v1.4.2", service="langgraph")
    waiting = await order(rig, "hotfix", key="waits", image=":v1.5.1", service="langgraph")
    await rig.operations.reject(waiting.id, "kim", waiting.plan_hash)
    await rig.operations.pause("all", "wait", "kim", None)
    await order(rig, "deploy", key="paused", image=":v1.5.0", service="langgraph")
    assert (asked, patches(rig)) == ([], [])
    await rig.operations.resume("all", "kim")
    run = await order(rig, "deploy", key="acts", image=":v1.5.0", service="langgraph")
    assert (run.state, set(asked)) == (RunState.FIXED, {"1"})
    await rig.close()


@pytest.mark.parametrize(
    ("tag", "says"),
    [
        ("v1.6.0", "answers 500 (wanted 2xx)"),
        ("v1.7.0", "are taken as harmless"),
        ("v9", "v9"),
    ],
)
async def test_a_bad_release_is_taken_back_by_itself_and_says_why(
    tmp_path: Path, tag: str, says: str
) -> None:
    rig = await born(tmp_path)
    run = await order(rig, "deploy", image=f":{tag}", service="langgraph")
    assert (run.state, image(rig)) == (RunState.NOT_FIXED, "v1.4.2")
    assert len(patches(rig)) == 2
    assert patches(rig)[1] == "undo"
    assert says in rig.notebook.text
    assert cause(rig) == "release v1.4.2"
    (incident,) = await rig.store.read(lambda conn: incidents.page(conn, None, 5))
    assert incident.state is IncidentState.ESCALATED
    await rig.close()


async def test_promise_6_a_release_that_no_pod_shows_is_set_and_not_fixed(tmp_path: Path) -> None:
    """At 0 replicas every rollout is healthy at once, and nothing is known of the image."""
    rig = await born(tmp_path)
    rig.cluster.edit(
        Kind.DEPLOYMENT, "rag7", "langgraph", [{"op": "replace", "path": "/spec/replicas", "value": 0}]
    )
    await rig.run(60)
    run = await order(rig, "deploy", image=":v1.5.0")
    assert (run.state, image(rig)) == (RunState.PROBE_ERROR, "v1.5.0")
    assert "it is set, and no pod shows it: rag7/Deployment/langgraph has 0 replicas" in run.result
    await rig.close()


@pytest.mark.parametrize(("to", "told"), [(":v1.4.2", True), (":v1.5.0", True), (f":v1.5.0{PIN}", False)])
async def test_a_plan_that_gives_up_a_digest_says_so(tmp_path: Path, to: str, told: bool) -> None:
    rig = await born(tmp_path)
    path = "/spec/template/spec/containers/0/image"
    pinned = f"ghcr.io/stacey77/rag7:v1.4.2{PIN}"
    rig.cluster.edit(Kind.DEPLOYMENT, "rag7", "langgraph", [{"op": "replace", "path": path, "value": pinned}])
    await rig.run(60)
    run = await order(rig, "hotfix", image=to)
    (action,) = run.step.actions
    assert (run.state, "the digest that pinned it goes" in action.summary) == (RunState.WAITING, told)
    await rig.close()


async def test_a_second_release_minutes_after_the_first_is_no_flapping(tmp_path: Path) -> None:
    rig = await born(tmp_path)
    first = await order(rig, "deploy", image=":v1.5.0")
    second = await order(rig, "deploy", key="2", image=":v1.5.1")
    assert (first.state, second.state, image(rig)) == (RunState.FIXED, RunState.FIXED, "v1.5.1")
    await rig.close()


async def test_orders_of_procedures_stay_within_the_shared_budget(tmp_path: Path) -> None:
    """Three an hour on one target are the policy's budget, whoever orders the fourth."""
    rig = await born(tmp_path)
    for number in range(3):
        assert (await order(rig, "scale", key=str(number), replicas=4 + number)).state is RunState.FIXED
    fourth = await order(rig, "scale", key="3", replicas=3)
    assert fourth.state is not RunState.FIXED
    assert "budget" in rig.notebook.text
    assert len(patches(rig)) == 3
    await rig.close()


async def test_a_hotfix_waits_for_an_approval_though_an_approver_ordered_it(tmp_path: Path) -> None:
    rig = await born(tmp_path)
    run = await order(rig, "hotfix", image=":v1.5.0")
    assert (run.state, patches(rig)) == (RunState.WAITING, [])
    await rig.operations.approve(run.id, "kim", run.plan_hash)

    async def fixed() -> bool:
        return (await rig.store.read(lambda conn: runs.get(conn, run.id))).state is RunState.FIXED

    await rig.until(fixed, 900)
    assert (image(rig), len(patches(rig))) == ("v1.5.0", 1)
    await rig.close()


@pytest.mark.parametrize(("after", "state"), [(0.02, RunState.FIXED), (0.045, RunState.NOT_FIXED)])
async def test_a_hotfix_whose_error_lines_double_is_not_fixed(
    tmp_path: Path, after: float, state: RunState
) -> None:
    """Its pods are a minute old when it settles: their lines are not those of two."""
    world, errors = orders_world(), {"langgraph": 0.02, "langgraph v1.7.0": after}
    behaviours = tuple(
        b.model_copy(update={"error_ratio": errors.get(b.name, b.error_ratio)}) for b in world.behaviours
    )
    world = world.model_copy(update={"behaviours": behaviours})
    rig = await Rig(tmp_path / "rig.sqlite", world=world, stride=5.0).born()
    await rig.run(600)
    run = await order(rig, "hotfix", image=":v1.7.0", service="langgraph")
    await rig.operations.approve(run.id, "kim", run.plan_hash)

    async def over() -> bool:
        return (await rig.store.read(lambda conn: runs.get(conn, run.id))).ended_at is not None

    await rig.until(over, 3_600)
    ended = await rig.store.read(lambda conn: runs.get(conn, run.id))
    assert ended.state is state, ended.result
    assert "3.6 before" in ended.result
    await rig.close()


@pytest.mark.parametrize(("revision", "tag"), [(None, "v1.4.1"), (1, "v1.4.1")])
async def test_a_rollback_goes_to_the_newest_different_or_the_given_revision(
    tmp_path: Path, revision: int | None, tag: str
) -> None:
    rig = await born(tmp_path)
    run = await order(rig, "rollback", service="langgraph", revision=revision)
    assert (run.state, image(rig), len(patches(rig))) == (RunState.FIXED, tag, 1)
    await rig.close()


async def test_a_size_is_set_up_and_down_and_an_autoscaler_is_named(tmp_path: Path) -> None:
    rig = await born(tmp_path)
    up = await order(rig, "scale", replicas=5)
    down = await order(rig, "scale", key="2", replicas=2)
    assert (up.state, down.state) == (RunState.FIXED, RunState.FIXED)
    await order(rig, "scale", API, key="3", replicas=5)
    assert "utoscaler langgraph-hpa sizes" in rig.notebook.text
    adjusted = await order(rig, "adjust-hpa", API, key="4", min=3, max=12, utilization=60)
    hpa: Any = rig.cluster.peek(Kind.HPA, "rag7", "langgraph-hpa")
    target = hpa["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"]
    assert (adjusted.state, hpa["spec"]["minReplicas"], hpa["spec"]["maxReplicas"], target) == (
        RunState.FIXED,
        3,
        12,
        60,
    )
    assert len(patches(rig)) == 3
    await rig.close()
