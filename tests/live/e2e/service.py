"""Owns the service as a process of its own: policy, environment, HTTP, command line, death and return."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from app.domain.json import Obj
from tests.doubles.slack import TOKEN as SLACK_TOKEN
from tests.live.e2e.forked import Forked
from tests.live.e2e.shop import SERVICE_USER
from tests.live.stack import ControlPlane, Process, free_ports, wait_until

ROOT = Path(__file__).resolve().parents[3]
COMMAND = Path(sys.executable).with_name("remediator")
INGEST, PERSON = "ingest-token-of-the-tests", "person-token-of-the-tests"
ALERTS = {
    "HighErrorRate": ("high-error-rate", {"dependencies": ["postgres", "redis"], "known_good": "1s"}),
    "HighLatency": ("high-latency", {"scale_to": 8}),
    "OOM": ("out-of-memory", {"factor": 1.5, "max_memory": "4Gi"}),
    "PodRestarting": ("pod-restarting", {"known_good": "1s"}),
    "APIRateLimiting": (
        "api-rate-limits",
        {
            "provider": "openai",
            "secret": "api-keys",
            "active_key": "OPENAI_API_KEY",
            "keys": ["FIRST", "SECOND"],
            "own_quota": True,
            "cache_service": "",
        },
    ),
}
# Where nothing more happens by itself; a refused incident is decided again.
_ENDED = frozenset({"fixed", "contained", "resolved", "escalated", "stuck", "observed", "merged"})


def policy(**changes: Any) -> str:
    """A policy for the tests' namespaces that settles within seconds."""
    target = {"kind": "Deployment", "name": {"label": "deployment"}, "namespace": {"label": "namespace"}}
    rules = [
        {
            "name": f"rule {remediation}",
            "when": f'alertname="{alertname}"',
            "target": target,
            "remediation": remediation,
            "params": params,
            "mode": "auto",
        }
        for alertname, (remediation, params) in ALERTS.items()
    ]
    document = {
        "version": 1,
        "scope": {"namespaces": ["e2e-*"]},
        "budgets": [{"per": "target", "limit": "3 per 1h"}],
        "storm": {"targets": 1000, "within": "5m"},
        "blast_radius": {"pods": "30%", "minimum": 1, "targets_in_flight": 50},
        "verify": {"settle": "1s", "timeout": "60s", "poll": "1s"},
        "otherwise": ["undo", "escalate"],
        "rules": rules,
    }
    return json.dumps({**document, **changes}, indent=1)


@dataclass
class Place:
    """Where a service keeps things and whom it talks to; several processes may share one."""

    folder: Path
    plane: ControlPlane
    slack_url: str
    channel: str
    database_url: str = ""
    extra: Mapping[str, str] = field(default_factory=dict)
    policy_text: str = field(default_factory=policy)
    prometheus_url: str = ""

    def __post_init__(self) -> None:
        policies = self.folder / "policies"
        policies.mkdir(parents=True, exist_ok=True)
        (policies / "policy.yaml").write_text(self.policy_text, "utf-8")
        # A copy: the control plane writes its own anew whenever it is asked for it.
        self.kubeconfig = self.folder / "kubeconfig"
        self.kubeconfig.write_bytes(self.plane.kubeconfig(SERVICE_USER).read_bytes())

    def env(self, replica: str, port: int) -> dict[str, str]:
        """The environment of one process."""
        scopes = {INGEST: "alertmanager:ingest", PERSON: "anna:read+operate+trigger"}
        tokens = [f"{who}:{hashlib.sha256(token.encode()).hexdigest()}" for token, who in scopes.items()]
        given = {
            "STATE_DIR": str(self.folder / "state"),
            "DATABASE_URL": self.database_url,
            "POLICY_DIR": str(self.folder / "policies"),
            "CLUSTER": "kubeconfig",
            "PORT": str(port),
            "REPLICA": replica,
            "TOKENS": ",".join(tokens),
            "SLACK_BOT_TOKEN": SLACK_TOKEN,
            "SLACK_API_URL": self.slack_url,
            "SLACK_CHANNEL": self.channel,
            "PROMETHEUS_URL": self.prometheus_url,
            **self.extra,
        }
        named = {f"REMEDIATOR_{name}": value for name, value in given.items() if value}
        return {**named, "KUBECONFIG": str(self.kubeconfig), "PYTHONPATH": str(ROOT)}


class Service:
    """One replica as a process; a replica that comes back has its name and its port again."""

    def __init__(self, place: Place, replica: str = "replica-0") -> None:
        self.place, self.replica = place, replica
        self.port = free_ports(1)[0]
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = place.folder / f"{replica}.log"
        self.process: Process | Forked | None = None
        self._asked = 0
        # Plain HTTP only: to load the certificates of the system takes a third of a second.
        # The service closes a connection that is idle; on a busy machine a look comes just then, on one that seems open.
        kept = httpx.Limits(keepalive_expiry=1.0)
        self._http = httpx.Client(base_url=self.url, timeout=10.0, trust_env=False, verify=False, limits=kept)  # noqa: S501

    @property
    def webhook(self) -> str:
        """Where Alertmanager posts to."""
        return f"{self.url}/webhooks/alertmanager"

    def start(
        self, argv: Sequence[str | Path] = (COMMAND, "serve"), env: Mapping[str, str] | None = None
    ) -> None:
        """Starts the process; it does not serve yet."""
        given = {**self.place.env(self.replica, self.port), **(env or {})}
        self.process = Process(argv, self.log, env=given).start()

    def fork(self, argv: Sequence[str], env: Mapping[str, str] | None = None) -> None:
        """Starts a module without the interpreter's start; it does not serve yet."""
        given = {**self.place.env(self.replica, self.port), **(env or {})}
        self.process = Forked(argv, self.log, given).start()

    def serve(self) -> None:
        """Starts the process and waits until it answers."""
        self.start()

        def answers() -> bool:
            if self.process is not None:
                self.process.check()
            return self.serves()

        wait_until(answers, 60.0, what=f"the service; its log: {self.log}")

    def serves(self) -> bool:
        """Whether it answers now. A process that starts takes connections before it answers; nobody waits for that."""
        try:
            return self._http.get("/healthz", timeout=0.5).is_success
        except httpx.TransportError:
            return False

    @property
    def dead(self) -> bool:
        """Whether the process has gone."""
        return self.process is not None and not self.process.running

    def kill_and_leave(self) -> None:
        """Kills it as kill -9 does, leaving it to be found dead."""
        if self.process is not None:
            os.kill(self.process.pid, signal.SIGKILL)

    def close(self) -> None:
        """Ends the process."""
        self._http.close()
        if self.process is not None:
            self.process.stop()

    def post(self, body: Obj, token: str = INGEST) -> httpx.Response:
        """Posts an Alertmanager body. Raises httpx.TransportError when nobody answers."""
        headers = {"Authorization": f"Bearer {token}"}
        return self._http.post("/webhooks/alertmanager", json=body, headers=headers)

    def deliver(self, path: str, body: bytes, headers: Mapping[str, str]) -> int:
        """Posts bytes as somebody else does; the status of the answer."""
        return self._http.post(path, content=body, headers=dict(headers)).status_code

    def ready(self) -> Any:
        """What it says of its readiness."""
        return self._http.get("/readyz").json()

    def get(self, path: str, **query: str) -> Any:
        """What the API says."""
        headers = {"Authorization": f"Bearer {PERSON}"}
        return self._http.get(f"/api/v1/{path}", params=query, headers=headers).raise_for_status().json()

    def incidents(self, namespace: str) -> list[Obj]:
        """The incidents about a namespace."""
        every: list[Obj] = self.get("incidents", limit="200")["items"]
        return [incident for incident in every if incident["namespace"] == namespace]

    def wait_for(self, namespace: str, state: str, timeout: float = 60.0) -> Obj:
        """Waits until the namespace's only incident is in this state, and gives it; ends early in another end state."""

        def ended() -> list[Obj]:
            if self.process is not None:
                self.process.check()
            found = self.incidents(namespace)
            return found if found and found[0]["state"] in {*_ENDED, state} else []

        found = wait_until(ended, timeout, what=f"an incident of {namespace} to be {state}", interval=0.2)
        assert [i["state"] for i in found] == [state], (found, self.log)
        return found[0]

    def run_of(self, incident: Obj) -> Obj:
        """The newest run of an incident."""
        found: Obj = self.get("runs", incident=str(incident["id"]))["items"][0]
        return found

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs `remediator ...` as a person does, against this replica."""
        env = {**os.environ, **self._command_env}
        return subprocess.run(
            [COMMAND, *arguments], env=env, capture_output=True, text=True, check=False, timeout=60
        )

    def ask(self, *arguments: str) -> Forked:
        """The same without the interpreter's start, and without waiting for its end; its log has stdout and stderr."""
        self._asked += 1
        log = self.log.with_name(f"{self.replica}-command-{self._asked}.log")
        return Forked(("tests.live.e2e.command", *arguments), log, self._command_env).start()

    @property
    def _command_env(self) -> dict[str, str]:
        env = self.place.env(self.replica, self.port)
        return {**env, "REMEDIATOR_URL": self.url, "REMEDIATOR_TOKEN": PERSON}


def body_of(labels: Mapping[str, str], started: datetime, *, resolved: bool = False) -> Obj:
    """An Alertmanager v4 webhook body with one alert."""
    status = "resolved" if resolved else "firing"
    ended = datetime.now(UTC).isoformat() if resolved else "0001-01-01T00:00:00Z"
    identity = hashlib.sha256(json.dumps(sorted(labels.items())).encode()).hexdigest()[:16]
    alert = {
        "status": status,
        "labels": dict(labels),
        "annotations": {"summary": f"{labels['alertname']} of web"},
        "startsAt": started.isoformat(),
        "endsAt": ended,
        "generatorURL": "http://prometheus.test/graph",
        "fingerprint": identity,
    }
    return {
        "version": "4",
        "groupKey": f'{{}}:{{alertname="{labels["alertname"]}", namespace="{labels["namespace"]}"}}',
        "truncatedAlerts": 0,
        "status": status,
        "receiver": "remediator",
        "groupLabels": {"alertname": labels["alertname"], "namespace": labels["namespace"]},
        "commonLabels": dict(labels),
        "commonAnnotations": {},
        "externalURL": "http://alertmanager.test",
        "alerts": [alert],
    }
