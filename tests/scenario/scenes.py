"""What scenario tests say again and again: bodies as Alertmanager sends them, and short questions to the rig."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from app.domain.alert import Alert
from app.domain.alert_report import AlertReport, Reported
from app.domain.decision import Code, Decision, Verdict
from app.domain.errors import StoreUnavailable
from app.domain.events import EventKind
from app.domain.outcome import RunState
from app.policy.load import read_dir
from app.policy.model import Policy, Verify
from app.sim.alertmanager import NEVER
from app.sim.alerts import fingerprint
from app.store import audit, incidents, runs, work
from app.store.audit import AuditEvent
from app.store.incidents import Incident
from app.store.runs import Run
from tests.scenario.rig import POLICIES, Rig, shipped_policy

BRISK = Verify(settle=timedelta(seconds=30), timeout=timedelta(minutes=5), poll=timedelta(seconds=30))
TARGET = "rag7/Deployment/langgraph"


def policy(of_policy: Mapping[str, Any] | None = None, **of_rules: Any) -> Policy:
    """The shipped policy, quick to verify, with these fields replaced in all rules."""
    shipped = shipped_policy()
    rules = tuple(r.model_copy(update={"verify": BRISK, **of_rules}) for r in shipped.rules)
    return shipped.model_copy(update={"rules": rules, **(of_policy or {})})


def leased(lasts: str) -> dict[str, str]:
    """The shipped policy with a lease on the rule that scales out."""
    texts = read_dir(POLICIES)
    marker = "    remediation: high-latency\n"
    assert marker in texts["rag7.yaml"]
    texts["rag7.yaml"] = texts["rag7.yaml"].replace(
        marker, f"{marker}    temporary: {{revert_after: {lasts}}}\n"
    )
    return texts


async def born(path: Path, *scenarios: str, rules: Policy | None = None, **changes: Any) -> Rig:
    """A running service on the named scenarios (the broken release unless told)."""
    rig = Rig(path / "rig.sqlite", scenarios=scenarios or ("high-error-rate",), **changes)
    rig.policy = rules or policy()
    return await rig.born()


def alert(rig: Rig, status: str = "firing", *, started: float = 60.0, **labels: Any) -> dict[str, Any]:
    """One alert of a body; it began `started` seconds ago. Unless told, its labels are those of the shipped scenarios, so
    that the simulated Alertmanager's API knows it. An empty label is none."""
    named = {"alertname": "HighErrorRate", "namespace": "rag7", "deployment": "langgraph", "team": "rag"}
    named = {k: v for k, v in {**named, **labels}.items() if v}
    named.setdefault("severity", "warning" if named.get("alertname") == "HighLatency" else "critical")
    now = rig.clock.now()
    return {
        "status": status,
        "labels": named,
        "annotations": {},
        "startsAt": (now - timedelta(seconds=started)).isoformat(),
        "endsAt": NEVER if status == "firing" else now.isoformat(),
        "generatorURL": "http://prometheus.simulated/graph",
        "fingerprint": fingerprint(named),
    }


def body(*alerts: dict[str, Any]) -> dict[str, Any]:
    """A version 4 body of these alerts."""
    firing = any(a["status"] == "firing" for a in alerts)
    return {
        "version": "4",
        "groupKey": "{}:{}",
        "truncatedAlerts": 0,
        "status": "firing" if firing else "resolved",
        "receiver": "alert-remediator",
        "groupLabels": {},
        "commonLabels": {},
        "commonAnnotations": {},
        "externalURL": "http://alertmanager.simulated",
        "alerts": list(alerts),
    }


def deafen(rig: Rig) -> None:
    """From now on Alertmanager does not answer."""

    async def states(alerts: Sequence[Alert]) -> Sequence[AlertReport]:
        why = "Alertmanager could not be asked: connection refused"
        return [AlertReport(Reported.UNKNOWN, why)] * len(alerts)

    vars(rig.cluster.alertmanager)["states"] = states


def writes(rig: Rig) -> list[str]:
    """What reached the cluster, dry runs and events aside, by verb, name and whether it was an undo."""
    return [
        f"{m.verb} {m.name}{' (undo)' * m.marker.endswith('/undo')}"
        for m in rig.cluster.mutations
        if not m.dry_run and m.verb != "create"
    ]


async def all_runs(rig: Rig) -> list[Run]:
    """All runs, oldest first."""
    found = await rig.store.read(lambda conn: runs.page(conn, None, 100))
    return found[::-1]


async def all_incidents(rig: Rig) -> list[Incident]:
    """All incidents, oldest first."""
    found = await rig.store.read(lambda conn: incidents.page(conn, None, 100))
    return found[::-1]


async def the_run(rig: Rig) -> Run:
    """The only run."""
    (run,) = await all_runs(rig)
    return run


async def the_incident(rig: Rig) -> Incident:
    """The only incident."""
    (incident,) = await all_incidents(rig)
    return incident


async def decision(rig: Rig, incident_id: str = "") -> Decision:
    """The last decision of the incident, the only one unless named."""
    wanted = incident_id or (await the_incident(rig)).id
    found = await rig.store.read(lambda conn: work.latest_decision(conn, wanted))
    assert found is not None, "every alert ends in a decision"
    return Decision.from_json(found.body)


def closed(found: Decision) -> dict[str, Code]:
    """The gates that stand against it, with their codes."""
    return {g.gate: g.code for g in found.gates if g.verdict is not Verdict.ALLOW}


async def trail(rig: Rig, *kinds: EventKind) -> list[AuditEvent]:
    """The audit trail, all of it or only these kinds."""
    records = await rig.store.read(lambda conn: audit.page(conn, 0, 100_000))
    return [r for r in records if not kinds or r.kind in kinds]


async def says_yes(rig: Rig) -> None:
    """A person who says yes to whatever is asked."""
    for run in await rig.store.read(lambda conn: runs.page(conn, None, 10, state=RunState.WAITING)):
        if not run.answer:
            with suppress(StoreUnavailable):  # they press again
                await rig.operations.approve(run.id, "kim", run.plan_hash)
