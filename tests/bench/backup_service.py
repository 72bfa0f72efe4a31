"""Owns the memory of the service while a backup and a restore that it was ordered over HTTP run to their ends.

The service is `remediator serve` as a process of its own, the API server and the S3 server are real, and the Jobs' pods are processes
of this machine. Where the binaries are missing, or at the tiniest scale, it says aloud that nothing was measured.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from app.domain.outcome import IncidentState
from app.domain.target import Kind
from app.kube.paths import RESOURCES
from tests.bench import servers
from tests.bench.backup_world import Database, Digests, compare, digests
from tests.bench.report import Measure, Scale, below, left_out
from tests.bench.servers import Server
from tests.contract.postgres import find_programs
from tests.live import build, controlplane, objectstore
from tests.live.e2e.shop import SERVICE_USER, role_rules
from tests.live.furnished import furnish, workload
from tests.live.kubelet import Kubelet
from tests.live.objectstore import ObjectStore
from tests.live.stack import ControlPlane, wait_until

BENCH = "backup"
MEBIBYTES = 50.0
"""Above idle."""
PARTS = (*controlplane.PARTS, objectstore.PART)
BACKUP, RESTORE = "database-backup", "database-restore"
_ORDERS = ((BACKUP, Kind.STATEFUL_SET, "postgres"), (RESTORE, Kind.DEPLOYMENT, "app"))
_LEFT = (IncidentState.OBSERVED, IncidentState.REFUSED, IncidentState.ESCALATED, IncidentState.STUCK)
_REST = 5.0  # seconds after the start, so that what is only passing is gone
_PATIENCE = 3_600.0
_PASSWORD = "of-the-bench"
"""The server trusts whoever is on this machine."""


@dataclass(frozen=True)
class Watched:
    """One procedure: resident memory in MiB before its order and at the most until its end, its seconds and its result."""

    name: str
    idle: float
    peak: float
    seconds: float
    result: str


def measure(database: Database, live: Digests, folder: Path, scale: Scale) -> list[Measure]:
    """The memory above idle, of each procedure; or why it is left out. `live` is what the rows of the database are."""
    if why := _obstacle(scale):
        print(f"THE SERVICE'S MEMORY WAS NOT MEASURED: {why}", file=sys.stderr)
        return [below(left_out(BENCH, _named(name), why), MEBIBYTES, scale) for name, _, _ in _ORDERS]
    with ExitStack() as stack:
        plane = stack.enter_context(ControlPlane(nodes=1))
        (at := folder / "store").mkdir()
        store = stack.enter_context(ObjectStore(at))
        found = watch((plane, store), database, folder)
    compare(live, digests(database.url))
    return [below(measured(one), MEBIBYTES, scale) for one in found]


def _obstacle(scale: Scale) -> str:
    if scale.tiny:
        return "at --tiny no API server is started"
    absent = build.missing(PARTS)
    return f"{', '.join(absent)} missing (python -m tests.live.build)" if absent else ""


def _named(name: str) -> str:
    return f"the service's memory above idle in a {name}"


def measured(one: Watched) -> Measure:
    """As a row of the table."""
    note = f"idle {one.idle:.0f} MiB, {one.peak:.0f} MiB at the most, in {one.seconds:.0f} s"
    return Measure(BENCH, _named(one.name), max(one.peak - one.idle, 0.1), "MiB", note=note)


def watch(cluster: tuple[ControlPlane, ObjectStore], database: Database, folder: Path) -> list[Watched]:
    """A backup, and the restore of it into the database's place, each from its order to its end."""
    plane, store = cluster
    namespace = furnish(plane, "bench-backup", database.of_owner(_PASSWORD), store)
    workload(plane, namespace, Kind.DEPLOYMENT, "app", "app:1", 1)
    text = policy(namespace, store)
    plane.grant(SERVICE_USER, role_rules(namespace, text=text), namespace)
    wait_until(lambda: _ready(plane, namespace), 120, what="the workloads")
    with _serving(plane, text, folder) as server:
        time.sleep(_REST)
        idle = server.resident()
        return [_ordered(server, idle, (name, kind, target), namespace) for name, kind, target in _ORDERS]


@contextmanager
def _serving(plane: ControlPlane, text: str, folder: Path) -> Iterator[Server]:
    """The service, with a kubelet that runs its Jobs."""
    policies, pods, state = (folder / name for name in ("policies", "pods", "service"))
    for one in (policies, pods, state):
        one.mkdir()
    (policies / "policy.yaml").write_text(text, "utf-8")
    # A copy: the control plane writes its own anew whenever it is asked for it.
    (folder / "kubeconfig").write_bytes(plane.kubeconfig(SERVICE_USER).read_bytes())
    env = {
        "REMEDIATOR_CLUSTER": "kubeconfig",
        "REMEDIATOR_POLICY_DIR": str(policies),
        "KUBECONFIG": str(folder / "kubeconfig"),
    }
    with Kubelet(plane, pods, find_programs()), servers.service(env, state) as server:
        yield server


def policy(namespace: str, store: ObjectStore) -> str:
    """Both procedures by an order alone, as YAML (which JSON is)."""
    params = {
        "secret": "db",
        "store_secret": "store",
        "to": f"s3://{store.bucket}/{namespace}",
        "endpoint": store.endpoint,
        "uploader": "remediator:1",
    }
    shared = {
        "params": params,
        "mode": "auto",
        "approval": {"order_counts": True, "approvals": 1},
        "verify": {"settle": "1s", "timeout": "60m", "poll": "1s"},
    }
    rules = [{"name": name, "remediation": name, **shared} for name, _, _ in _ORDERS]
    return json.dumps({"version": 1, "scope": {"namespaces": [namespace]}, "rules": rules}, indent=1)


def _ordered(server: Server, idle: float, order: tuple[str, Kind, str], namespace: str) -> Watched:
    """Order it and wait for its end. Raises RuntimeError when that is not a good one."""
    name, kind, target = order
    server.forget_peak()
    began = time.monotonic()
    headers = {"Authorization": f"Bearer {server.token}"}
    with httpx.Client(base_url=f"{server.url}/api/v1", headers=headers, trust_env=False) as client:
        place = {"namespace": namespace, "kind": kind.value, "name": target}
        body = {"remediation": name, "target": place, "reason": "the bench asks for it"}
        incident = client.post("/remediations", json=body).raise_for_status().json()["incident"]
        state = wait_until(lambda: _ended(client, incident), _PATIENCE, interval=0.5, what=name)
        runs = client.get("/runs", params={"incident": incident}).raise_for_status().json()["items"]
    if state != IncidentState.FIXED.value:
        raise RuntimeError(f"{name} ended as {state}: {[run['result'] for run in runs]}")
    return Watched(name, idle, server.resident("VmHWM"), time.monotonic() - began, str(runs[0]["result"]))


def _ended(client: httpx.Client, incident: str) -> str:
    """The state of the incident, once nothing more happens to it by itself."""
    state = IncidentState(client.get(f"/incidents/{incident}").raise_for_status().json()["state"])
    return state if state.closed or state in _LEFT else ""


def _ready(plane: ControlPlane, namespace: str) -> bool:
    paths = [RESOURCES[kind].path(namespace, target) for _, kind, target in _ORDERS]
    seen = [plane.client().get(path).raise_for_status().json() for path in paths]
    return all(one.get("status", {}).get("readyReplicas") == 1 for one in seen)
