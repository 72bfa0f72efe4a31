"""The demo: the four stories of the runbook on a simulated cluster, with the real service around it.

Starts the service on loopback, POSTs real Alertmanager bodies over HTTP as the simulated alerts fire and resolve, and
prints each Slack message as it would be posted. Owns no behaviour of the service; everything shown is what `serve` does.
Only from here does the simulator meet the service.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
from rich.console import Console
from rich.rule import Rule

from app.domain.errors import BadInput
from app.domain.outcome import IncidentState
from app.main import Parts
from app.notify.console import ConsoleClient
from app.observe import logs
from app.observe.system import SystemClock
from app.serving import serving
from app.settings import Settings, load_settings
from app.sim import AcceleratedClock, SimCluster, load_scenario
from app.store import incidents, outbox, runs
from app.store.database import Store
from app.store.incidents import Incident

STORIES = ("high-error-rate", "high-latency", "pod-restarting", "out-of-memory")
_LIMIT = 150.0  # real seconds after which the demo says that something is wrong
_WELL = frozenset({IncidentState.FIXED, IncidentState.CONTAINED})
_POLL = 0.2  # real seconds between looks at the simulated Alertmanager


async def run_demo(*, once: bool, port: int, speed: float) -> int:
    """Show the stories; exit code 0 when all four ended as fixed or contained. Runs until interrupted unless `once`."""
    logs.configure(level="WARNING")
    console = Console(highlight=False, soft_wrap=True)
    state = Path(tempfile.mkdtemp(prefix="remediator-demo-"))
    settings = _settings(state, port)
    clock = AcceleratedClock(SystemClock(), speed)
    cluster = SimCluster(clock, load_scenario(*STORIES))
    parts = Parts(
        clock=clock,
        cluster=cluster,
        metric_source=cluster.metrics,
        alert_sources=cluster.alertmanager,
        dependencies=cluster.dependencies,
        databases=cluster.databases,
        http=cluster.http,
        caches=cluster.caches,
        backups=cluster.backups,
        client=ConsoleClient(console),
        speed=speed,
    )
    try:
        async with serving(settings, parts) as (service, url):
            _opening(console, url, speed)
            async with _feeding(cluster, url):
                await _told(service.services.store)
                good = await _summary(console, service.services.store)
                if not once:
                    await _stay(console, url)
            return 0 if good else 1
    finally:
        shutil.rmtree(state, ignore_errors=True)


def simulated() -> Parts:
    """What `serve` runs on with CLUSTER=simulated: one broken workload, in real time."""
    parts = Parts()
    cluster = SimCluster(parts.clock, load_scenario("high-error-rate"))
    parts.cluster, parts.databases = cluster, cluster.databases
    parts.http, parts.caches, parts.backups = cluster.http, cluster.caches, cluster.backups
    return parts


def _settings(state: Path, port: int) -> Settings:
    """The usual settings, but for a state of its own, no secrets and the policies shipped with the service."""
    here = Path("policies")
    folder = here if here.is_dir() else Path(__file__).resolve().parent.parent / "policies"
    try:
        return load_settings(
            state_dir=state,
            database_url=None,
            policy_dir=folder,
            cluster="simulated",
            host="127.0.0.1",
            port=port,
            tokens=None,
            slack_bot_token=None,
            replica="demo",
            mode="normal",
        )
    except BadInput as error:
        raise BadInput(
            f"the demo cannot start: {error.message}", code=error.code, where=error.where
        ) from error


def _opening(console: Console, url: str, speed: float) -> None:
    console.print(Rule("alert-remediator demo"))
    console.print(
        f"A simulated cluster with four broken workloads in namespace rag7, {speed:g} times faster than real time.\n"
        f"The service runs at {url} (API at {url}/docs). What follows is the channel #incidents.\n"
    )


@contextlib.asynccontextmanager
async def _feeding(cluster: SimCluster, url: str) -> AsyncIterator[None]:
    async with httpx.AsyncClient(base_url=url, timeout=30.0) as http:
        feed = asyncio.create_task(_feed(cluster, http))
        try:
            yield
        finally:
            feed.cancel()
            await asyncio.gather(feed, return_exceptions=True)


async def _feed(cluster: SimCluster, http: httpx.AsyncClient) -> None:
    """What Alertmanager does: POST each due notification until it is taken."""
    while True:
        for body in cluster.alertmanager.poll():
            answer = await http.post("/webhooks/alertmanager", json=body)
            while answer.status_code >= 500:
                await asyncio.sleep(_POLL)
                answer = await http.post("/webhooks/alertmanager", json=body)
            answer.raise_for_status()
        await asyncio.sleep(_POLL)


async def _told(store: Store) -> None:
    """Wait until all stories have ended and their messages are out. Raises TimeoutError."""
    async with asyncio.timeout(_LIMIT):
        await _all_ended(store)
        await _messages_out(store)


async def _incidents(store: Store) -> list[Incident]:
    rows = await store.read(lambda conn: incidents.page(conn, None, 50))
    return [r for r in rows if r.merged_into is None]


async def _all_ended(store: Store) -> None:
    while True:
        rows = await _incidents(store)
        if len(rows) >= len(STORIES) and all(
            r.state.closed or r.state.value in ("escalated", "stuck") for r in rows
        ):
            return
        await asyncio.sleep(_POLL)


async def _messages_out(store: Store) -> None:
    while True:
        if not await store.read(outbox.depth):
            return
        await asyncio.sleep(_POLL)


async def _summary(console: Console, store: Store) -> bool:
    rows = sorted(await _incidents(store), key=lambda r: r.id)
    shown = [("incident", "run", "ended as", "step", "alert", "target")]
    for row in rows:
        found = await store.read(lambda conn: runs.page(conn, None, 1, row.id))  # noqa: B023 - awaited here
        run_id, step = (found[0].id, found[0].step.name) if found else ("", "")
        shown.append((row.id, run_id, row.state.value, step, row.alertname, row.target_key or ""))
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    console.print(Rule("summary"))
    for line in shown:  # ids are there to be copied, so nothing is cut
        console.print("  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)), markup=False)
    return len(rows) >= len(STORIES) and all(r.state in _WELL for r in rows)


async def _stay(console: Console, url: str) -> None:
    console.print(
        f"\nThe service goes on at {url}. In another terminal: remediator incidents, remediator explain ID, "
        "remediator undo RUN. Ctrl-C ends it."
    )
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()
