"""`remediator diagnose` on the simulated cluster: every section filled, what cannot be read said, nothing read of what is off limits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.cli.diagnose import screen
from app.domain.errors import BadInput, ClusterUnavailable, Missing, NotPermitted, TryLater
from app.domain.target import Kind
from app.flow.diagnosing import reading
from app.flow.diagnosing.look import SECTIONS, diagnose
from app.policy.model import Opt
from app.sim.faults import Fault, FaultKind, Request
from tests.orders import orders_world
from tests.scenario.rig import Rig
from tests.scenario.scenes import born
from tests.scenario.web import app_of, client_of

WORKLOAD = ("rag7", "Deployment", "langgraph")


def listen(rig: Rig) -> Callable[[], list[str]]:
    """What is asked of the cluster from now on."""
    heard: list[str] = []

    def hear(request: Request, when: str) -> None:
        if when == "before":
            heard.append(f"{request.verb} {request.kind or 'usage'} {request.name}".strip())

    rig.cluster.on_request(hear)
    return lambda: heard


def lines(found: dict[str, Any], name: str) -> str:
    (section,) = [s for s in found["sections"] if s["name"] == name]
    return "\n".join(section["lines"])


async def test_a_broken_release_is_one_screen_with_every_section_and_the_named_cause(tmp_path: Path) -> None:
    rig = await born(tmp_path, "pod-restarting")
    await rig.operations.pause("all", "look first", "kim", None)
    await rig.run(120)
    found: Any = (await diagnose(rig.services, "rag7", "Deployment", "langgraph-worker")).to_json()
    names = [s["name"] for s in found["sections"]]
    assert names == [
        "Cause",
        *(name for name, _, _ in SECTIONS),
        "Alerts, last 24 h",
        "Decisions, last 24 h",
        "Runs, last 24 h",
    ]
    assert all(s["lines"] and not s["unread"] for s in found["sections"])
    assert "BackOff" in lines(found, "Warnings, last hour")
    assert "not ready" in lines(found, "Pods")
    assert "CrashLoopBackOff" in lines(found, "Pods")
    assert "revision 2, present" in lines(found, "Revisions")
    assert "PodRestarting refused" in lines(found, "Alerts, last 24 h")
    assert "kill switch" in lines(found, "Decisions, last 24 h")
    assert found["cause"].startswith(lines(found, "Cause").splitlines()[0])
    assert "langgraph-worker" in found["cause"] or "worker" in found["cause"], found["cause"]
    assert all(len(line) <= 100 for line in screen(found))
    await rig.close()


async def test_a_namespace_names_its_workloads_and_the_causes_of_those_in_trouble(tmp_path: Path) -> None:
    rig = await born(tmp_path, "pod-restarting")
    await rig.operations.pause("all", "look first", "kim", None)
    await rig.run(120)
    found: Any = (await diagnose(rig.services, "rag7")).to_json()
    assert found["subject"] == "rag7"
    assert "Deployment/langgraph-worker: 3 of 3 ready, progressing" in lines(found, "Workloads")
    assert "StatefulSet/postgres: 1 of 1 ready, complete" in lines(found, "Workloads")
    assert found["cause"].startswith("Deployment/langgraph-worker: ")
    assert "PodRestarting" in lines(found, "Alerts, last 24 h")
    assert all(s["lines"] and not s["unread"] for s in found["sections"])
    await rig.close()


async def test_an_ordinary_workload_says_who_sizes_it_and_who_reaches_it(tmp_path: Path) -> None:
    rig = await Rig(tmp_path / "rig.sqlite", world=orders_world()).born()
    await rig.run(30)
    api: Any = (await diagnose(rig.services, "rag7", "Deployment", "langgraph-api")).to_json()
    assert "HorizontalPodAutoscaler langgraph-hpa: 2 to 10" in lines(api, "Managed by")
    found: Any = (await diagnose(rig.services, *WORKLOAD)).to_json()
    assert lines(found, "Endpoints") == "Service langgraph (80/TCP): 3 of 3 pods ready"
    assert "langgraph: CPU 250m to 1000m, memory 512 MiB to 1 GiB" in lines(found, "Limits and quota")
    assert "of the limit" in lines(found, "Usage")
    await rig.close()


@pytest.mark.parametrize(
    ("fault", "section"),
    [
        (Fault(FaultKind.DENIED, kind=Kind.HPA, times=99), "Managed by"),
        (Fault(FaultKind.DENIED, kind=Kind.PDB, times=99), "Disruption budgets"),
        (Fault(FaultKind.DENIED, kind=Kind.EVENT, times=99), "Warnings, last hour"),
        (Fault(FaultKind.UNREACHABLE, kind=Kind.RESOURCE_QUOTA, times=99), "Limits and quota"),
        (Fault(FaultKind.DENIED, kind=Kind.SERVICE, times=99), "Endpoints"),
        (Fault(FaultKind.DENIED, kind=Kind.CONTROLLER_REVISION, times=99), None),
    ],
)
async def test_what_cannot_be_read_is_said_in_its_place_and_takes_nothing_else_with_it(
    tmp_path: Path, fault: Fault, section: str | None
) -> None:
    rig = await Rig(tmp_path / "rig.sqlite", world=orders_world()).born()
    await rig.run(30)
    rig.cluster.faults.add(fault)
    found: Any = (await diagnose(rig.services, *WORKLOAD)).to_json()
    unread = {s["name"] for s in found["sections"] if s["unread"]}
    assert unread == ({section} if section else set())
    text = "\n".join(screen(found))
    assert ("? not read: " in text) == bool(section)
    assert "3 of 3 pods ready" in text
    await rig.close()


async def test_of_a_namespace_that_is_off_limits_nothing_is_read(tmp_path: Path) -> None:
    rig = await born(tmp_path)
    heard = listen(rig)
    for namespace in ("kube-system", "elsewhere"):
        with pytest.raises(NotPermitted) as caught:
            await diagnose(rig.services, namespace, "Deployment", "web")
        assert (caught.value.code, caught.value.where) == ("off_limits", "namespace")
    assert heard() == []
    await rig.close()


async def test_a_workload_that_opted_out_is_only_named(tmp_path: Path) -> None:
    rig = await Rig(tmp_path / "rig.sqlite", world=orders_world()).born()
    mark = {"op": "add", "path": "/metadata/labels/alert-remediator.io~1enabled", "value": "false"}
    rig.cluster.edit(Kind.DEPLOYMENT, "rag7", "langgraph", [mark])
    heard = listen(rig)
    found: Any = (await diagnose(rig.services, *WORKLOAD)).to_json()
    assert (found["sections"], "opted out" in found["cause"]) == ([], True)
    assert not [r for r in heard() if "Pod" in r.split() or "Event" in r.split()]
    whole: Any = (await diagnose(rig.services, "rag7")).to_json()
    assert "Deployment/langgraph:" not in lines(whole, "Workloads")
    await rig.close()


@pytest.mark.parametrize("kind", [FaultKind.DENIED, FaultKind.UNREACHABLE, FaultKind.THROTTLED])
@pytest.mark.parametrize("of", [("rag7",), WORKLOAD])
async def test_of_a_namespace_that_may_have_opted_out_nothing_is_read(
    tmp_path: Path, kind: FaultKind, of: tuple[str, ...]
) -> None:
    rig = await Rig(tmp_path / "rig.sqlite", world=orders_world()).born()
    rig.cluster.faults.add(Fault(kind, kind=Kind.NAMESPACE, times=99))
    heard = listen(rig)
    with pytest.raises(TryLater):
        await diagnose(rig.services, *of)
    assert set(heard()) == {"get Namespace rag7"}
    await rig.close()


async def test_a_namespace_shows_nothing_of_a_workload_that_opted_out(tmp_path: Path) -> None:
    rig = await born(tmp_path, "pod-restarting")
    await rig.operations.pause("all", "look first", "kim", None)
    await rig.run(120)
    before = str((await diagnose(rig.services, "rag7")).to_json())
    assert all(text in before for text in ("langgraph-worker", "CrashLoopBackOff", "BackOff"))
    mark = {"op": "add", "path": "/metadata/annotations/alert-remediator.io~1enabled", "value": "false"}
    rig.cluster.edit(Kind.DEPLOYMENT, "rag7", "langgraph-worker", [mark])
    after = str((await diagnose(rig.services, "rag7")).to_json())
    assert "langgraph-worker-" not in after
    assert not [text for text in ("CrashLoopBackOff", "BackOff", "PodRestarting") if text in after]
    await rig.close()


async def test_where_the_policy_takes_a_mark_only_what_bears_one_is_shown(tmp_path: Path) -> None:
    """Of an unmarked workload nothing, and of what belongs to no workload neither."""
    rig = await born(tmp_path, "pod-restarting")
    await rig.operations.pause("all", "look first", "kim", None)
    await rig.run(120)
    rules = rig.services.policy()
    opted = rules.model_copy(update={"scope": rules.scope.model_copy(update={"opt": Opt.IN})})
    services = replace(rig.services, policy=lambda: opted)
    worker = ("rag7", "Deployment", "langgraph-worker")
    found: Any = (await diagnose(services, *worker)).to_json()
    assert (found["sections"], "is not opted in" in found["cause"]) == ([], True)
    whole = str((await diagnose(services, "rag7")).to_json())
    assert not [text for text in ("langgraph-worker", "CrashLoopBackOff", "BackOff") if text in whole]
    mark = {"op": "add", "path": "/metadata/annotations/alert-remediator.io~1enabled", "value": "true"}
    rig.cluster.edit(Kind.DEPLOYMENT, "rag7", "langgraph-worker", [mark])
    assert (await diagnose(services, *worker)).sections
    whole = str((await diagnose(services, "rag7")).to_json())
    assert all(text in whole for text in ("langgraph-worker", "CrashLoopBackOff", "BackOff"))
    await rig.close()


async def test_a_right_that_is_missing_is_named(tmp_path: Path) -> None:
    rig = await Rig(tmp_path / "rig.sqlite", world=orders_world()).born()
    rig.cluster.faults.add(Fault(FaultKind.DENIED, kind=Kind.DEPLOYMENT, times=99))
    client = client_of(app_of(rig))
    answer = await client.get(
        "/api/v1/diagnosis", params={"namespace": "rag7", "kind": "Deployment", "name": "langgraph"}
    )
    assert (answer.status_code, answer.json()["code"]) == (503, "access_denied")
    assert "remediator rbac" in answer.json()["detail"]
    whole: Any = (await diagnose(rig.services, "rag7")).to_json()
    assert "Deployment/langgraph: not read: " in lines(whole, "Workloads")
    assert "not known" in lines(whole, "Causes")
    await client.aclose()
    await rig.close()


async def test_a_server_that_hangs_is_waited_for_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = await Rig(tmp_path / "rig.sqlite", world=orders_world()).born()

    async def hangs(*_: object) -> Any:
        await asyncio.Event().wait()

    monkeypatch.setattr(reading, "LIMIT", 0.02)
    for asked in ("get", "list_objects"):
        monkeypatch.setattr(rig.cluster, asked, hangs)
        with pytest.raises(ClusterUnavailable, match="did not answer within"):
            await diagnose(rig.services, "rag7")
        monkeypatch.undo()
        monkeypatch.setattr(reading, "LIMIT", 0.02)
    await rig.close()


async def test_the_api_asks_for_the_scope_read_and_names_what_is_wrong(tmp_path: Path) -> None:
    rig = await Rig(tmp_path / "rig.sqlite", world=orders_world()).born()
    client = client_of(app_of(rig))
    asked = {"namespace": "rag7", "kind": "Deployment", "name": "langgraph"}
    good = await client.get("/api/v1/diagnosis", params=asked)
    assert (good.status_code, good.json()["subject"]) == (200, "rag7/Deployment/langgraph")
    outside = await client.get("/api/v1/diagnosis", params={"namespace": "elsewhere"})
    gone = await client.get("/api/v1/diagnosis", params={**asked, "name": "none"})
    half = await client.get("/api/v1/diagnosis", params={"namespace": "rag7", "kind": "Deployment"})
    assert [(r.status_code, r.json()["code"]) for r in (outside, gone, half)] == [
        (403, "off_limits"),
        (404, "not_found"),
        (422, "bad_target"),
    ]
    with pytest.raises(Missing):
        await diagnose(rig.services, "rag7", "Deployment", "none")
    with pytest.raises(BadInput):
        await diagnose(rig.services, "rag7", "", "langgraph")
    await client.aclose()
    await rig.close()
