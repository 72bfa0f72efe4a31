"""What its owners' mark or the policy keeps away is named and not investigated: of it only the marks are read."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from app.domain.decision import Code, Verdict
from app.domain.target import Kind
from app.policy.model import Opt
from app.sim.faults import Fault, FaultKind
from tests.scenario.rig import Rig
from tests.scenario.scenes import alert, body, born, closed, decision, policy
from tests.scenario.test_way_of_an_incident import order, requests_of, use


async def _policy_opts_in(rig: Rig) -> None:
    rules = policy()
    opted = policy({"scope": rules.scope.model_copy(update={"opt": Opt.IN})})
    use(rig, policy=lambda: opted)


async def _workload_marked(rig: Rig, mark: str) -> None:
    value = {"alert-remediator.io/enabled": mark}
    rig.cluster.edit(
        Kind.DEPLOYMENT,
        "rag7",
        "langgraph",
        [{"op": "add", "path": "/metadata/annotations", "value": value}],
    )


async def _mark_unreadable(rig: Rig) -> None:
    rig.cluster.faults.add(Fault(FaultKind.DENIED, kind=Kind.NAMESPACE, times=99))


KEPT_AWAY = [
    ("opt in without marks", _policy_opts_in, Code.OPTED_OUT),
    ("the workload says false", lambda rig: _workload_marked(rig, "false"), Code.OPTED_OUT),
    ("the workload says no", lambda rig: _workload_marked(rig, "no"), Code.OPTED_OUT),
    ("the workload says nothing", lambda rig: _workload_marked(rig, ""), Code.OPTED_OUT),
    ("the namespace's mark is not known", _mark_unreadable, Code.UNKNOWN_FACT),
]


@pytest.mark.parametrize("way", ["alert", "order", "dry run"])
@pytest.mark.parametrize(("_what", "prepare", "code"), KEPT_AWAY, ids=[row[0] for row in KEPT_AWAY])
async def test_what_is_kept_away_by_its_mark_is_named_and_not_investigated(
    tmp_path: Path, _what: str, prepare: Callable[[Rig], Awaitable[None]], code: Code, way: str
) -> None:
    rig = await born(tmp_path)
    await prepare(rig)
    seen = requests_of(rig)
    if way == "alert":
        await rig.send(body(alert(rig)))
    else:
        await rig.store.ingest(order(rig, dry=way == "dry run"))
    await rig.run(20, alerts=False)
    found = await decision(rig)
    assert (found.verdict, closed(found)["scope"]) == (Verdict.DENY, code)
    assert {r.kind for r in seen} <= {Kind.NAMESPACE, Kind.DEPLOYMENT}, "only the marks are read"
    assert "can be read again" not in rig.notebook.text or code is Code.UNKNOWN_FACT
    assert not [text for text in ("Evidence", "OperationalError") if text in rig.notebook.text]
    await rig.close()


@pytest.mark.parametrize("where", [Kind.NAMESPACE, Kind.DEPLOYMENT])
async def test_one_mark_is_enough_where_the_policy_takes_one(tmp_path: Path, where: Kind) -> None:
    rig = await born(tmp_path)
    await _policy_opts_in(rig)
    mark = {"op": "add", "path": "/metadata/annotations", "value": {"alert-remediator.io/enabled": "true"}}
    name = ("", "rag7") if where is Kind.NAMESPACE else ("rag7", "langgraph")
    rig.cluster.edit(where, *name, [mark])
    await rig.send(body(alert(rig)))
    await rig.run(20, alerts=False)
    assert (await decision(rig)).verdict is Verdict.ALLOW
    assert "Evidence" in rig.notebook.text
    await rig.close()
