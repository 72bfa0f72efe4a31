"""Owns the world that the browser's tests look at: one service with something to see on every page, and people with tokens.

The service is a whole one on loopback (`tests.unit.served`) whose time runs up to thirty times as fast as that of the browser; on a
slow or busy machine it runs slower, as a service whose looks come later than its policy says watches nothing to its end. The four
stories of the demo act by themselves; beside them the same broken release runs under other names, and the policy asks a person
about each of those, so that every test that answers one has one of its own.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import Connection

from app.domain.events import EventKind
from app.domain.outcome import IncidentState
from app.store import audit, incidents
from app.store.audit import AuditEvent
from app.store.incidents import Incident
from tests.live.process import wait_until
from tests.unit.served import POLICIES, TIMELINES, TOKEN, TOKENS, Served, served

ASKED = ("catalog", "checkout", "gateway", "payments", "reports", "search", "sessions")
"""Workloads whose broken release is rolled back only after an answer."""
WELL = (IncidentState.FIXED, IncidentState.CONTAINED)
STORIES = (*TIMELINES, "api-rate-limits")
PEOPLE: Mapping[str, tuple[str, str]] = {
    "anna": ("anna-s-token-0123456789", "read+trigger+operate"),
    "ben": ("ben-s-token-0123456789", "read+trigger+operate"),
    "guest": ("guest-s-token-0123456789", "read"),
}
SPEED = 30.0
"""Seconds of the service's for one of the browser's, on a machine that is quick and has nothing else to do."""
_QUICK = 0.06
"""Seconds in which such a machine makes a million turns of an empty loop."""
PATIENCE = 400.0
"""Seconds on the wall after which something counts as never happening."""
_RULES = """\
version: 1
rules:
  - name: ask before a rollback
    when: alertname="HighErrorRate", deployment=~"{names}"
    target: {{kind: Deployment, name: {{label: deployment}}, namespace: {{label: namespace}}}}
    remediation: high-error-rate
    params: {{recent_deployment: 1h, scale_to: 5, dependencies: [postgres, redis]}}
    mode: approve
    approval: {{expires: {expires}}}
"""
_WIDER = (
    ("storm: {targets: 10,", "storm: {targets: 200,"),
    ("targets_in_flight: 3", "targets_in_flight: 30"),
    ("limit: 10 per 1h}", "limit: 40 per 1h}"),
    ("limit: 6 per 1h}", "limit: 30 per 1h}"),
)
"""The shipped limits, wide enough that one test takes nothing from another."""


@dataclass(frozen=True)
class World:
    """The running service."""

    service: Served

    @property
    def url(self) -> str:
        """Where it listens."""
        return self.service.url

    def incident(self, deployment: str) -> Incident:
        """The incident that an alert about this workload opened. Raises LookupError."""

        def look(conn: Connection) -> Incident | None:
            key = f"rag7/Deployment/{deployment}"
            rows = incidents.page(conn, None, 200)
            return next((i for i in rows if i.target_key == key and i.manual is None), None)

        found = self.service.read(look)
        if found is None:
            raise LookupError(deployment)
        return found

    def path(self, template: str) -> str:
        """A path in which {a workload} stands for the id of its incident."""
        return re.sub(r"\{([a-z-]+)\}", lambda name: self.incident(name[1]).id, template)

    def until(self, deployment: str, *states: IncidentState) -> Incident:
        """The same, once it has one of these states."""

        def look() -> Incident | None:
            found = self.incident(deployment)
            return found if found.state in states else None

        found = wait_until(
            look,
            PATIENCE,
            interval=0.2,
            what=f"{deployment} as {', '.join(states)}",
            ignoring=(LookupError,),
        )
        assert found is not None
        return found

    def run(self, deployment: str) -> str:
        """The id of its newest run."""
        return str(self._api("GET", "/runs", "anna", incident=self.incident(deployment).id)["items"][0]["id"])

    def of_alert(self, name: str) -> str:
        """The id of the incident of an alert by its name."""
        rows = self.service.read(lambda conn: incidents.page(conn, None, 200))
        return next(row.id for row in rows if row.alertname == name)

    def records(self, deployment: str, kind: EventKind) -> list[AuditEvent]:
        """Its audit records of one kind."""
        return self.records_of(self.incident(deployment).id, kind)

    def records_of(self, incident: str, kind: EventKind) -> list[AuditEvent]:
        """The audit records of one kind about an incident."""
        found = self.service.read(lambda conn: list(audit.each_of_incident(conn, incident)))
        return [record for record in found if record.kind is kind]

    def until_recorded(self, deployment: str, kind: EventKind) -> None:
        """Wait for one."""
        wait_until(
            lambda: self.records(deployment, kind), PATIENCE, interval=0.2, what=f"{deployment}: {kind}"
        )

    def orders(self, reason: str) -> int:
        """How many orders were taken with this reason."""
        rows = self.service.read(lambda conn: incidents.page(conn, None, 200))
        return sum(1 for row in rows if row.manual is not None and row.manual.reason == reason)

    def alert(self, name: str, *, namespace: str = "web", severity: str = "warning", **labels: str) -> None:
        """An alert that no rule matches, as Alertmanager sends it."""
        known = {"alertname": name, "namespace": namespace, "severity": severity, **labels}
        # Listed there as well: an alert that its source does not know is over, and this one's time runs fast.
        self.service.cluster.alertmanager.fires_elsewhere(known)
        one = {
            "status": "firing",
            "labels": known,
            "annotations": {},
            "startsAt": _now(),
            "fingerprint": _mark(known),
        }
        body = {
            "version": "4",
            "groupKey": name,
            "status": "firing",
            "receiver": "remediator",
            "groupLabels": {},
            "commonLabels": {},
            "commonAnnotations": {},
            "externalURL": "",
            "alerts": [one],
        }
        headers = {"authorization": f"Bearer {TOKEN}"}
        httpx.post(
            f"{self.url}/webhooks/alertmanager", json=body, headers=headers, timeout=30
        ).raise_for_status()

    def answer(self, deployment: str, what: str, who: str) -> None:
        """Approve or reject its plan through the API."""
        self._api("POST", f"/runs/{self.run(deployment)}/{what}", who)

    def _api(self, method: str, path: str, who: str, **fields: str) -> dict[str, Any]:
        sent: dict[str, Any] = {"params": fields} if method == "GET" else {"json": fields}
        headers = {"authorization": f"Bearer {PEOPLE[who][0]}"}
        answer = httpx.request(method, f"{self.url}/api/v1{path}", headers=headers, timeout=30, **sent)
        return dict(answer.raise_for_status().json())


@contextmanager
def world(
    folder: Path,
    expires: str = "24h",
    asked: Sequence[str] = ASKED,
    stories: Sequence[str] = STORIES,
    ended: Sequence[str] = ("langgraph",),
) -> Iterator[World]:
    """The service inside the block, once every plan about `asked` waits, that for `reports` is rejected, and the incidents of `ended` are over."""
    scenarios = (*stories, *(_copy(folder, name) for name in asked))
    people = ",".join(f"{n}:{s}:{hashlib.sha256(t.encode()).hexdigest()}" for n, (t, s) in PEOPLE.items())
    policies = _policies(folder, expires)
    with served(
        folder / "state",
        policies=policies,
        timelines=scenarios,
        speed=_speed(),
        tokens=f"{TOKENS},{people}",
    ) as running:
        made = World(running)
        made.alert("CertificateExpiresSoon")
        made.alert("DiskFillsUp", namespace="storage", severity="critical", node="node-3")
        made.alert("KubeJobFailed", namespace="batch", job_name="nightly-report-28123440")
        for name in (*asked, *(["langgraph-agent"] if "api-rate-limits" in stories else [])):
            made.until(name, IncidentState.WAITING)
        for name in ended:
            # On a slow machine so much time passes meanwhile that the logs do not tell any more when it began; then it asks.
            if made.until(name, *WELL, IncidentState.WAITING).state is IncidentState.WAITING:
                made.answer(name, "approve", "ben")
                made.until(name, *WELL)
        made.answer("reports", "reject", "ben")
        made.until("reports", IncidentState.ESCALATED)
        yield made


def _speed() -> float:
    """How fast time may run here, so that the service keeps up with it; a tenth of `SPEED` at least."""
    took = []
    for _ in range(9):
        begun = time.perf_counter()
        for _turn in range(1_000_000):
            pass
        took.append(time.perf_counter() - begun)
    return SPEED * min(1.0, max(0.1, _QUICK / statistics.median(took)))


def _copy(folder: Path, name: str) -> str:
    """The broken release of the error rate's story under another name."""
    text = (resources.files("app.sim") / "scenarios" / "high-error-rate.yaml").read_text("utf-8")
    path = folder / f"{name}.yaml"
    path.write_text(re.sub(r"\blanggraph\b(?![-.])", name, text), "utf-8")
    return str(path)


def _policies(folder: Path, expires: str) -> Path:
    """The shipped policies, with a rule that asks before the others."""
    copied = folder / "policies"
    shutil.copytree(POLICIES, copied)
    text = (copied / "00-default.yaml").read_text("utf-8")
    for old, new in _WIDER:
        assert old in text, old
        text = text.replace(old, new)
    (copied / "00-default.yaml").write_text(text, "utf-8")
    rule = _RULES.format(names="|".join(ASKED), expires=expires)
    (copied / "01-asked.yaml").write_text(rule, "utf-8")
    return copied


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _mark(labels: Mapping[str, str]) -> str:
    return hashlib.sha256(repr(sorted(labels.items())).encode()).hexdigest()[:16]
