"""A database back from a backup: rehearsed, stopped, restored beside, exchanged and started again, in that order; refused in words; undone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.domain.alert import Delivery, ManualRequest, Source
from app.domain.copies import Found
from app.domain.database import DatabaseAddress
from app.domain.errors import BadInput
from app.domain.json import JsonValue
from app.domain.outcome import IncidentState, RunState
from app.domain.target import Kind
from app.flow.upkeep.views import order_check
from app.policy.load import load_policy
from app.sim import load_scenario
from app.sim.backups import StoredBackup
from app.sim.behaviour import Crash
from app.sim.faults import Fault, FaultKind
from app.sim.scenario import Scenario
from remediations import CATALOGUE
from tests.scenario.rig import Rig
from tests.scenario.scenes import all_runs, the_incident, the_run

TARGET = "rag7/Deployment/langgraph"
RULE = """
version: 1
scope: {namespaces: [rag7], protected_kinds: [StatefulSet]}
rules:
  - name: restores
    remediation: database-restore
    params: {service: postgres, to: s3://rag7-backups/pg, store_secret: backup-store, uploader: "remediator:1"}
    mode: approve
"""
AT = DatabaseAddress("rag7", "postgres.rag7.svc", 0, "", "langgraph-secrets", url_key="DATABASE_URL")


def world(**of_restore: Any) -> Scenario:
    """The shipped one; with `crash`, both Jobs of the restore end so."""
    base = load_scenario("database-restore")
    changed = [
        b.model_copy(update=of_restore) if b.name == "rehearse or restore" else b for b in base.behaviours
    ]
    return base.model_copy(update={"behaviours": tuple(changed)})


def with_manifest(bytes_: int | None = 40_265_318, key: str = "", **manifest: Any) -> Scenario:
    base = load_scenario("database-restore")
    (stored,) = base.backups
    told = {**stored.manifest, **manifest}
    changed = StoredBackup(key=key or stored.key, bytes=bytes_, manifest=told)
    return base.model_copy(update={"backups": (changed,)})


async def born(path: Path, scenario: Scenario | None = None, rule: str = RULE) -> Rig:
    rig = Rig(path / "rig.sqlite", world=scenario or world())
    rig.policy = load_policy({"rag7.yaml": rule}, CATALOGUE)
    return await rig.born()


async def order(rig: Rig, **params: JsonValue) -> None:
    wish = ManualRequest("database-restore", TARGET, params, "rows are wrong", "kim")
    when = rig.clock.now()
    await rig.store.ingest(
        Delivery(Source.MANUAL, when, "kim", dedupe_key=str(when), body_digest="d", manual=wish)
    )


async def approved(rig: Rig) -> None:
    """Two people say yes to the plan that was asked about."""
    await rig.run(20)
    run = await the_run(rig)
    assert run.state is RunState.WAITING, (run.state, run.result)
    await rig.operations.approve(run.id, "ann", run.plan_hash)
    await rig.run(20)
    assert (await the_run(rig)).state is RunState.WAITING
    assert writes(rig) == []
    await rig.operations.approve(run.id, "ben", run.plan_hash)


async def rests(rig: Rig) -> bool:
    found = await all_runs(rig)
    return bool(found) and found[-1].state.ended


def writes(rig: Rig) -> list[str]:
    """What was written, in its order: Jobs by the first word of their names, replicas, renamings."""
    told = []
    for m in rig.cluster.mutations:
        if m.dry_run or m.kind is Kind.EVENT:
            continue
        if m.kind is Kind.JOB:
            told.append(m.name.partition("-")[0])
        elif m.verb == "patch":
            told.append("scale")
        else:
            told.append(m.verb)
    return told


async def databases(rig: Rig) -> dict[str, Found]:
    seen = await rig.cluster.databases.copies.look(rig.cluster, AT, "postgres")
    return {d.name.partition("_before_")[2] and "before" or d.name: d for d in seen.databases}


async def replicas(rig: Rig) -> int:
    manifest = await rig.cluster.get(Kind.DEPLOYMENT, "rag7", "langgraph")
    return int(manifest["spec"]["replicas"])


ALL = ["rehearse", "safety", "scale", "restore", "rename", "scale"]


async def test_a_database_is_restored_in_its_order_and_the_application_is_back(tmp_path: Path) -> None:
    rig = await born(tmp_path)
    await order(rig)
    await approved(rig)
    await rig.until(lambda: rests(rig))
    run = await the_run(rig)
    assert (run.state, (await the_incident(rig)).state) == (RunState.FIXED, IncidentState.FIXED), run.result
    assert writes(rig) == ALL
    found = await databases(rig)
    assert found["langgraph_checkpoints"].mark.startswith("alert-remediator: langgraph_checkpoints_restored_")
    assert (found["before"].mark, found["before"].open) == ("", False)
    assert await replicas(rig) == 3
    told = rig.notebook.text
    for words in (
        "Point of no return",
        "3 langgraph",
        "Safety backup of langgraph_checkpoints",
        "20260303T020000Z",
    ):
        assert words in told, words
    await rig.close()
