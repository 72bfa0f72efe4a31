"""The whole service in one process on virtual time: simulated cluster, real store, real policy and handlers.

Nothing sleeps: time moves only when the rig moves it, and it moves only when nothing is left to do at the present moment.
A rig can be killed and started again on what its death left behind: the store's file, the engine's journal, the cluster.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry
from sqlalchemy import BigInteger, bindparam, exists, or_, select

from app.domain.alert import Receipt
from app.domain.decision import Mode
from app.domain.errors import TryLater
from app.domain.json import canonical
from app.domain.ports import NO_TRACER, Tracer
from app.domain.target import Kind
from app.engine.memory import Journal, JournalEngine
from app.flow.notifying.deliver import deliver_once
from app.flow.notifying.sending import DeliverServices
from app.flow.notifying.timeline import timeline_of
from app.flow.people.operations import Operations
from app.flow.running.advance import workflow_of as run_workflow
from app.flow.services import OnCall, Reach, Services
from app.flow.upkeep.loops import Loops
from app.intake import alertmanager
from app.notify.pagerduty import PagerDutyClient
from app.notify.status_page import StatusPageClient
from app.observe.metrics import Metrics
from app.policy.load import load_policy, read_dir
from app.policy.model import Policy
from app.sim import SimCluster, VirtualClock
from app.sim.faults import Request
from app.sim.scenario import Scenario
from app.store.connection import micros
from app.store.schema import incidents as incident_rows
from app.store.tx import VaultKeys
from app.store.writer import StoreHooks
from remediations import CATALOGUE
from tests.births import cluster_of, scenario_of
from tests.empty_store import put_empty_store
from tests.scenario.inline import InlineStore, InlineThreads
from tests.scenario.notebook import Notebook

POLICIES = Path(__file__).resolve().parents[2] / "policies"
_REPORT = 60.0  # seconds of virtual time: reports cost more than all the rest of an idle turn
_LONG_WAIT = 900.0  # seconds of virtual time
_ENDLESS = 20_000
"""Turns of the event loop, or rounds of the loops, at one moment: the same is done again and again."""
_FREE = or_(
    incident_rows.c.claimed_until.is_(None),
    incident_rows.c.claimed_until <= bindparam("now", type_=BigInteger),
)
_IS_DUE = select(exists().where(incident_rows.c.due_at <= bindparam("now", type_=BigInteger), _FREE))


@cache
def shipped_policy() -> Policy:
    """The policy in the repository."""
    return load_policy(read_dir(POLICIES), CATALOGUE)


class Died(BaseException):
    """A simulated death of the process. Not an Exception: nothing in the product catches it by accident."""


def _passes(error: BaseException | None) -> bool:
    """What the supervisor takes for passing by itself; a process that died has no say any more."""
    if isinstance(error, BaseExceptionGroup):
        return all(_passes(e) for e in error.exceptions)
    return isinstance(error, Died | TryLater)


class Reaper:
    """Counts boundaries and kills at the n-th; once dead, every further boundary kills too."""

    def __init__(self, at: int | None = None) -> None:
        self.at = at
        self.crossed = 0
        self.dead = False
        self.names: list[str] = []

    def __call__(self, name: str) -> None:
        """Cross one boundary."""
        if self.dead:
            raise Died(name)
        self.crossed += 1
        self.names.append(name)
        if self.at is not None and self.crossed == self.at:
            self.dead = True
            raise Died(name)


class Numbers:
    """Ids that count, the same in every run of a test."""

    def __init__(self, start: int = 0) -> None:
        self._next = start

    def new(self, prefix: str) -> str:
        """The next id."""
        self._next += 1
        return f"{prefix}_{self._next:08d}"


@dataclass(slots=True)
class Rig:
    """One service on one simulated cluster. `reaper` cuts at durable boundaries; `use_api` asks Alertmanager's API too. `keys` are those of the store.

    `url` is another migrated database than the file `path`. `world` takes the place of the named scenarios. `stride` is how far time moves at most between two looks of the loops,
    `sweep` how far at least between two sweeps, which cost more than all the rest of an idle look (0: one in every round).
    """

    path: Path
    url: str = field(default="", kw_only=True)
    scenarios: tuple[str, ...] = ("high-error-rate",)
    world: Scenario | None = None
    policy_texts: dict[str, str] | None = None
    reaper: Reaper = field(default_factory=Reaper)
    use_api: bool = True
    keys: VaultKeys = field(default_factory=VaultKeys)
    ceiling: Mode = Mode.AUTO
    stride: float = 5.0
    sweep: float = 15.0
    engine_type: type[JournalEngine] = JournalEngine
    cluster_type: type[SimCluster] = SimCluster
    clock: VirtualClock = field(default_factory=VirtualClock)
    journal: Journal = field(default_factory=Journal)
    notebook: Notebook = field(default_factory=Notebook)
    pager: PagerDutyClient | None = None
    reach: Reach = field(default_factory=Reach)
    on_call: OnCall | None = None
    status_page: StatusPageClient | None = None
    tracer: Tracer = NO_TRACER
    cluster: SimCluster = field(init=False)
    services: Services = field(init=False)
    engine: JournalEngine = field(init=False)
    store: InlineStore = field(init=False)
    loops: Loops = field(init=False)
    policy: Policy = field(init=False)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    outgoing: list[dict[str, Any]] = field(default_factory=list)
    _births: int = 0
    _busy: dict[str, asyncio.Task[int]] = field(default_factory=dict)
    _report_at: float = 0.0
    _sweep_at: float = 0.0

    def __post_init__(self) -> None:
        scenario = self.world or scenario_of(*self.scenarios)
        plain = self.cluster_type is SimCluster
        self.cluster = cluster_of(self.clock, scenario) if plain else self.cluster_type(self.clock, scenario)
        self.policy = load_policy(self.policy_texts, CATALOGUE) if self.policy_texts else shipped_policy()
        self.cluster.on_request(self._at_request)
        self.notebook.boundary = self._cross

    def _cross(self, name: str) -> None:
        self.reaper(name)

    def _at_request(self, request: Request, when: str) -> None:
        made = request.verb == "create" and request.kind is Kind.JOB
        changes = ("patch", "delete", "evict", "terminate", "remove", "vacuum")
        if (made or request.verb in changes) and not request.dry_run:
            self.reaper(f"cluster {request.verb} {when}")

    async def born(self) -> Rig:
        """Start (again) on what is there."""
        self._births += 1
        self._sweep_at = 0.0
        asyncio.get_running_loop().set_default_executor(InlineThreads())
        hooks = StoreHooks(
            before_commit=lambda: self.reaper("store before commit"),
            after_commit=lambda: self.reaper("store after commit"),
        )
        if not self.url and not self.path.exists():
            put_empty_store(self.path)
        self.store = store = InlineStore.at(
            self.url or f"sqlite:///{self.path}",
            clock=self.clock,
            ids=Numbers(self._births * 1_000_000),
            hooks=hooks,
            keys=self.keys,
        )
        self.services = Services(
            store=store,
            cluster=self.cluster,
            clock=self.clock,
            ids=Numbers(self._births * 1_000_000 + 500_000),
            policy=lambda: self.policy,
            catalogue=CATALOGUE,
            dependencies=self.cluster.dependencies,
            databases=self.cluster.databases,
            http=self.cluster.http,
            caches=self.cluster.caches,
            backups=self.cluster.backups,
            metrics=Metrics(CollectorRegistry()),
            replica="rig",
            metric_source=self.cluster.metrics,
            alert_sources=self.cluster.alertmanager if self.use_api else None,
            ceiling=self.ceiling,
            reach=self.reach,
            on_call=self.on_call,
            tracer=self.tracer,
        )
        self.engine = self.engine_type(
            run_workflow(self.services), self.clock, journal=self.journal, boundary=self.reaper
        )
        self.services.engine.current = self.engine
        messages = self._messages(store)
        self.loops = Loops(self.services, lambda: deliver_once(messages), timedelta(days=30), "#incidents")
        await self.engine.launch()
        return self

    def _messages(self, store: InlineStore) -> DeliverServices:
        return DeliverServices(
            store=store,
            clock=self.clock,
            client=self.notebook,
            timeline_of=timeline_of,
            channel="#incidents",
            replica="rig",
            boot=str(self._births),
            pager=self.pager,
            status_page=self.status_page,
            tracer=self.tracer,
        )

    async def die(self) -> None:
        """The process is gone: tasks, threads and connections with it."""
        self.reaper.dead = True
        await self.close()
        self.reaper = Reaper()

    async def close(self) -> None:
        """End the test's service."""
        for task in self._busy.values():
            task.cancel()
        await asyncio.gather(*self._busy.values(), return_exceptions=True)
        self._busy.clear()
        await self.engine.close()
        self.store.close()

    @property
    def operations(self) -> Operations:
        """Orders of people."""
        return Operations(self.services)

    async def send(self, body: dict[str, Any]) -> Receipt:
        """Deliver one Alertmanager body, as the webhook does after authentication."""
        self.bodies.append(body)
        delivery = alertmanager.parse(canonical(body).encode(), received_at=self.clock.now(), sender="am")
        return await self.store.ingest(delivery)

    async def quiet(self) -> None:
        """Let everything that can run at this moment run."""
        ready: Any = asyncio.get_running_loop()._ready  # type: ignore[attr-defined]  # nothing public tells it
        turns = 0
        while ready:
            await asyncio.sleep(0)
            turns = self._within_reason(turns + 1)

    def _within_reason(self, turns: int) -> int:
        assert turns < _ENDLESS, f"no end of what can be done at this moment\n{self.notebook.text[-4000:]}"
        return turns

    async def turn(self) -> None:
        """One round of all loops at this moment, until nothing is left to do."""
        rounds = 0
        while not self.reaper.dead:
            rounds = self._within_reason(rounds + 1)
            await self.quiet()
            decided = await self._round("decide", self._decide_due)
            sent = await self._round("deliver", self.loops.deliver)
            swept = self.clock.monotonic() >= self._sweep_at
            if swept:
                self._sweep_at = self.clock.monotonic() + self.sweep
                await self._round("sweep", self.loops.sweep)
            if self.clock.monotonic() >= self._report_at:
                self._report_at = self.clock.monotonic() + _REPORT
                await self._round("report", self.loops.report)
            if not (decided or sent or (swept and self.sweep)):
                return

    async def _decide_due(self) -> int:
        """As the loop does it, without a commit when nothing is due: such a cut would cut nothing."""
        now = {"now": micros(self.clock.now())}
        if not await self.store.read(lambda conn: conn.execute(_IS_DUE, now).scalar()):
            return 0
        return await self.loops.decide_due()

    async def _round(self, name: str, body: Callable[[], Awaitable[int]]) -> int:
        """A loop's body as far as it gets at this moment; it goes on in a later turn when it waits for the clock."""
        task = self._busy.pop(name, None) or asyncio.ensure_future(body())
        await self.quiet()
        if not task.done():
            self._busy[name] = task
            return 0
        return 0 if _passes(task.exception()) else task.result()

    async def step(self, seconds: float = 5.0, *, alerts: bool = True) -> None:
        """Move time by `seconds` at most to the next wake-up, deliver due notifications, run the loops."""
        deadline = self.clock.next_deadline()
        now = self.clock.monotonic()
        self.clock.advance(min(seconds, max(0.0, (deadline or now + seconds) - now)) or seconds)
        if alerts:
            self.outgoing += self.cluster.alertmanager.poll()
            with suppress(TryLater):  # what was not answered with success is sent again, as Alertmanager does
                while self.outgoing:
                    await self.send(self.outgoing[0])
                    del self.outgoing[0]
        await self.turn()

    async def run(self, seconds: float, *, alerts: bool = True) -> None:
        """Let so much virtual time pass, a long wait in longer strides. Raises Died when the reaper struck."""
        end = self.clock.monotonic() + seconds
        stride = self.stride if seconds < _LONG_WAIT else self._coarse
        while self.clock.monotonic() < end:
            await self.step(min(stride, end - self.clock.monotonic()), alerts=alerts)
            if self.reaper.dead:
                raise Died
        self._broken()

    def _broken(self) -> None:
        """Raises Died when the reaper struck, RuntimeError for a run that broke."""
        if self.reaper.dead:
            raise Died
        for run_id, error in self.engine.failed.items():
            raise RuntimeError(f"{run_id} broke") from error

    @property
    def _coarse(self) -> float:
        return max(self.stride, min(4 * self.stride, 60.0))

    async def until(self, condition: Callable[[], Any], limit: float = 3600.0) -> None:
        """Let time pass until the condition (sync or async) holds."""
        end, began = self.clock.monotonic() + limit, self.clock.monotonic()
        while True:
            found = condition()
            if asyncio.iscoroutine(found):
                found = await found
            if found:
                return
            assert self.clock.monotonic() < end, (
                f"not within {limit:g} virtual seconds\n{self.notebook.text[-4000:]}"
            )
            waited = self.clock.monotonic() - began
            await self.step(self.stride if waited < _LONG_WAIT else self._coarse)
            self._broken()
