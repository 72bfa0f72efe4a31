"""The composition root: the only place where settings become concrete parts and parts meet.

Owns construction and the order of start and stop. No logic: whatever decides anything lives below.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from app import outside
from app.backup.shelf import Shelves
from app.database.postgres import PostgresDatabases
from app.database.redis import RedisCaches
from app.domain.backups import Backups
from app.domain.cache import Caches
from app.domain.cluster import Cluster
from app.domain.database import Databases
from app.domain.errors import BadInput
from app.domain.events import EventKind
from app.domain.http_check import HttpChecks
from app.domain.ports import AlertSources, Clock, Dependencies, Ids, MetricSource, Tracer
from app.engine.context import Engine, Workflow
from app.engine.durable import DurableEngine
from app.flow.notifying import scorecard
from app.flow.notifying.deliver import DeliverServices, deliver_once
from app.flow.notifying.timeline import timeline_of
from app.flow.people.clicks import Interactions
from app.flow.people.operations import Operations
from app.flow.readiness.access import AccessCheck
from app.flow.readiness.health import Health
from app.flow.running.advance import workflow_of as run_workflow
from app.flow.services import FiringAlerts, Reach, Services
from app.flow.upkeep import views
from app.flow.upkeep.loops import Loops
from app.flow.upkeep.policies import PolicyKeeper
from app.flow.upkeep.supervisor import Supervisor, Task
from app.notify.client import MessageClient
from app.notify.groups import Groups
from app.notify.replies import SlackReplies
from app.notify.slack import SlackClient
from app.notify.socket import SocketMode
from app.observe.alert_sources import Sources
from app.observe.alertmanager import Alertmanager
from app.observe.dependencies import ConfiguredDependencies
from app.observe.http_check import HttpxChecks
from app.observe.http_json import bounded_client
from app.observe.metrics import Metrics
from app.observe.pagerduty_on_call import OnCallNames
from app.observe.system import SystemClock, TimeIds
from app.page.requests import Backtest, Tools, WhatIf
from app.page.site import add_pages
from app.settings import Settings
from app.store import last_policy, work
from app.store.audit import NO_KEYS, AuditKeys
from app.store.database import Store, StoreOptions
from app.store.exclusive import engine_file
from app.store.presence import Presence, away_now, keep_watch
from app.store.tx import AuditRecord, Tx, VaultKeys
from app.store.writer import StoreHooks
from app.web.app import create_app
from app.web.services import Views, WebServices
from remediations import CATALOGUE

_POLICY, _CLUSTER, _SOCKET = 2.0, 30.0, 5.0  # seconds between two looks

MakeEngine = Callable[[Workflow], Engine]


@dataclass(slots=True)
class Parts:
    """Concrete parts in the place of the real ones; None means: build it from settings. A simulated cluster is always put in."""

    clock: Clock = field(default_factory=SystemClock)
    ids: Ids = field(default_factory=TimeIds)
    cluster: Cluster | None = None
    metric_source: MetricSource | None = None
    alert_sources: AlertSources | None = None
    firing_alerts: FiringAlerts | None = None
    dependencies: Dependencies | None = None
    databases: Databases | None = None
    http: HttpChecks | None = None
    caches: Caches | None = None
    backups: Backups | None = None
    client: MessageClient | None = None
    make_engine: MakeEngine | None = None
    hooks: StoreHooks | None = None
    tracer: Tracer | None = None
    speed: float = 1.0
    doctor: Callable[[Clock], Awaitable[Sequence[Mapping[str, str]]]] | None = None
    backtest: Backtest | None = None
    what_if: WhatIf | None = None

    @property
    def tools(self) -> Tools:
        """What the pages may ask beside the service; the doctor with its clock."""
        doctor = None if self.doctor is None else partial(self.doctor, self.clock)
        return Tools(doctor, self.backtest, self.what_if)


@dataclass(slots=True)
class Service:
    """One process of the service: `app` to serve, `start` before and `stop` after."""

    settings: Settings
    services: Services
    app: FastAPI
    engine: Engine
    loops: Loops
    keeper: PolicyKeeper
    interactions: Interactions
    access: AccessCheck
    supervisor: Supervisor
    _closing: AsyncExitStack
    socket: SocketMode | None = None

    async def start(self) -> None:
        """Launch the engine (which resumes what was under way) and the loops."""
        replica = self.services.replica
        data = {"version": version("alert-remediator"), "replica": replica}

        def begin(tx: Tx) -> None:
            # An earlier process of this name is dead: nobody waits for its claims to run out.
            work.free_claims(tx, replica)
            tx.audit(EventKind.SERVICE_STARTED, data=data)

        await self.services.store.write(begin)
        await self.engine.launch()
        for task in self._tasks():
            self.supervisor.start(task)

    def _tasks(self) -> Iterator[Task]:
        store, nudge = self.services.store, self.services.decide_nudge
        yield from self.loops.tasks()
        yield Task("policy", lambda: self.keeper.look(store, nudge, self.services.absent), _POLICY)
        yield Task("cluster", self.access.look, _CLUSTER)
        if self.socket is not None:
            yield Task("slack-socket", self.socket.look, _SOCKET)

    async def stop(self) -> None:
        """Stop loops and engine, close connections. Whatever was under way is resumed by the next start."""
        await self.supervisor.stop()
        await self.loops.stop()
        if self.socket is not None:
            await self.socket.stop()
        await self.loops.stop()
        await self.interactions.close()
        await self.engine.close()
        await self._closing.aclose()


def _counted(hooks: StoreHooks | None, metrics: Metrics) -> StoreHooks:
    def committed(seconds: float, writes: int) -> None:
        metrics.store_seconds.observe(seconds)
        metrics.store_batch.observe(writes)

    def audited(records: Sequence[AuditRecord]) -> None:
        for record in records:
            metrics.count_record(record.kind, of_run=bool(record.run_id))

    failed = metrics.store_failures.inc
    return replace(hooks or StoreHooks(), committed=committed, failed=failed, audited=audited)


def open_store(settings: Settings, *, migrate: bool = True, parts: Parts | None = None) -> Store:
    """Open the domain store of these settings. Raises BadInput, StoreUnavailable."""
    parts = parts or Parts()
    hooks = replace(parts.hooks or StoreHooks(), keys=audit_keys(settings))
    return Store.open(
        settings.store_url,
        clock=parts.clock,
        ids=parts.ids,
        migrate=migrate,
        hooks=hooks,
        options=StoreOptions(keys=value_keys(settings)),
    )


def audit_keys(settings: Settings) -> AuditKeys:
    """The keys of the audit trail. Raises BadInput for one that is too short."""
    return AuditKeys.parse(settings.audit_key.get_secret_value()) if settings.audit_key else NO_KEYS


def value_keys(settings: Settings) -> VaultKeys:
    """The keys of hidden values: of their digests, and of what is kept to carry out and undo changes."""
    secret, encryption = settings.secret_key, settings.encryption_key
    listed = encryption.get_secret_value().split(",") if encryption else ()
    return VaultKeys(
        secret.get_secret_value() if secret else "", tuple(key.strip() for key in listed if key.strip())
    )


def replica_name(settings: Settings) -> str:
    """Under which name this process claims work."""
    return settings.replica or socket.gethostname()


async def build(settings: Settings, parts: Parts | None = None) -> Service:
    """Put a service together; call on the event loop that will run it. Raises BadInput for bad settings or policy."""
    parts = parts or Parts()
    closing = AsyncExitStack()
    try:
        return await _build(settings, parts, closing)
    except BaseException:
        await closing.aclose()
        raise


def _metrics(settings: Settings) -> Metrics:
    made = Metrics(CollectorRegistry(), outside.histogram(settings))
    made.start_at_zero(CATALOGUE)
    return made


def _several(settings: Settings) -> bool:
    """Whether there may be other replicas on the store."""
    return settings.store_url.startswith("postgresql://")


async def _keeper(settings: Settings, store: Store, metrics: Metrics) -> PolicyKeeper:
    name, key, several = replica_name(settings), store.vault.key, _several(settings)
    before = await store.read(lambda conn: last_policy.before(conn, key, name, several=several))
    return PolicyKeeper(settings.policy_dir, CATALOGUE, metrics, before)


async def _build(settings: Settings, parts: Parts, closing: AsyncExitStack) -> Service:
    tracer = parts.tracer or outside.tracer(settings, replica_name(settings), closing)
    metrics = _metrics(settings)
    http = await closing.enter_async_context(bounded_client(timeout=10.0))
    cluster = await _cluster(settings, parts, metrics, tracer, closing)
    store = open_store(settings, parts=replace(parts, hooks=_counted(parts.hooks, metrics)))
    closing.callback(store.close)
    keeper = await _keeper(settings, store, metrics)
    url = settings.alertmanager_url
    alertmanager = Alertmanager(http, url, parts.clock) if url else None
    pagerduty = outside.pagerduty_rest(settings, http, parts.clock)
    services = Services(
        store=store,
        cluster=cluster,
        clock=parts.clock,
        ids=parts.ids,
        policy=keeper,
        catalogue=CATALOGUE,
        dependencies=parts.dependencies or ConfiguredDependencies(settings.dsns, parts.clock),
        databases=parts.databases or PostgresDatabases(parts.clock),
        caches=parts.caches or RedisCaches(parts.clock),
        metrics=metrics,
        replica=replica_name(settings),
        metric_source=parts.metric_source or outside.prometheus(settings, http, parts.clock),
        alert_sources=parts.alert_sources or Sources(alertmanager, pagerduty),
        firing_alerts=parts.firing_alerts or alertmanager,
        incident_bodies=pagerduty,
        http=parts.http or HttpxChecks(parts.clock),
        backups=parts.backups or Shelves(),
        ceiling=settings.ceiling,
        people=settings.persons,
        on_call=None if pagerduty is None else OnCallNames(pagerduty, parts.clock),
        reach=Reach(*settings.reach),
        tracer=tracer,
    )
    services = _with_presence(settings, services, closing)
    engine = (parts.make_engine or _durable(settings, services, parts.speed))(run_workflow(services))
    services.engine.current = engine
    messages = _deliver_services(settings, services, parts, http)
    days = timedelta(days=settings.retention_days)
    loops = Loops(services, lambda: deliver_once(messages), days, settings.slack_channel)
    interactions = _interactions(settings, services, messages.client, http)
    access, supervisor = AccessCheck(services), Supervisor(parts.clock, metrics)
    services.rights.current = access
    health = Health(store.probe_write, (supervisor, access, keeper))
    web = _web(settings, services, interactions, health)
    sign_in = outside.sign_in(settings, http, parts.clock)
    app = add_pages(create_app(web), web, services, sign_in, parts.tools)
    told = (settings, services, app, engine, loops, keeper, interactions, access, supervisor, closing)
    return Service(*told, _socket(settings, interactions))


def _interactions(
    settings: Settings, services: Services, shared: MessageClient, http: httpx.AsyncClient
) -> Interactions:
    # One client for a process: it keeps the pace of its token.
    client = shared if isinstance(shared, SlackClient) else outside.slack_client(settings, services.clock)
    replies = SlackReplies(http, settings.slack_api_url, client)
    return Interactions(services, replies, Groups(client, services.clock), settings.operators)


async def _cluster(
    settings: Settings, parts: Parts, metrics: Metrics, tracer: Tracer, closing: AsyncExitStack
) -> Cluster:
    if parts.cluster is not None:
        return parts.cluster
    if settings.cluster == "simulated":
        raise BadInput("no simulated cluster was put in", code="bad_setting", where="REMEDIATOR_CLUSTER")

    def observe(verb: str, kind: str, code: str, seconds: float) -> None:
        metrics.kube_seconds.labels(verb, kind, code).observe(seconds)
        tracer.past(f"kubernetes {verb}", seconds, kind=kind, code=code)

    cluster = await outside.connect(settings, observe)
    closing.push_async_callback(cluster.close)
    return cluster


def _durable(settings: Settings, services: Services, speed: float) -> MakeEngine:
    """SQLite: a file of its own beside the store. Postgres: the same database, a schema of its own."""

    def make(timeline: Workflow) -> Engine:
        file = Path(settings.store_url.removeprefix("sqlite:///"))
        where = settings.store_url if _several(settings) else engine_file(file)
        return DurableEngine(where, timeline, name=services.replica, speed=speed)

    return make


def _with_presence(settings: Settings, services: Services, closing: AsyncExitStack) -> Services:
    """On Postgres each replica holds a lock under its name, and hears from it which others are gone."""
    if not _several(settings):
        return services
    url = settings.store_url.replace("postgresql://", "postgresql+psycopg://", 1)
    presence = Presence(url, services.replica)
    closing.callback(presence.close)
    return replace(services, presence=partial(keep_watch, presence), absent=partial(away_now, presence))


def _deliver_services(
    settings: Settings, services: Services, parts: Parts, http: httpx.AsyncClient
) -> DeliverServices:
    return DeliverServices(
        store=services.store,
        clock=parts.clock,
        client=parts.client or outside.message_client(settings, parts.clock),
        timeline_of=timeline_of,
        channel=settings.slack_channel,
        replica=services.replica,
        boot=parts.ids.new("boot"),
        pager=outside.pager(settings, http, parts.clock),
        status_page=outside.status_page(settings, http),
        tracer=services.tracer,
        attempted=lambda channel, result: services.metrics.outbox_sent.labels(channel, result).inc(),
    )


def _socket(settings: Settings, interactions: Interactions) -> SocketMode | None:
    if (token := settings.slack_app_token) is None:
        return None
    return SocketMode(
        app_token=token.get_secret_value(), base_url=settings.slack_api_url, receive=interactions.receive
    )


def _web(settings: Settings, services: Services, interactions: Interactions, health: Health) -> WebServices:
    return WebServices(
        store=services.store,
        access=settings.access,
        clock=services.clock,
        ids=services.ids,
        metrics=services.metrics,
        nudge=services.decide_nudge,
        ready=health,
        operations=Operations(services),
        views=Views(
            remediations=lambda: views.remediations(services),
            policies=lambda: views.policies(services),
            budgets=lambda: views.budgets(services),
            schedules=lambda: views.schedules(services),
            scorecard=lambda days: scorecard.last_days(services, days),
            trust=lambda: views.trust(services),
            diagnosis=lambda *of: views.diagnosis(services, *of),
        ),
        pagerduty_agents=frozenset(a.strip() for a in settings.pagerduty_agents.split(",") if a.strip()),
        check_order=views.order_check(services),
        check_target=views.target_check(services),
        interactions=interactions,
        label_names=lambda: services.policy().labels.names,
        tracer=services.tracer,
    )


def describe(service: Service) -> dict[str, Any]:
    """What runs, for the log line at the start."""
    return {
        "cluster": service.services.cluster.name,
        "store": service.services.store.backend,
        "policy": service.keeper().version,
        "rules": len(service.keeper().rules),
        "mode": service.settings.mode,
        "open": service.settings.open,
    }
