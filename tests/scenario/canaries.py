"""Canaries: values that must not leave, planted wherever a cluster or a sender may hold a secret, and a search of all that is
kept, told, logged or answered.
"""

from __future__ import annotations

import base64
import copy
import json
import sqlite3
from typing import Any

import httpx
import psycopg
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sqlalchemy import Connection

from app.domain.events import EventKind
from app.domain.json import Obj
from app.domain.ports import Clock
from app.domain.target import Kind
from app.flow.notifying.timeline import timeline_of
from app.kube.faults import Answer, refusal
from app.kube.faults import Request as Asked
from app.notify.pagerduty import PagerDutyAccess, PagerDutyClient, note_for
from app.notify.timeline import Escalation
from app.observe.dependencies import _Dsn
from app.observe.tracing import OpenTelemetryTracer
from app.sim import SimCluster, load_scenario
from app.sim.behaviour import Behaviour
from app.sim.scenario import Scenario, Step
from tests.scenario.rig import Rig
from tests.scenario.scenes import all_incidents, all_runs
from tests.scenario.web import URL, app_of, client_of

CANARY = "hunter2"
"""Every planted value contains it; what follows it says where it was."""

ENCODED = base64.b64encode(f"{CANARY}-secret".encode()).decode()
"""How a Secret holds it."""

_WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet")
_SAID = f" password={CANARY}-log-line at postgresql://app:{CANARY}-log-url@db/app"
_TEMPLATE = "/spec/template/spec/containers/0"


def planted(scenario: str | Scenario, *, in_git: bool = False) -> Scenario:
    """A scenario (a shipped one by its name) with canaries in it; `in_git`: Argo CD owns its Deployments."""
    shipped = load_scenario(scenario) if isinstance(scenario, str) else scenario
    return shipped.model_copy(
        update={
            "objects": tuple(_object(o, in_git=in_git) for o in shipped.objects),
            "behaviours": tuple(_behaviour(b) for b in shipped.behaviours),
            "story": tuple(_step(s) for s in shipped.story),
        }
    )


def _object(shipped: Obj, *, in_git: bool) -> Obj:
    found = copy.deepcopy(shipped)
    if found["kind"] in _WORKLOADS:
        notes = found["metadata"].setdefault("annotations", {})
        notes["team/note"] = f"{CANARY}-annotation"
        if in_git:
            notes["argocd.argoproj.io/tracking-id"] = "apps:apps/Deployment:rag7/x"
        template = found["spec"]["template"]
        template["metadata"].setdefault("annotations", {})["team/note"] = f"{CANARY}-template-annotation"
        for container in template["spec"]["containers"]:
            container.setdefault("env", []).append({"name": "DB_PASSWORD", "value": f"{CANARY}-env"})
            container["args"] = [f"--token={CANARY}-args"]
            container["command"] = ["serve", f"{CANARY}-command"]
    if found["kind"] == "ConfigMap":
        found.setdefault("data", {})["NOTE"] = f"{CANARY}-config-map"
    if found["kind"] == "Secret":
        found.setdefault("data", {})["NOTE"] = ENCODED
    return found


def _behaviour(shipped: Behaviour) -> Behaviour:
    lines = tuple(e.model_copy(update={"line": e.line + _SAID}) for e in shipped.error_lines)
    crash = shipped.crash and shipped.crash.model_copy(
        update={
            "message": shipped.crash.message + _SAID,
            "log": tuple(line + _SAID for line in shipped.crash.log),
        }
    )
    return shipped.model_copy(update={"error_lines": lines, "crash": crash})


def _step(shipped: Step) -> Step:
    """A deployment of somebody brings other secrets with it, so that a rollback changes them."""
    patch = shipped.patch
    if patch is None or patch.kind is not Kind.DEPLOYMENT:
        return shipped
    more = (
        {"op": "add", "path": f"{_TEMPLATE}/args", "value": [f"--token={CANARY}-new-args"]},
        {"op": "add", "path": f"{_TEMPLATE}/env/-", "value": {"name": "NEW", "value": f"{CANARY}-new-env"}},
        {
            "op": "add",
            "path": "/metadata/annotations/kubernetes.io~1change-cause",
            "value": f"kubectl set env deployment/x PASSWORD={CANARY}-change-cause",
        },
    )
    operations = (*patch.operations, *more)
    return shipped.model_copy(update={"patch": patch.model_copy(update={"operations": operations})})


class RefusingCluster(SimCluster):
    """An admission webhook refuses every change, and quotes what it saw."""

    async def patch(self, kind: Kind, namespace: str, name: str, patch: Any, *, dry_run: bool = False) -> Obj:
        """Refuse, in the words of the client's own translation."""
        del patch, dry_run
        said = f'admission webhook "no" denied the request: env DB_PASSWORD="{CANARY}-refusal" is not allowed'
        body = {
            "message": said,
            "reason": "Forbidden",
            "code": 422,
            "details": {"causes": [{"message": said}]},
        }
        raise refusal(Asked("patch", kind.value, f"{namespace}/{name}", mutates=True), Answer(422, body))


class FailingDependencies:
    """Databases whose driver quotes the DSN it was given."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self._dsn = _Dsn("postgres", f"postgresql://app:{CANARY}-dsn@db.rag7/app")

    async def check(self, names: Any) -> Any:
        """As the service words it, with an error of the driver in it."""
        raised = ValueError(f"cannot connect: {self._dsn.text} password={CANARY}-dsn")
        return [
            type(found)(found.name, found.kind, found.healthy, f"{found.text}; {self._dsn.clean(raised)}")
            for found in await self._inner.check(names)
        ]

    async def slow_queries(self, name: str, limit: int) -> Any:
        """The real answer."""
        return await self._inner.slow_queries(name, limit)


class Spans(OpenTelemetryTracer):
    """Keeps all spans, to be read with their attributes, events and states."""

    def __init__(self) -> None:
        self._kept = InMemorySpanExporter()
        super().__init__(SimpleSpanProcessor(self._kept), version="1", replica="rig")

    def told(self) -> str:
        """All of them, as an exporter sees them."""
        told = "\n".join(span.to_json() for span in self._kept.get_finished_spans())
        assert told
        return told


class Pages:
    """A PagerDuty that takes everything and remembers it."""

    def __init__(self) -> None:
        self.bodies: list[str] = []

    def client(self, clock: Clock) -> PagerDutyClient:
        """A client of it that pages and leaves notes."""
        access = PagerDutyAccess(
            "https://events.test", "https://api.test", "key", "token", "oncall@example.org"
        )
        return PagerDutyClient(access, httpx.AsyncClient(transport=httpx.MockTransport(self._take)), clock)

    def _take(self, request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(200, json={"notes": []})
        self.bodies.append(request.content.decode())
        return httpx.Response(202, json={})


async def notes(rig: Rig) -> str:
    """What would be noted on an incident of PagerDuty that the rig's came from: one note for each escalation."""
    escalated = [
        (incident.id, escalation)
        for incident in await all_incidents(rig)
        for escalation in await rig.store.read(lambda conn, i=incident.id: _escalations(conn, i))  # type: ignore[misc]
    ]
    timelines = [(await rig.store.read(lambda conn, i=i: timeline_of(conn, i)), e) for i, e in escalated]  # type: ignore[misc]
    return "\n".join(note_for(timeline, escalation) for timeline, escalation in timelines)


def _escalations(conn: Connection, incident_id: str) -> list[Escalation]:
    found = timeline_of(conn, incident_id).escalation
    return [found] if found is not None else []


def _postgres_rows(url: str) -> dict[str, list[str]]:
    with psycopg.connect(url) as conn:
        query = """SELECT quote_ident(table_schema) || '.' || quote_ident(table_name), table_name FROM information_schema.tables
                   WHERE table_type = 'BASE TABLE' AND table_schema NOT IN ('pg_catalog', 'information_schema')"""
        names = conn.execute(query).fetchall()
        return {
            name: [str(r) for r in conn.execute(f"SELECT * FROM {full}".encode())] for full, name in names
        }


def _sqlite_rows(path: Any) -> dict[str, list[str]]:
    with sqlite3.connect(path) as conn:
        names = [n for (n,) in conn.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        found = {n: [str(r) for r in conn.execute(f"SELECT * FROM {n}")] for n in names}
    conn.close()
    return found


def rows_with(place: Any, *words: str) -> dict[str, list[str]]:
    """Rows of every table that contain one of the words, by table. `place`: a SQLite file, or the URL of a Postgres."""
    found = _postgres_rows(place) if isinstance(place, str) else _sqlite_rows(place)
    hits = {n: [r for r in rows if any(w in r for w in words)] for n, rows in found.items()}
    return {n: rows for n, rows in hits.items() if rows}


async def answers(rig: Rig) -> dict[str, str]:
    """What every route of the API that reads and every page answers, by path."""
    runs, incidents = [r.id for r in await all_runs(rig)], [i.id for i in await all_incidents(rig)]
    paths = [
        "/incidents",
        "/runs",
        "/remediations",
        "/policies",
        "/budgets",
        "/scorecard",
        "/trust",
        "/schedules",
    ]
    paths += [f"/incidents/{i}" for i in incidents]
    paths += [p for r in runs for p in (f"/runs/{r}", f"/runs/{r}/explain")]
    targets = sorted({i.target_key for i in await all_incidents(rig) if i.target_key})
    app = app_of(rig)
    got: dict[str, str] = {}
    async with client_of(app) as browser:
        pages = ["/", "/incidents", "/audit", "/audit/export", "/policy", "/procedures", "/scorecard"]
        pages += [f"/incidents/{i}?unfold=1" for i in incidents]
        pages += [f"/audit?kind={kind.value}" for kind in EventKind]
        pages += [f"/targets/{target}" for target in targets]
        for path in pages:
            got[f"page {path}"] = (await _ok(browser, path)).text
    async with client_of(app, f"{URL}/api/v1") as client:
        for path in paths:
            got[path] = (await _ok(client, path)).text
        for namespace, kind, name in (target.split("/") for target in targets):
            asked = {"namespace": namespace, "kind": kind, "name": name}
            for params in ({"namespace": namespace}, asked):
                # A target that is gone or off limits is told as a refusal, which must hold nothing either.
                found = await client.get("/diagnosis", params=params)
                got[f"/diagnosis {params}"] = found.text
        cursor, number = "", 0
        while number == 0 or cursor:
            page = await _ok(client, f"/audit?limit=200&cursor={cursor}")
            number, cursor = number + 1, page.json()["next"] or ""
            got[f"/audit {number}"] = page.text
    return got


async def _ok(client: httpx.AsyncClient, path: str) -> httpx.Response:
    answer = await client.get(path)
    assert answer.status_code == 200, (path, answer.text)
    return answer


def told(rig: Rig) -> str:
    """Every message, as it was posted and as it was edited, and what the workflows keep."""
    return "\n".join([rig.notebook.text, *rig.notebook.parents.values(), json.dumps(repr(rig.journal))])
