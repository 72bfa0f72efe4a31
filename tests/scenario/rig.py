"""The whole service in one process on virtual time: simulated cluster, real store, real policy and handlers.

Nothing sleeps: time moves only when the rig moves it, and it moves only when nothing is left to do at the present moment.
A rig can be killed and started again on what its death left behind: the store's file, the engine's journal, the cluster.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from app.domain.alert import Receipt
from app.domain.decision import Mode
from app.domain.json import canonical
from app.engine.journal import Boundary, Journal, JournalEngine
from app.flow.deliver import DeliverServices, deliver_once
from app.flow.operate import Operations
from app.flow.run import story_of as run_story
from app.flow.services import Services
from app.flow.story import story_of
from app.flow.sweep import Loops
from app.intake import alertmanager
from app.notify.door import Found, Posted
from app.notify.message import Message
from app.observe.metrics import Metrics
from app.policy.load import load_policy, read_dir
from app.policy.model import Policy
from app.sim import SimCluster, VirtualClock, load_scenario
from app.sim.faults import Request
from app.store.database import Store
from app.store.tx import Tx
from app.store.writer import StoreHooks
from prometheus_client import CollectorRegistry
from remediations import CATALOGUE
from sqlalchemy import Connection

T = TypeVar("T")
POLICIES = Path(__file__).resolve().parents[2] / "policies"


class Died(BaseException):
    """A simulated death of the process. Not an Exception, so that nothing in the product can catch it by accident."""


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


class Notebook:
    """A message door that writes down what was posted and edited, by incident thread."""

    def __init__(self) -> None:
        self.posts: list[tuple[str, str, str]] = []
        self.parents: dict[str, str] = {}
        self.failing: BaseException | None = None

    def knows(self, posted: Posted) -> bool:
        """All of them."""
        return posted.channel == "C0NOTEBOOK"

    async def post(self, channel: str, message: Message, thread_ts: str | None, client_tag: str) -> Posted:
        """Write down a message."""
        del channel
        if self.failing is not None:
            raise self.failing
        ts = str(len(self.posts) + 1)
        self.posts.append((thread_ts or ts, client_tag, message.readable()))
        if thread_ts is None:
            self.parents[ts] = message.readable()
        return Posted("C0NOTEBOOK", ts)

    async def update(self, posted: Posted, message: Message, client_tag: str) -> Posted:
        """Write down an edit."""
        del client_tag
        if self.failing is not None:
            raise self.failing
        self.parents[posted.ts] = message.readable()
        return posted

    async def find(self, channel: str, thread_ts: str | None, tag: str, since: object) -> Found:
        """Look it up in the notebook."""
        del channel, since
        for number, (thread, client_tag, _) in enumerate(self.posts, 1):
            if client_tag == tag and thread_ts in (None, thread):
                return Found(posted=Posted("C0NOTEBOOK", str(number)))
        return Found()

    @property
    def text(self) -> str:
        """Everything that was ever posted."""
        return "\n".join(text for _, _, text in self.posts)


class CountedStore(Store):
    """The store, telling how many calls are under way, so that the rig knows when nothing is left to do."""

    under_way = 0

    async def _counted(self, call: Any) -> Any:
        type(self).under_way += 1
        try:
            return await call
        finally:
            type(self).under_way -= 1

    async def ingest(self, delivery: Any) -> Receipt:
        """Counted."""
        result: Receipt = await self._counted(super().ingest(delivery))
        return result

    async def write(self, fn: Callable[[Tx], T]) -> T:
        """Counted."""
        result: T = await self._counted(super().write(fn))
        return result

    async def read(self, fn: Callable[[Connection], T]) -> T:
        """Counted."""
        result: T = await self._counted(super().read(fn))
        return result


@dataclass(slots=True)
class Rig:
    """One service on one simulated cluster. `reaper` cuts at durable boundaries; `use_api` asks Alertmanager's API too."""

    path: Path
    scenarios: tuple[str, ...] = ("high-error-rate",)
    policy_texts: dict[str, str] | None = None
    reaper: Reaper = field(default_factory=Reaper)
    use_api: bool = True
    ceiling: Mode = Mode.AUTO
    clock: VirtualClock = field(default_factory=VirtualClock)
    journal: Journal = field(default_factory=Journal)
    notebook: Notebook = field(default_factory=Notebook)
    cluster: SimCluster = field(init=False)
    services: Services = field(init=False)
    engine: JournalEngine = field(init=False)
    store: CountedStore = field(init=False)
    loops: Loops = field(init=False)
    policy: Policy = field(init=False)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    _births: int = 0

    def __post_init__(self) -> None:
        self.cluster = SimCluster(self.clock, load_scenario(*self.scenarios))
        self.policy = load_policy(self.policy_texts or read_dir(POLICIES), CATALOGUE)
        self.cluster.on_request(self._at_request)

    def _at_request(self, request: Request, when: str) -> None:
        if request.verb in ("patch", "delete", "evict") and not request.dry_run:
            self.reaper(f"cluster {request.verb} {when}")

    async def born(self) -> Rig:
        """Start (again) on what is there."""
        self._births += 1
        hooks = StoreHooks(
            before_commit=lambda: self.reaper("store before commit"),
            after_commit=lambda: self.reaper("store after commit"),
        )
        CountedStore.under_way = 0
        store = CountedStore.open(
            f"sqlite:///{self.path}", clock=self.clock, ids=Numbers(self._births * 1_000_000), hooks=hooks
        )
        assert isinstance(store, CountedStore)
        self.store = store
        self.services = Services(
            store=store,
            cluster=self.cluster,
            clock=self.clock,
            ids=Numbers(self._births * 1_000_000 + 500_000),
            policy=lambda: self.policy,
            catalogue=CATALOGUE,
            dependencies=self.cluster.dependencies,
            metrics=Metrics(CollectorRegistry()),
            replica="rig",
            metric_source=self.cluster.metrics,
            alert_state=self.cluster.alertmanager if self.use_api else None,
            ceiling=self.ceiling,
        )
        boundary: Boundary = self.reaper
        self.engine = JournalEngine(
            run_story(self.services), self.clock, journal=self.journal, boundary=boundary
        )
        self.services.engine.current = self.engine
        messages = DeliverServices(
            store=store,
            clock=self.clock,
            door=self.notebook,
            story_of=story_of,
            channel="#incidents",
            replica="rig",
            boot=str(self._births),
        )
        self.loops = Loops(self.services, lambda: deliver_once(messages), timedelta(days=30))
        await self.engine.launch()
        return self

    async def die(self) -> None:
        """The process is gone: tasks, threads and connections with it."""
        self.reaper.dead = True
        await self.engine.close()
        self.store.close()
        self.reaper = Reaper()

    async def close(self) -> None:
        """End the test's service."""
        await self.engine.close()
        self.store.close()

    @property
    def operations(self) -> Operations:
        """Orders of people."""
        return Operations(self.services)

    async def send(self, body: dict[str, Any]) -> Receipt:
        """Deliver one Alertmanager body, as the webhook does after authentication."""
        self.bodies.append(body)
        delivery = alertmanager.parse(
            canonical(body).encode(), received_at=self.clock.now(), sender="am", max_bytes=1_048_576
        )
        return await self.store.ingest(delivery)

    async def quiet(self) -> None:
        """Let everything that can run at this moment run."""
        calm = 0
        while calm < 5:
            await asyncio.sleep(0)
            for _ in range(20):
                await asyncio.sleep(0)
            if CountedStore.under_way and not self.reaper.dead:
                await asyncio.sleep(
                    0.0005
                )  # a store thread is at work; this yields to it, virtual time stands still
                calm = 0
            else:
                calm += 1

    async def turn(self) -> None:
        """One round of all loops at this moment, until nothing is left to do."""
        while not self.reaper.dead:
            await self.quiet()
            if self.reaper.dead:
                return
            decided = await self.loops.decide_due()
            await self.quiet()
            sent = await self.loops.deliver()
            await self.loops.sweep()
            if not decided and not sent:
                return

    async def step(self, seconds: float = 5.0, *, alerts: bool = True) -> None:
        """Move time by `seconds` at most to the next wake-up, deliver due notifications, run the loops."""
        deadline = self.clock.next_deadline()
        now = self.clock.monotonic()
        self.clock.advance(min(seconds, max(0.0, (deadline or now + seconds) - now)) or seconds)
        if alerts:
            for body in self.cluster.alertmanager.poll():
                await self.send(body)
        await self.turn()

    async def run(self, seconds: float, *, alerts: bool = True) -> None:
        """Let so much virtual time pass. Raises Died when the reaper struck."""
        end = self.clock.monotonic() + seconds
        while self.clock.monotonic() < end:
            await self.step(min(5.0, end - self.clock.monotonic()), alerts=alerts)
            if self.reaper.dead:
                raise Died
        for run_id, error in self.engine.failed.items():
            if not isinstance(error, Died):
                raise AssertionError(f"{run_id} broke") from error

    async def until(self, condition: Callable[[], Any], limit: float = 3600.0) -> None:
        """Let time pass until the condition (sync or async) holds."""
        end = self.clock.monotonic() + limit
        while True:
            found = condition()
            if asyncio.iscoroutine(found):
                found = await found
            if found:
                return
            assert self.clock.monotonic() < end, (
                f"not within {limit:g} virtual seconds\n{self.notebook.text[-4000:]}"
            )
            await self.run(5.0)
