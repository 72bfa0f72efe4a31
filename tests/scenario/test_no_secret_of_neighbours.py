"""No secret leaves that stands beside a workload: in what scales, sizes, rolls or precedes it, in what its controllers, its kubelet and
PagerDuty say, and in the names and manifests of backups."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from app.domain.json import Obj
from app.domain.outcome import RunState
from app.intake import orchestration, pagerduty
from app.policy.load import load_policy
from app.sim.behaviour import Behaviour, Crash, When
from app.sim.scenario import Scenario
from remediations import CATALOGUE
from tests.births import scenario_of
from tests.orders import ORDERS, keda_world
from tests.scenario.canaries import CANARY, Pages, answers, told
from tests.scenario.planting import TalkingCluster, containers, neighbours, talking, words
from tests.scenario.scenes import alert, all_incidents, all_runs, body
from tests.scenario.test_database_restore import RULE, order, with_manifest
from tests.scenario.test_no_secret_leaves import SEALED, ended, expect_nothing, logged, rig_of

__all__ = ["logged"]

SAYS = {
    "HorizontalPodAutoscaler": "FailedGetExternalMetric",
    "ScaledObject": "ScaledObjectCheckFailed",
    "VerticalPodAutoscaler": "",
    "Rollout": "Argo Rollouts",
}
"""What is told of each, so that it is known that it was read."""


def _made(kind: str) -> Obj:
    return next(o for o in neighbours("langgraph") if o["kind"] == kind)


def _talking(path: Path, world: Scenario, **changes: Any) -> Any:
    return rig_of(path, world, keys=SEALED, cluster_type=TalkingCluster, **changes)


@pytest.mark.parametrize("kind", SAYS)
async def test_nothing_of_what_scales_sizes_or_rolls_a_workload_leaves(
    tmp_path: Path, logged: io.StringIO, kind: str
) -> None:
    world = talking(scenario_of("high-error-rate"), _made(kind))
    async with _talking(tmp_path, world) as rig:
        await rig.run(400)
        shown = "\n".join([*(await answers(rig)).values(), told(rig)])
        assert SAYS[kind] in shown
        assert "[redacted]" in shown
        await expect_nothing(rig, logged, kept=False)


async def test_nothing_of_an_init_container_that_fails_leaves(tmp_path: Path, logged: io.StringIO) -> None:
    """Its command, arguments and environment, its log, its last words and what the kubelet says of it."""
    said = words("init-log", quotes=False)
    crash = Crash(after=2.0, exit_code=3, message=f"migration failed: {said}", log=(f"ERROR {said}",))
    fails = Behaviour(name="prepare", when=When(container="prepare"), crash=crash)
    base = talking(scenario_of("pod-restarting"))
    world = base.model_copy(update={"behaviours": (fails, *base.behaviours)})
    pages = Pages()
    async with _talking(tmp_path, world, pages=pages) as rig:
        await rig.send(body(alert(rig, alertname="KubePodCrashLooping", deployment="langgraph-worker")))
        await rig.run(900)
        shown = "\n".join([*(await answers(rig)).values(), told(rig)])
        assert "init container prepare" in shown
        await expect_nothing(rig, logged, kept=False)


async def test_nothing_of_a_job_that_fails_leaves(tmp_path: Path, logged: io.StringIO) -> None:
    """It is no workload that is changed here: what its condition, its pods and their logs say is told to a person."""
    said = words("job-log", quotes=False)
    crash = Crash(after=2.0, exit_code=2, message=f"no rows: {said}", log=(f"ERROR {said}",))
    fails = Behaviour(name="nightly", when=When(container="prepare"), crash=crash)
    template = {"metadata": {"labels": {"app": "nightly"}}, "spec": {"restartPolicy": "Never", "containers": list(containers("job"))}}  # fmt: skip
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "nightly", "namespace": "rag7"},
        "spec": {"backoffLimit": 0, "template": template},
    }
    base = talking(scenario_of("high-latency"), job, prepared=False)
    world = base.model_copy(update={"behaviours": (fails, *base.behaviours)})
    pages = Pages()
    async with _talking(tmp_path, world, pages=pages, use_api=False) as rig:
        await rig.run(60, alerts=False)
        await rig.send(body(alert(rig, alertname="KubeJobFailed", deployment="", job_name="nightly")))
        await rig.run(120, alerts=False)
        shown = "\n".join([*(await answers(rig)).values(), told(rig), *pages.bodies])
        assert "Job nightly" in shown
        assert "[redacted]" in shown
        await expect_nothing(rig, logged, kept=False, pages=pages)


@pytest.mark.parametrize("world", [ORDERS["adjust-hpa"].world(), keda_world()], ids=["autoscaler", "KEDA"])
async def test_nothing_of_an_autoscaler_that_is_adjusted_leaves(
    tmp_path: Path, logged: io.StringIO, world: Scenario
) -> None:
    async with _talking(tmp_path, talking(world, prepared=False)) as rig:
        await rig.store.ingest(ORDERS["adjust-hpa"].delivery("adjust-hpa", rig.clock))
        assert await ended(rig) is RunState.FIXED
        await rig.operations.undo((await all_runs(rig))[-1].id, "alice")
        assert await ended(rig) is RunState.UNDONE
        await expect_nothing(rig, logged, kept=False)


class _PagerDutyApi:
    """The alerts of every incident, with secrets wherever people and tools write text."""

    async def incident_alerts(self, incident_id: str) -> Mapping[str, Any]:
        """As `GET /incidents/{id}/alerts` answers."""
        text = words(f"pd-{incident_id}", quotes=False)
        details = {
            "namespace": "rag7",
            "deployment": "langgraph",
            "alertname": "HighErrorRate",
            "note": text,
            "db_password": f"{CANARY}-pd-named",
            "custom_details": {"api_key": f"{CANARY}-pd-key", "log": text},
            "firing": f"Labels:\n - token = {CANARY}-pd-token\n - url = https://bot:{CANARY}-pd-url@x.test/\n",
            "tags": [f"client_secret:{CANARY}-pd-tag", f"why:{text}"],
            f"password={CANARY}-pd-lost of the database": [1],
        }
        cef = {"source_component": text, "details": {"session_token": f"{CANARY}-pd-cef"}}
        return {
            "alerts": [{"summary": text, "severity": text, "body": {"details": details, "cef_details": cef}}]
        }


async def test_nothing_that_pagerduty_tells_leaves(tmp_path: Path, logged: io.StringIO) -> None:
    """Titles, services, notes, names of people, custom details of its API, and the fields and the key of an automation action."""
    text = words("pd-event", quotes=False)
    async with _talking(tmp_path, scenario_of("high-error-rate"), use_api=False) as rig:
        object.__setattr__(rig.services, "incident_bodies", _PagerDutyApi())
        incident = {
            "id": "Q0",
            "type": "incident",
            "title": f"[FIRING:1] HighErrorRate {text}",
            "description": text,
            "status": "triggered",
            "html_url": f"https://bot:{CANARY}-pd-link@example.pagerduty.com/incidents/Q0",
            "service": {"summary": text},
            "priority": {"summary": text},
            "urgency": text,
        }
        about: Obj = {
            "occurred_at": rig.clock.now().isoformat(),
            "agent": {"summary": text},
            "data": incident,
        }
        note = {"occurred_at": about["occurred_at"], "data": {"id": "N", "type": "incident_note", "incident": incident, "content": text}}  # fmt: skip
        events = [
            {**about, "id": "E1", "event_type": "incident.triggered"},
            {**about, "id": "E2", "event_type": "incident.acknowledged"},
            {**note, "id": "E3", "event_type": "incident.annotated"},
            {**about, "id": "E4", "event_type": "incident.triggered", "data": {"title": text}},
        ]
        action = {
            "alertname": f"Down {text}",
            "dedup_key": f"rag7/{text}",
            "summary": text,
            "db_password": f"{CANARY}-action",
            "custom_details": {"log": text, "token": f"{CANARY}-action-token"},
        }
        now = rig.clock.now()
        for event in events:
            raw = json.dumps({"event": event}).encode()
            await rig.store.ingest(pagerduty.parse(raw, received_at=now))
        await rig.store.ingest(orchestration.parse(json.dumps(action).encode(), received_at=now))
        await rig.run(120, alerts=False)
        assert len(await all_incidents(rig)) == 2
        shown = "\n".join((await answers(rig)).values())
        assert "password=[redacted]" in shown
        await expect_nothing(rig, logged, kept=False)


_FOLDER = "rag7/langgraph_checkpoints/2026/03/03"
_NAME = "langgraph_checkpoints-20260303T020000Z-5f1c0a"


@pytest.mark.parametrize(
    ("key", "manifest", "shown"),
    [
        (f"{_FOLDER}/token={CANARY}-key.dump", {}, "token=[redacted]"),
        (
            "",
            {"database": f"db.rag7.svc password={CANARY}-host"},
            "it is a backup of rag7/db.rag7.svc password=",
        ),
        ("", {"server": f"15.18 password={CANARY}-server"}, "PostgreSQL 15.18 password=[redacted]"),
        ("", {"ended": f"password={CANARY}-ended"}, "complete password=[reda"),
        ("", {"name": f"{_NAME} password={CANARY}-manifest"}, "its manifest is not one of ours"),
    ],
    ids=["key", "server", "version", "time", "name"],
)
async def test_nothing_of_the_key_and_the_manifest_of_a_backup_leaves(
    tmp_path: Path, logged: io.StringIO, key: str, manifest: Obj, shown: str
) -> None:
    """Whoever may write to the bucket wrote them."""
    async with _talking(tmp_path, with_manifest(key=key, **manifest)) as rig:
        rig.policy = load_policy({"rag7.yaml": RULE}, CATALOGUE)
        await order(rig)
        await rig.run(60, alerts=False)
        assert shown in "\n".join([*(await answers(rig)).values(), told(rig)])
        await expect_nothing(rig, logged, kept=False)
