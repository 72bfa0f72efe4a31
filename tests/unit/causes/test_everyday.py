"""Lines that were there before the trouble at a like rate are not told as its cause: they lower a refusal to a question, and never to an
unasked write, for a trouble may be older than its alert. What begins or grows with the trouble counts as ever."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from app.domain.cluster import LogQuery
from remediations.high_error_rate import HighErrorRate
from remediations.high_latency import HighLatency
from tests.unit.causes.cluster import NOW
from tests.unit.causes.test_more_pods import BUSY, OLD
from tests.unit.causes.world import World

DB = "ERROR connection to db:5432 refused: connection refused"
Handler = HighErrorRate | HighLatency
TOLD = datetime(2026, 3, 4, 2, 10, 11, tzinfo=UTC)
HANDLERS = [HighErrorRate(), HighLatency()]


def writes(world: World, *said: str, every: float = 240.0, since: float = 180.0, until: float = 0.0) -> World:
    """Each pod writes these lines every so many seconds, from so many minutes ago until then, and something good every minute."""
    world.cluster.own_times = False
    for name in world.pods:
        rows = world.cluster.timed.setdefault(name, [])
        rows += [(NOW - timedelta(minutes=n), "INFO served") for n in range(180)]
        ago = since * 60
        while ago > until * 60:
            at = NOW - timedelta(seconds=ago)
            rows += [(at, stamped(line, at)) for line in said]
            ago -= every
        rows.sort()
    return world


def stamped(line: str, at: datetime) -> str:
    """The line with the time at which it is written, where it tells one: what says of itself that it is old counts for nothing."""
    for form in ("%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y/%m/%d %H:%M:%S", "E%m%d %H:%M:%S"):
        line = line.replace(TOLD.strftime(form), at.strftime(form))
    return line.replace(str(int(TOLD.timestamp())), str(int(at.timestamp())))


def scaling(handler: Handler) -> str:
    return handler.steps[1] if isinstance(handler, HighErrorRate) else handler.steps[0]


async def decided(world: World, handler: Handler) -> tuple[bool, bool]:
    """Whether it scales out, and whether it asks before."""
    _, steps = await world.look(handler)
    step = steps[scaling(handler)]
    return step.applies, bool(step.asks)


# What well programs write every few minutes.
NOISE: dict[str, Sequence[str]] = {
    "Go: http server": ("2026/03/04 02:10:11 http: TLS handshake error from 10.0.0.7:51234: EOF",),
    "Go: logfmt, a client that went away": ('level=error ts=2026-03-04T02:10:11Z msg="write response" err="write tcp 10.0.0.3:8080->10.0.0.7:51234: write: broken pipe"',),
    "Go: zap, traces": ('{"level":"error","ts":1772590211.1,"msg":"traces export: context deadline exceeded: rpc error: code = Unavailable desc = connection error"}',),
    "Go: klog": ('E0304 02:10:11.123456       1 reflector.go:138] Failed to watch *v1.Secret: Get "https://10.96.0.1:443/api": dial tcp 10.96.0.1:443: i/o timeout',),
    "Java: a pool that probes its connections": ("2026-03-04 02:10:11 WARN  HikariPool-1 - Failed to validate connection org.postgresql.jdbc.PgConnection@1a2b (This connection has been closed.). Possibly consider using a shorter maxLifetime value.",),
    "Java: a Kafka client": ("2026-03-04 02:10:11 WARN [Consumer clientId=web-1] Connection to node -1 (kafka/10.0.0.5:9092) could not be established. Broker may not be available.",),
    "Java: an APM agent": ("2026-03-04 02:10:11 [elastic-apm-server-reporter] ERROR co.elastic.apm.agent.report.IntakeV2ReportingEventHandler - Error sending data to APM server: connect timed out",),
    "Java: a client that hung up": ("2026-03-04 02:10:11 ERROR o.a.c.c.C.[.[.[/] - org.apache.catalina.connector.ClientAbortException: java.io.IOException: Broken pipe",),
    "Node: a cache that reconnects": ("[ioredis] Unhandled error event: Error: read ECONNRESET",),
    "Node: pino, an exporter": ('{"level":50,"time":1772590211000,"msg":"OTLPExporterError: connect ECONNREFUSED 10.0.0.9:4318"}',),
    "Python: urllib3": ("WARNING:urllib3.connectionpool:Retrying (Retry(total=2)) after connection broken by 'NewConnectionError: Failed to establish a new connection: [Errno 111] Connection refused': /v1/traces",),
    "Python: a statsd client": ("ERROR:statsd:could not send to statsd:8125: [Errno -2] Name or service not known",),
    "Python: a worker's timeout": ("ERROR celery.worker: consumer: Cannot connect to amqp://rabbit:5672//: timed out.",),
    "nginx": ("2026/03/04 02:10:11 [error] 31#31: *7 upstream timed out (110: Connection timed out) while reading response header from upstream, client: 10.0.0.7",),
    "nginx: a client's reset": ("2026/03/04 02:10:11 [error] 31#31: *7 recv() failed (104: Connection reset by peer) while reading client request line",),
    "envoy: a sidecar": ("[2026-03-04T02:10:11.123Z][31][warning][config] StreamAggregatedResources gRPC config stream to xds-grpc closed: 14, upstream connect error or disconnect/reset before headers",),
    "envoy: an access log": ('[2026-03-04T02:10:11.123Z] "GET /metrics HTTP/1.1" 503 UF upstream_reset_before_response_started{connection_failure} "10.0.0.9:9090" outbound|9090||sink',),
    "an exporter of postgres": ('ts=2026-03-04T02:10:11Z level=error msg="Error opening connection to database" err="dial tcp 10.0.0.4:5432: connect: connection refused"',),
    "an exporter of redis": ('time="2026-03-04T02:10:11Z" level=error msg="Couldn\'t connect to redis instance (redis://localhost:6379)"',),
    "a log shipper": ("[2026/03/04 02:10:11] [error] [output:loki:loki.0] loki:3100, HTTP status=429 Not retrying. ingestion rate limit exceeded",),
    "a quota that warns": ("WARN too many connections already for role app, retrying",),
    "a slow query of every day": ("WARN slow query took 2500ms: SELECT count(*) FROM orders",),
}  # fmt: skip

NO_ERROR = {"Go: http server", "Java: a Kafka client"}
"""What is no error, whenever it is written."""


@pytest.mark.parametrize("handler", HANDLERS, ids=lambda h: h.name)
@pytest.mark.parametrize("name", NOISE)
async def test_ordinary_noise_makes_of_a_refusal_a_question(name: str, handler: Handler) -> None:
    said = NOISE[name]
    assert await decided(writes(BUSY()), handler) == (True, False), "without it"
    assert await decided(writes(BUSY(), *said), handler) == (True, name not in NO_ERROR)
    quiet = await decided(writes(OLD()), handler)
    assert await decided(writes(OLD(), *said), handler) == quiet


TROUBLE: dict[str, Callable[[], World]] = {
    "it begins with the trouble": lambda: writes(BUSY(), DB, every=10, since=8),
    "it begins twenty minutes before the alert": lambda: writes(BUSY(), DB, every=10, since=25),
    "it grows with the trouble": lambda: writes(writes(BUSY(), DB, since=180), DB, every=10, since=7),
    "it was there for half an hour, an hour ago": lambda: writes(writes(BUSY(), DB, every=10, since=65, until=45), DB, every=5, since=8),
    "the logs do not reach back": lambda: cut_short(writes(BUSY(), DB, every=30, since=12), 12),
    "the pods are younger": lambda: young(writes(BUSY(), DB, every=30)),
}  # fmt: skip


def cut_short(world: World, minutes: float) -> World:
    """The log was rotated so many minutes ago."""
    for rows in world.cluster.timed.values():
        rows[:] = [(at, said) for at, said in rows if at >= NOW - timedelta(minutes=minutes)]
    return world


def young(world: World) -> World:
    for pod in world.pods.values():
        made = (NOW - timedelta(minutes=50)).strftime("%Y-%m-%dT%H:%M:%SZ")
        pod["metadata"]["creationTimestamp"] = made
        pod["status"]["containerStatuses"][0]["state"]["running"]["startedAt"] = made
    return world


# A trouble that is an hour older than its alert: a slow burn-rate rule, a long `for:`, a restart of Prometheus, a flapping alert.
SLOW_BURN: dict[str, Callable[[], World]] = {
    "a database, for 75 min": lambda: writes(BUSY(), DB, every=10, since=75),
    "a pool that is used up": lambda: writes(BUSY(), "ERROR HikariPool-1 - Connection is not available, request timed out after 30000ms.", every=15, since=90),
    "a partner": lambda: writes(BUSY(), "ERROR upstream https://api.partner.example/v1 answered 504 Gateway Timeout", every=15, since=70),
    "too many clients": lambda: writes(BUSY(), "FATAL: sorry, too many clients already", every=10, since=70),
    "a heap that is full": lambda: writes(BUSY(), "ERROR java.lang.OutOfMemoryError: Java heap space", every=20, since=90),
    "it nearly doubles": lambda: writes(writes(BUSY(), DB, every=60), DB, every=70, since=7),
    "half a minute of a talkative program": lambda: chatty(BUSY()),
}  # fmt: skip


def chatty(world: World) -> World:
    """Half a minute fills what is read of a log: in it one line of an hour ago, and a trouble of eight minutes ago behind it."""
    writes(world, DB, every=10, since=8)
    for rows in world.cluster.timed.values():
        rows += [(NOW - timedelta(seconds=n / 2), f"INFO served {'x' * 2000}") for n in range(2 * 66 * 60)]
        rows += [(NOW - timedelta(minutes=64.8), DB)]
        rows.sort()
    return world


@pytest.mark.parametrize("handler", HANDLERS, ids=lambda h: h.name)
@pytest.mark.parametrize("happens", SLOW_BURN.values(), ids=list(SLOW_BURN))
async def test_a_trouble_that_is_older_than_its_alert_is_never_scaled_out_unasked(
    happens: Callable[[], World], handler: Handler
) -> None:
    world = happens()
    diagnosis, steps = await world.look(handler)
    step, found = steps[scaling(handler)], diagnosis.finding("errors.grouped")
    assert found is not None
    assert not step.applies or step.asks
    assert not found.text.startswith("No error lines")
    if step.applies:
        assert "nobody can tell" in found.text
        assert "written before the alert as well" in step.asks


@pytest.mark.parametrize("handler", HANDLERS, ids=lambda h: h.name)
@pytest.mark.parametrize("happens", TROUBLE.values(), ids=list(TROUBLE))
async def test_what_begins_or_grows_with_the_trouble_and_what_nobody_knows_counts(
    happens: Callable[[], World], handler: Handler
) -> None:
    applies, asks = await decided(happens(), handler)
    assert not applies or asks


async def test_what_is_set_aside_is_told_and_asked_about_and_is_not_the_advice() -> None:
    world = writes(BUSY(), DB)
    diagnosis, steps = await world.look(HighErrorRate())
    found = diagnosis.finding("errors.grouped")
    assert found is not None
    assert any("not taken for the cause" in d and "connection refused" in d for d in found.details)
    assert found.data["errors"] == 0
    assert found.text.startswith("No new error lines")
    assert "connection refused" in found.text
    assert "connection refused" in steps["scale-up"].asks
    assert not any("connection refused" in f"{s.why} {s.advice}" for s in steps.values())


async def test_the_time_before_is_looked_at_within_bounds() -> None:
    world, asked = writes(BUSY(), DB), list[LogQuery]()
    logs = world.cluster.logs

    async def noted(query: LogQuery) -> str:
        asked.append(query)
        return await logs(query)

    world.cluster.logs = noted  # type: ignore[method-assign]
    await world.look(HighLatency())
    early = [q for q in asked if q.timestamps]
    assert 0 < len(early) <= 6
    assert all(q.limit_bytes <= 128 * 1024 and q.tail_lines is None for q in early)
