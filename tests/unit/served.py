"""A whole service on loopback in a thread of its own: simulated cluster, real store, policy, handlers and HTTP server.

For tests of what talks to a running service from outside: commands, documents, the OpenAPI contract. Time runs `SPEED`
times as fast as the clock on the wall, unless told; waiting is for a condition, never for a time.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
from rich.console import Console

from app.cli.serve import backtest, what_if
from app.domain.ports import Clock
from app.engine.context import Engine, Workflow
from app.engine.memory import JournalEngine
from app.main import Parts, Service
from app.notify.console import ConsoleClient
from app.observe.system import SystemClock
from app.serving import serving
from app.settings import Settings, load_settings
from app.sim import AcceleratedClock, SimCluster, load_scenario
from app.store import incidents, runs, work
from app.store.incidents import Incident
from app.store.runs import Run

T = TypeVar("T")
SPEED = 60.0
PATIENCE = 60.0  # seconds on the wall after which a condition counts as never met
TIMELINES = ("high-error-rate", "high-latency", "pod-restarting", "out-of-memory")
TOKEN = "served-token"
TOKENS = f"tests:ingest+trigger+operate+read:{hashlib.sha256(TOKEN.encode()).hexdigest()}"
FINDINGS = (
    ("store", "store_ok", "ok", "the store is written, and 41.2 GiB of its disk are free", ""),
    (
        "slack",
        "slack_scopes",
        "warn",
        "the bot lacks the scope users:read: whoever may approve is not looked for",
        "add users:read to the app's bot scopes and install it again",
    ),
    (
        "rights",
        "rights_missing",
        "fail",
        "system:serviceaccount:alert-remediator-production:alert-remediator may not patch deployments.apps/scale in rag7: high-latency is off",
        "kubectl auth can-i patch deployments/scale --as=system:serviceaccount:alert-remediator-production:alert-remediator -n rag7",
    ),
    ("pagerduty", "pagerduty_off", "skip", "PAGERDUTY_ROUTING_KEY is not set", ""),
)
ROOT = Path(__file__).resolve().parents[2]
POLICIES = ROOT / "policies"
PROPOSED = """\
version: 1
scope: {namespaces: [rag7]}
blast_radius: {pods: 30%}
rules:
  - name: by itself
    when: alertname="HighErrorRate"
    target: {kind: Deployment, name: {label: deployment}, namespace: {label: namespace}}
    remediation: high-error-rate
    mode: auto
"""
"""A policy that acts where the shipped one asks, for who tries one."""


class Served:
    """One running service, used from another thread than its own."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, service: Service, cluster: SimCluster, url: str
    ) -> None:
        self._loop = loop
        self.service = service
        self.cluster = cluster
        self.url = url

    def do(self, what: Awaitable[T]) -> T:
        """Run on the service's loop and wait for the result."""

        async def awaited() -> T:
            async with asyncio.timeout(PATIENCE):
                return await what

        return asyncio.run_coroutine_threadsafe(awaited(), self._loop).result(PATIENCE + 5)

    def read(self, fn: Callable[[Any], T]) -> T:
        """Read the store."""
        return self.do(self.service.services.store.read(fn))

    def until(self, fn: Callable[[Any], T]) -> T:
        """Read the store until it gives something true, and give that."""

        async def wait() -> T:
            while True:
                if found := await self.service.services.store.read(fn):
                    return found
                await asyncio.sleep(0.05)

        return self.do(wait())

    def incident(self, alertname: str, *states: str) -> Incident:
        """The oldest incident of this alert, once it has one of these states."""

        def look(conn: Any) -> Incident | None:
            rows = incidents.page(conn, None, 100)
            found = [r for r in rows if r.alertname == alertname and r.state.value in states]
            return found[-1] if found else None

        try:
            found = self.until(look)
        except TimeoutError as error:
            error.add_note(f"{alertname} is not {' or '.join(states)}: {self.read(_stand)}")
            raise
        assert found is not None
        return found

    def run(self, incident_id: str, *states: str) -> Run:
        """The newest run of an incident, once it has one of these states."""

        def look(conn: Any) -> Run | None:
            rows = runs.page(conn, None, 1, incident_id)
            return next((r for r in rows if r.state.value in states), None)

        found = self.until(look)
        assert found is not None
        return found


def _stand(conn: Any) -> list[tuple[str, str, str, Mapping[str, Any]]]:
    """How the incidents stand, and why: the end of the last run, the last decision."""
    found = []
    for row in incidents.page(conn, None, 100):
        last = next(iter(runs.page(conn, None, 1, row.id)), None)
        decision = work.latest_decision(conn, row.id)
        result = last.result or "" if last else ""
        found.append((row.alertname, row.state.value, result, decision.body if decision else {}))
    return found


@contextmanager
def served(
    folder: Path,
    *,
    policies: Path = POLICIES,
    timelines: tuple[str, ...] = TIMELINES,
    speed: float = SPEED,
    port: int = 0,
    **more: Any,
) -> Iterator[Served]:
    """Run a service inside the block, on any free port when it is 0; `more` are settings."""
    settings = load_settings(
        state_dir=folder, policy_dir=policies, cluster="simulated", port=port, replica="tests", **more
    )
    ready: list[Served | BaseException] = []
    up, down = threading.Event(), threading.Event()
    thread = threading.Thread(
        target=_thread, args=(settings, timelines, speed, ready, up, down), name="served"
    )
    thread.start()
    try:
        assert up.wait(PATIENCE)
        first = ready[0]
        if isinstance(first, BaseException):
            raise first
        yield first
    finally:
        down.set()
        thread.join(PATIENCE)
    assert len(ready) == 1, ready


def _thread(
    settings: Settings,
    timelines: tuple[str, ...],
    speed: float,
    ready: list[Served | BaseException],
    up: threading.Event,
    down: threading.Event,
) -> None:
    try:
        asyncio.run(_serve(settings, timelines, speed, ready, up, down))
    except BaseException as error:
        ready.append(error)
        up.set()


async def _examine(_clock: Clock) -> Sequence[Mapping[str, str]]:
    """What a doctor may find, of each level, with words as long as they come: the set-up of a test is nobody's to examine."""
    return [dict(zip(("area", "code", "level", "text", "fix"), row, strict=True)) for row in FINDINGS]


def parts_on(cluster: SimCluster, clock: AcceleratedClock, speed: float = SPEED) -> Parts:
    """The parts of a service on this cluster, with an engine in memory."""

    def engine(timeline: Workflow) -> Engine:
        return JournalEngine(timeline, clock)

    return Parts(
        clock=clock,
        cluster=cluster,
        metric_source=cluster.metrics,
        alert_sources=cluster.alertmanager,
        dependencies=cluster.dependencies,
        databases=cluster.databases,
        http=cluster.http,
        caches=cluster.caches,
        backups=cluster.backups,
        client=ConsoleClient(Console(file=io.StringIO())),
        make_engine=engine,
        speed=speed,
        doctor=_examine,
        backtest=backtest,
        what_if=what_if,
    )


async def _serve(
    settings: Settings,
    timelines: tuple[str, ...],
    speed: float,
    ready: list[Served | BaseException],
    up: threading.Event,
    down: threading.Event,
) -> None:
    clock = AcceleratedClock(SystemClock(), speed)
    cluster = SimCluster(clock, load_scenario(*timelines))
    async with serving(settings, parts_on(cluster, clock, speed)) as (service, url):
        ready.append(Served(asyncio.get_running_loop(), service, cluster, url))
        up.set()
        feed = asyncio.create_task(_feed(cluster, url))
        try:
            await asyncio.to_thread(down.wait)
        finally:
            feed.cancel()
            await asyncio.gather(feed, return_exceptions=True)


async def _feed(cluster: SimCluster, url: str) -> None:
    """What Alertmanager does: POST what is due."""
    headers = {"authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=30.0) as http:
        while True:
            for body in cluster.alertmanager.poll():
                (await http.post("/webhooks/alertmanager", json=body)).raise_for_status()
            await asyncio.sleep(0.1)
