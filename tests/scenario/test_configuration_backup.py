"""A configuration's backup from the order to the end: one Job that holds no secret value, followed to its last words, refused with its reason."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.domain.alert import ManualRequest
from app.domain.errors import BadInput
from app.domain.json import JsonValue
from app.domain.outcome import IncidentState, RunState
from app.domain.target import Kind
from app.flow.upkeep.views import order_check
from app.policy.load import load_policy
from app.policytools.rbac import grants
from app.store.runs import Run
from remediations import CATALOGUE
from tests.births import scenario_of
from tests.orders import POSTGRES, Order
from tests.scenario.rig import Rig
from tests.scenario.scenes import all_runs, the_incident, the_run
from tests.unit.remediations.stage import stage_of

NAME = "configuration-backup"
RECIPIENT = "age1aed7f487u2axawlzkfvn0k3e7ev0q937gw4scw7rm3s3wl9f85gqltln5w"
RULE = f"""
version: 1
scope: {{namespaces: [rag7], protected_kinds: [StatefulSet]}}
rules:
  - name: configuration
    remediation: configuration-backup
    params:
      to: s3://rag7-backups
      store_secret: backup-store
      uploader: "remediator:1"
      account: configuration-reader
      recipients: [{RECIPIENT}]
    mode: auto
"""


async def ordered(path: Path, **params: JsonValue) -> tuple[Rig, Run]:
    rig = Rig(path / "rig.sqlite", world=scenario_of(NAME))
    rig.policy = load_policy({"rag7.yaml": RULE}, CATALOGUE)
    await rig.born()
    await rig.store.ingest(Order(POSTGRES, params).delivery(NAME, rig.clock))

    async def rests() -> bool:
        found = await all_runs(rig)
        return bool(found) and found[-1].state.ended

    await rig.until(rests)
    return rig, await the_run(rig)


def stored(folder: Path) -> bytes:
    """Our database and its journal."""
    return b"".join(file.read_bytes() for file in folder.iterdir())


async def test_an_ordered_backup_makes_one_job_and_ends_when_that_is_complete(tmp_path: Path) -> None:
    rig, run = await ordered(tmp_path)
    assert (run.state, (await the_incident(rig)).state) == (RunState.FIXED, IncidentState.FIXED), run.result
    (made,) = [m for m in rig.cluster.mutations if m.kind is Kind.JOB and not m.dry_run]
    assert made.name.startswith("configuration-rag7-")
    assert "read back, decrypted and whole" in run.result
    job = rig.cluster.peek(Kind.JOB, "rag7", made.name)
    assert job is not None
    spec = job["spec"]["template"]["spec"]
    assert (spec["serviceAccountName"], spec["automountServiceAccountToken"]) == (
        "configuration-reader",
        True,
    )
    text = json.dumps(job)
    assert "c2ltdWxhdGVk" not in text
    assert RECIPIENT in text
    assert "simulated@" not in rig.notebook.text
    await rig.close()
    kept = stored(tmp_path)
    assert b"c2ltdWxhdGVk" not in kept, "promise 12: no value of a Secret of the namespace"
    assert b"cG9zdGdyZXNxbDovL2xhbmdncmFwaDpzaW11bGF0ZWRA" not in kept


def test_the_service_gets_no_right_to_read_what_the_job_reads() -> None:
    policy = load_policy({"rag7.yaml": RULE}, CATALOGUE)
    mine = [g for g in grants(policy, CATALOGUE, "rag7") if NAME in g.needed_by]
    assert {(g.resource, g.verbs, g.names) for g in mine} == {
        ("secrets", ("get",), ("backup-store",)),
        ("jobs", ("create",), ()),
    }


async def test_an_order_changes_neither_who_can_read_it_nor_what_is_in_it(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "rig.sqlite", world=scenario_of(NAME))
    rig.policy = load_policy({"rag7.yaml": RULE}, CATALOGUE)
    await rig.born()
    check = order_check(rig.services)
    given: dict[str, JsonValue] = {
        "recipients": [RECIPIENT, RECIPIENT],
        "secrets": True,
        "to": "s3://x",
        "account": "x",
    }
    for param, value in given.items():
        with pytest.raises(BadInput) as refused:
            check(ManualRequest(NAME, POSTGRES, {param: value}, "test", "kim"))
        assert refused.value.code == "param_fixed"
    await rig.close()


async def test_what_is_missing_is_named() -> None:
    play = stage_of(NAME)
    _, steps = await play.look(recipients=[], account="")
    assert "name no account and no recipients" in steps["save"].why
    _, steps = await play.look(account="nobody")
    assert "There is no service account nobody in rag7" in steps["save"].why
    _, steps = await play.look(store_secret="langgraph-secrets")
    assert "has none of the keys AWS_ACCESS_KEY_ID" in steps["save"].why
