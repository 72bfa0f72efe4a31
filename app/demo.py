"""The demo: the four alerts of the runbook and a plan that waits for whoever watches, or one story of `app.stories`, on a simulated
cluster, with the real service around it.

Starts the service on loopback, POSTs real Alertmanager bodies over HTTP as the simulated alerts fire and resolve, gives the orders
and approvals of a story as people would, and prints each Slack message as it would be posted. Owns no behaviour of the service; everything shown is what `serve` does.
Only from here does the simulator meet the service.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import httpx
from rich.console import Console
from rich.rule import Rule

from app.domain.errors import BadInput
from app.domain.outcome import IncidentState
from app.domain.target import Target
from app.main import Parts
from app.notify.console import ConsoleClient
from app.observe import logs
from app.observe.system import SystemClock
from app.page.requests import Tools
from app.serving import serving
from app.settings import Settings, load_settings
from app.sim import AcceleratedClock, SimCluster, load_scenario
from app.store import incidents, outbox, runs
from app.store.database import Store
from app.store.incidents import Incident
from app.stories import ASKED, ASKED_RULE, STORIES, Story, meant

FOUR = ("high-error-rate", "high-latency", "pod-restarting", "out-of-memory")
PEOPLE = ("anna", "ben", "carol")
"""Who is there in a story: the first gives orders, the others approve."""
_LIMIT = 150.0  # real seconds after which the demo says that something is wrong
_WELL = frozenset({IncidentState.FIXED, IncidentState.CONTAINED})
_LOOKED = frozenset({IncidentState.RESOLVED})  # an order that only looks ends so
_POLL = 0.2  # real seconds between looks at the simulated Alertmanager and at what waits for an answer


@dataclass(frozen=True, slots=True)
class Show:
    """What is shown: the scenarios, how many incidents end by themselves, the story with its name when it is one, and whether one more
    plan waits for an answer."""

    scenarios: tuple[str, ...] = FOUR
    incidents: int = len(FOUR)
    name: str = ""
    story: Story | None = None
    tokens: Mapping[str, str] = field(default_factory=dict)
    asks: bool = False

    @property
    def added(self) -> tuple[str, str]:
        """A rule that the policy needs besides the shipped ones, and its file; files are read in the order of their names."""
        if self.asks:
            return ASKED_RULE, "01-demo.yaml"
        return (self.story.rule, "story.yaml") if self.story else ("", "")


def show_of(name: str, *, once: bool = False) -> Show:
    """The four alerts, and unless it ends with them (`once`) a plan that waits; or the story of this name. Raises BadInput
    (`unknown_story`)."""
    if not name:
        return Show() if once else Show((*FOUR, ASKED), asks=True)
    name = meant(name)
    story = STORIES[name]
    tokens = {who: secrets.token_urlsafe(24) for who in (*PEOPLE, "alertmanager")}
    return Show((story.scenario,), 1, name, story, tokens)


async def run_demo(
    *, once: bool, port: int, speed: float, story: str = "", tools: Tools | None = None
) -> int:
    """Show the four alerts or one story; exit code 0 when all ended well. Runs until interrupted unless `once`. Its pages ask the
    `tools`. Raises BadInput."""
    show = show_of(story, once=once)
    logs.configure(level="WARNING")
    console = Console(highlight=False, soft_wrap=True)
    state = Path(tempfile.mkdtemp(prefix="remediator-demo-"))
    clock = AcceleratedClock(SystemClock(), speed)
    cluster = SimCluster(clock, load_scenario(*show.scenarios))
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
        backtest=tools.backtest if tools else None,
        what_if=tools.what_if if tools else None,
    )
    try:
        async with serving(_settings(state, port, show), parts) as (service, url):
            _opening(console, url, speed, show)
            async with _people(console, cluster, url, show):
                await _told(service.services.store, show)
                good = await _summary(console, service.services.store, show)
                if not once:
                    await _stay(console, service.services.store, url, show)
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


def _settings(state: Path, port: int, show: Show) -> Settings:
    """The usual settings, but for a state of its own, no secrets but those of a story's people, and the policies shipped with the
    service, beside them the rule that is added."""
    here = Path("policies")
    folder = here if here.is_dir() else Path(__file__).resolve().parent.parent / "policies"
    rule, name = show.added
    if rule:
        with_rule = state / "policies"
        shutil.copytree(folder, with_rule)
        (with_rule / name).write_text(f"version: 1\nrules:\n  - {rule}\n")
        folder = with_rule
    try:
        return load_settings(
            state_dir=state,
            database_url=None,
            policy_dir=folder,
            cluster="simulated",
            host="127.0.0.1",
            port=port,
            tokens=_tokens(show) or None,
            slack_bot_token=None,
            replica="demo",
            mode="normal",
        )
    except BadInput as error:
        raise BadInput(
            f"the demo cannot start: {error.message}", code=error.code, where=error.where
        ) from error


def _tokens(show: Show) -> str:
    scopes = {"alertmanager": "ingest"}
    return ",".join(
        f"{who}:{scopes.get(who, 'read+trigger+operate')}:{sha256(token.encode()).hexdigest()}"
        for who, token in show.tokens.items()
    )


def _opening(console: Console, url: str, speed: float, show: Show) -> None:
    world = (
        ("five" if show.asks else "four") + " broken workloads"
        if show.story is None
        else f"the world of {show.name}"
    )
    console.print(Rule(f"alert-remediator demo {show.name}".strip()))
    console.print(
        f"A simulated cluster with {world} in namespace rag7, {speed:g} times faster than real time.\n"
        f"The service runs at {url} (API at {url}/docs). What follows is the channel #incidents.\n"
    )
    if show.story is not None:
        console.print(
            "Databases, caches and buckets are stand-ins inside of this process, as the cluster is.\n"
            f"{PEOPLE[0]} orders what is ordered; {' and '.join(PEOPLE[1:])} approve what waits for somebody.\n"
        )


@contextlib.asynccontextmanager
async def _people(console: Console, cluster: SimCluster, url: str, show: Show) -> AsyncIterator[None]:
    """What goes on around the service: Alertmanager, and in a story its people."""
    async with httpx.AsyncClient(base_url=url, timeout=30.0) as http:
        tasks = [asyncio.create_task(_feed(cluster, http, show))]
        if show.story is not None:
            if show.story.target:
                await _order(http, show, show.story)
            tasks.append(asyncio.create_task(_answer(console, http, show)))
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def _as(show: Show, who: str) -> dict[str, str]:
    return {"authorization": f"Bearer {show.tokens[who]}"} if who in show.tokens else {}


async def _feed(cluster: SimCluster, http: httpx.AsyncClient, show: Show) -> None:
    """What Alertmanager does: POST each due notification until it is taken."""
    headers = _as(show, "alertmanager")
    while True:
        for body in cluster.alertmanager.poll():
            answer = await http.post("/webhooks/alertmanager", json=body, headers=headers)
            while answer.status_code >= 500:
                await asyncio.sleep(_POLL)
                answer = await http.post("/webhooks/alertmanager", json=body, headers=headers)
            answer.raise_for_status()
        await asyncio.sleep(_POLL)


async def _order(http: httpx.AsyncClient, show: Show, story: Story) -> None:
    target = Target.parse(story.target)
    body = {
        "remediation": show.name,
        "target": {"namespace": target.namespace, "kind": target.kind.value, "name": target.name},
        "params": dict(story.params),
        "reason": "the demo shows it",
    }
    answer = await http.post("/api/v1/remediations", json=body, headers=_as(show, PEOPLE[0]))
    answer.raise_for_status()


async def _answer(console: Console, http: httpx.AsyncClient, show: Show) -> None:
    """Approve whatever waits, one person after the other, as often as somebody is still wanted."""
    given: set[tuple[str, str]] = set()
    while True:
        found = await http.get("/api/v1/runs", params={"state": "waiting"}, headers=_as(show, PEOPLE[1]))
        for run in found.raise_for_status().json()["items"]:
            who = next((p for p in PEOPLE[1:] if (run["id"], p) not in given), None)
            if who is not None:
                given.add((run["id"], who))
                answer = await http.post(f"/api/v1/runs/{run['id']}/approve", headers=_as(show, who))
                if answer.is_success:
                    console.print(f"({who} approves)", markup=False)
        await asyncio.sleep(_POLL)


async def _told(store: Store, show: Show) -> None:
    """Wait until everything has ended and its messages are out. Raises TimeoutError."""
    async with asyncio.timeout(_LIMIT):
        await _all_ended(store, show)
        await _messages_out(store)


async def _incidents(store: Store) -> list[Incident]:
    rows = await store.read(lambda conn: incidents.page(conn, None, 50))
    return [r for r in rows if r.merged_into is None]


async def _all_ended(store: Store, show: Show) -> None:
    """Until everything has ended, and what is asked about waits."""
    while True:
        rows = await _incidents(store)
        waiting = [r for r in rows if r.state is IncidentState.WAITING]
        ended = [r for r in rows if r.state.closed or r.state.value in ("escalated", "stuck")]
        if len(ended) >= show.incidents and len(waiting) == int(show.asks) == len(rows) - len(ended):
            return
        await asyncio.sleep(_POLL)


async def _messages_out(store: Store) -> None:
    while True:
        if not await store.read(outbox.depth):
            return
        await asyncio.sleep(_POLL)


async def _summary(console: Console, store: Store, show: Show) -> bool:
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
    well = _WELL if show.story is None else _WELL | _LOOKED
    ended = [r for r in rows if not (show.asks and r.state is IncidentState.WAITING)]
    return len(ended) >= show.incidents and all(r.state in well for r in ended)


async def _stay(console: Console, store: Store, url: str, show: Show) -> None:
    if show.asks:
        (asked,) = [r for r in await _incidents(store) if r.state is IncidentState.WAITING]
        console.print(
            f"\nOne plan waits for your answer at {url}/incidents/{asked.id}\n"
            "Approve it there with a reason, watch it being verified, and undo it.",
            markup=False,
        )
    console.print(
        f"\nThe service goes on at {url}. In another terminal: remediator incidents, remediator explain ID, "
        "remediator undo RUN. Ctrl-C ends it."
    )
    if show.tokens:
        console.print(
            f"Its page and commands know {PEOPLE[0]} by REMEDIATOR_TOKEN={show.tokens[PEOPLE[0]]}",
            markup=False,
        )
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()
