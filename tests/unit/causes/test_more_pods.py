"""More pods only for pods that are measured to be at their own limit: what else is slow, down, used up or just changed is a person's
to judge, in each ladder that scales out; and memory that a release needs is relief and no repair."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from app.domain.cluster import LogQuery, PodUsage
from app.domain.errors import AccessDenied
from remediations.high_error_rate import HighErrorRate
from remediations.high_latency import HighLatency
from remediations.out_of_memory import OutOfMemory
from tests.unit.causes.cluster import NOW
from tests.unit.causes.test_bystanders import released
from tests.unit.causes.world import SPACE, V1, World, at

DAYS = 9_000.0
LIMITED = {"limits": {"cpu": "500m", "memory": "512Mi"}, "requests": {"cpu": "250m"}}


def busy(world: World, cpu: int = 480, resources: Any = None) -> World:
    """Pods that use so much CPU, in millicores, of 500 unless they have other resources."""
    world.both(lambda spec: spec["containers"][0].update(resources=resources or LIMITED))
    for name in list(world.pods):
        world.pod(name, made=world.deployed)

    async def usage(namespace: str, selector: str) -> list[PodUsage]:
        return [PodUsage(name, NOW, {"app": 100 * 1024**2}, {"app": cpu}) for name in world.pods]

    world.cluster.pod_usage = usage  # type: ignore[method-assign]
    return world


def old_measures(world: World, minutes: float) -> World:
    """Its usage was measured so many minutes ago."""
    now = world.cluster.pod_usage

    async def usage(namespace: str, selector: str) -> list[PodUsage]:
        return [replace(u, at=NOW - timedelta(minutes=minutes)) for u in await now(namespace, selector)]

    world.cluster.pod_usage = usage  # type: ignore[method-assign]
    return world


def saying(world: World, *errors: str, good: int = 0) -> World:
    """Each pod's log of the last minutes: so many good lines, and then each error 40 times."""
    lines = ["INFO served"] * good + [f"ERROR {e}" for _ in range(40) for e in errors]
    stamps = [NOW - timedelta(seconds=len(lines) - i) for i in range(len(lines))]
    text = "\n".join(f"{t:%Y-%m-%dT%H:%M:%SZ} {line}" for t, line in zip(stamps, lines, strict=True))
    for name in world.pods:
        world.cluster.log[name, False] = text
    return world


def down(world: World, name: str, port: int) -> World:
    """A Service whose only pod crashes."""
    world.put("Service", name, spec={"selector": {"app": name}, "ports": [{"port": port}]})
    waiting = {"waiting": {"reason": "CrashLoopBackOff"}}
    status = {
        "phase": "Running",
        "conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": at(minutes=10)}],
        "containerStatuses": [{"name": "r", "ready": False, "restartCount": 4, "state": waiting}],
    }
    meta = {"name": f"{name}-0", "namespace": SPACE, "uid": f"{name}-0", "labels": {"app": name}}
    world.cluster.put(
        {"apiVersion": "v1", "kind": "Pod", "metadata": {**meta, "creationTimestamp": at(days=9)},
         "spec": {"containers": [{"name": "r", "image": "redis:7"}], "nodeName": "node-1"}, "status": status}
    )  # fmt: skip
    return world


def configured(world: World, changed: float) -> World:
    """Pods with a ConfigMap that a person changed so many minutes ago."""
    world.both(lambda s: s["containers"][0].update(envFrom=[{"configMapRef": {"name": "web-config"}}]))
    return world.config(changed=changed)


def isolated(world: World, changed: float) -> World:
    """Pods that a NetworkPolicy selects."""
    spec = {"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Egress"]}
    return world.put("NetworkPolicy", "deny", changed=changed, by="kubectl-create", spec=spec)


def scaled_by(world: World, *names: str) -> World:
    """Autoscalers of it."""
    for name in names:
        spec = {"scaleTargetRef": {"kind": "Deployment", "name": "web"}, "minReplicas": 3, "maxReplicas": 30}
        world.put(
            "HorizontalPodAutoscaler", name, spec=spec, status={"currentReplicas": 3, "desiredReplicas": 3}
        )
    return world


OLD: Callable[[], World] = lambda: released(DAYS)  # noqa: E731
BUSY: Callable[[], World] = lambda: busy(released(DAYS))  # noqa: E731
TIMEOUT = "redis.exceptions.TimeoutError: Timeout connecting to redis:6379"

# What is known, and what is right: "acts", "asks" with a word of why, "refuses" with a word of why.
LATENCY: dict[str, tuple[Callable[[], World], str, str]] = {
    "nothing is measured": (OLD, "asks", "nothing could be measured"),
    "CPU at its limit": (BUSY, "acts", ""),
    "CPU at its limit, as of 4 min ago": (lambda: old_measures(BUSY(), 4), "acts", ""),
    "CPU at its limit, as of 2 hours ago": (lambda: old_measures(BUSY(), 120), "asks", "nothing could be measured"),
    "CPU below": (lambda: busy(OLD(), 300), "asks", "CPU 60 % of the limit (high from 85 %)"),
    "CPU beyond the request, no limit": (lambda: busy(OLD(), 400, {"requests": {"cpu": "250m"}}), "acts", ""),
    "CPU within the request": (lambda: busy(OLD(), 100, {"requests": {"cpu": "250m"}}), "asks", "CPU 40 % of the request"),
    "redis is down": (lambda: saying(down(OLD(), "redis", 6379), TIMEOUT), "refuses", "redis"),
    "redis is down, CPU high": (lambda: saying(down(BUSY(), "redis", 6379), TIMEOUT), "refuses", "redis"),
    "postgres is down": (lambda: saying(down(OLD(), "postgres", 5432), "could not connect to server: Connection refused (postgres:5432)"), "refuses", "postgres"),
    "clients used up, CPU high": (lambda: saying(BUSY(), "FATAL: sorry, too many clients already"), "refuses", "too many clients"),
    "pool used up": (lambda: saying(OLD(), "sqlalchemy.exc.TimeoutError: QueuePool limit of size 5 overflow 10 reached"), "refuses", "QueuePool"),
    "a provider's limit": (lambda: saying(OLD(), "openai.RateLimitError: Error code: 429"), "refuses", "429"),
    "a partner is late": (lambda: saying(OLD(), "upstream https://api.partner.example/v1 answered 504 Gateway Timeout"), "refuses", "504"),
    "late answers at the own limit": (lambda: saying(BUSY(), "upstream request timeout"), "acts", ""),
    "errors of others at the own limit": (lambda: saying(BUSY(), "upstream returned 503 Service Unavailable https://pay.test"), "refuses", "pay.test"),
    "a broker that is away, CPU high": (lambda: saying(BUSY(), "kafka: broker not available"), "refuses", "broker not available"),
    "clients hang up, CPU high": (lambda: saying(BUSY(), "write tcp 10.0.0.1:8080->10.0.0.2:3344: write: broken pipe"), "acts", ""),
    "its own process is late, CPU high": (lambda: saying(BUSY(), 'upstream timed out (110: Connection timed out), upstream: "http://127.0.0.1:9000/"'), "acts", ""),
    "deadlocks as every day": (lambda: saying(BUSY(), *["KeyError: 'sku'"] * 12, "deadlock detected"), "acts", ""),
    "used up, among other errors": (lambda: saying(BUSY(), *["KeyError: 'sku'"] * 9, "redis: max number of clients reached"), "asks", "used up"),
    "refused, among other errors": (lambda: saying(BUSY(), *["KeyError: 'sku'"] * 3, "connection refused"), "asks", "speak of something else"),
    "a code's errors": (lambda: saying(BUSY(), "KeyError: 'sku'"), "acts", ""),
    "a ConfigMap edited 6 min ago": (lambda: configured(OLD(), 6), "asks", "ConfigMap web-config changed by kubectl-edit"),
    "the same, CPU high": (lambda: configured(BUSY(), 6), "asks", "ConfigMap web-config changed by kubectl-edit"),
    "a ConfigMap edited yesterday": (lambda: configured(BUSY(), 1_000), "acts", ""),
    "a NetworkPolicy of 6 min ago": (lambda: isolated(BUSY(), 6), "asks", "Possibly: NetworkPolicy deny"),
    "an autoscaler, CPU high": (lambda: scaled_by(BUSY(), "web"), "acts", ""),
    "two autoscalers, CPU high": (lambda: scaled_by(BUSY(), "web", "keda-hpa-web"), "refuses", "AmbiguousSelector"),
    "a release 8 min ago": (lambda: busy(released(8)), "asks", "revision 2 of web (v1 -> v2) deployed"),
    "a release hours ago": (lambda: busy(released(300)), "acts", ""),
}  # fmt: skip


def judged(step: Any) -> str:
    return "asks" if step.asks else "acts" if step.applies else "refuses"


async def test_a_port_of_a_service_that_no_container_declares_is_no_cause_of_late_answers() -> None:
    """What a container declares is information alone, and whoever answers late gets its requests."""
    ports = [
        {"name": "http", "port": 80, "targetPort": 8080},
        {"name": "metrics", "port": 9090, "targetPort": 9090},
    ]
    world = released(DAYS).put("Service", "web", spec={"selector": {"app": "web"}, "ports": ports})
    diagnosis, steps = await busy(world).look(HighLatency())
    cause = diagnosis.finding("cause.first")
    assert cause is not None
    assert cause.data["code"] == "service_port"
    assert steps["scale-out"].applies
    assert steps["scale-out"].asks == ""


@pytest.mark.parametrize("name", LATENCY)
async def test_latency_scales_out_by_itself_only_for_pods_at_their_own_limit(name: str) -> None:
    world, right, word = LATENCY[name]
    _, steps = await world().look(HighLatency())
    step = steps["scale-out"]
    assert (judged(step), word in f"{step.asks} {step.why}") == (right, True), (step.asks, step.why)
    assert judged(steps["restart"]) != "acts"


QUEUE = "ServerBusy: queue is full, answered 503"
ERRORS: dict[str, tuple[Callable[[], World], str, str]] = {
    "words and CPU": (lambda: saying(BUSY(), QUEUE), "acts", ""),
    "words alone": (lambda: saying(OLD(), QUEUE), "asks", "only the errors' words"),
    "a ConfigMap edited 6 min ago": (lambda: saying(configured(BUSY(), 6), QUEUE), "asks", "ConfigMap web-config changed"),
    "used up, among others": (lambda: saying(BUSY(), *[QUEUE] * 9, "FATAL: sorry, too many clients already"), "asks", "used up"),
    "refused, among others": (lambda: saying(BUSY(), *[QUEUE] * 3, "connection refused"), "asks", "speak of something else"),
    "a release 8 min ago, and no error that could be read": (lambda: saying(busy(released(8)), good=40), "asks", "revision 2 of web (v1 -> v2) deployed"),
    "a release hours ago, and no error that could be read": (lambda: saying(busy(released(300)), good=40), "acts", ""),
}  # fmt: skip


@pytest.mark.parametrize("name", ERRORS)
async def test_errors_scale_up_by_the_same_rule(name: str) -> None:
    world, right, word = ERRORS[name]
    _, steps = await world().look(HighErrorRate())
    step = steps["scale-up"]
    assert (judged(step), word in step.asks) == (right, True), (step.asks, step.why)


CLIENTS = """
HikariPool-1 - Connection is not available, request timed out after 30000ms.
c3p0: An attempt by a client to checkout a Connection has timed out.
dbcp2: Cannot get a connection, pool error Timeout waiting for idle object
org.apache.tomcat.jdbc.pool.PoolExhaustedException: [exec-8] Timeout: Pool empty. Unable to fetch a connection in 30 seconds, none available[size:100; busy:100]
com.alibaba.druid.pool.GetConnectionTimeoutException: wait millis 60000, active 20, maxActive 20
Agroal: Acquisition timeout while waiting for new connection
oracle.ucp.UniversalConnectionPoolException: All connections in the Universal Connection Pool are in use
IJ000453: Unable to get managed connection for java:/shopDS
reactor.pool: Pool#acquire(Duration) has been pending for more than the configured timeout of 45000ms
Pending acquire queue has reached its maximum size of 1000
QueuePool limit of size 5 overflow 10 reached, connection timed out, timeout 30.00
psycopg_pool.PoolTimeout: couldn't get a connection after 30.00 sec
psycopg2.pool.PoolError: connection pool exhausted
asyncpg.exceptions.TooManyConnectionsError: sorry, too many clients already
remaining connection slots are reserved for roles with the SUPERUSER attribute
FATAL: too many connections for role "shop"
pgbouncer: no more connections allowed (max_client_conn)
FATAL: query_wait_timeout
FATAL: MaxClientsInSessionMode: max clients reached - in Session mode max clients are limited to pool_size
Timed-out waiting to acquire database connection
Error: timeout exceeded when trying to connect
SequelizeConnectionAcquireTimeoutError: Operation timeout
TypeORM: ResourceRequest timed out
KnexTimeoutError: Knex: Timeout acquiring a connection. The pool is probably full.
PrismaClientKnownRequestError: Timed out fetching a new connection from the connection pool
Prisma error P2024
WaitQueueTimeoutError: Timed out while checking out a connection from connection pool
MongoTimeoutException: Timeout waiting for a pooled item after 120000 MILLISECONDS
JedisExhaustedPoolException: Could not get a resource from the pool
io.lettuce: RedisException: Could not get a resource from the pool
redis: connection pool timeout
redigo: connection pool exhausted
ERR max number of clients reached
OOM command not allowed when used memory > 'maxmemory'
ActiveRecord::ConnectionTimeoutError: could not obtain a connection from the pool within 5.000 seconds; all pooled connections were in use
ConnectionPool::TimeoutError: Waited 1 sec, 0/5 available
DBConnection.ConnectionError: connection not available and request was dropped from queue after 2000ms
Finch was unable to provide a connection within the timeout due to excess queuing for connections
pool timed out while waiting for an open connection
r2d2: timed out waiting for connection
Timeout expired. The timeout period elapsed prior to obtaining a connection from the pool.
Npgsql: The connection pool has been exhausted, either raise 'Max Pool Size' or 'Timeout'
Connect Timeout expired. All pooled connections are in use.
cannot acquire connection: context deadline exceeded
all connections in use
upstream pool exhausted (db)
SQLSTATE[08004] [1040] Too many connections
MySQL error 1203
Error 1226 (42000): User 'shop' has exceeded the 'max_user_connections' resource (current value: 10)
ORA-00018: maximum number of sessions exceeded
ORA-12516: TNS:listener could not find available handler
ORA-12519: TNS:no appropriate service handler found
ORA-12520: TNS:listener could not find available handler for requested type of server
Resource limit reached: sessions 100 per database
mssql: Error 10928: Resource ID: 1. The request limit for the database is 90 and has been reached
mssql: Error: 10929
SQL1040N The maximum number of applications is already connected to the database
Code: 202. DB::Exception: Too many simultaneous queries. Maximum: 100
com.datastax.driver.core.exceptions.BusyPoolException: Pool is busy (no available connection and the queue has reached its max size 256)
NOT_ALLOWED - number of channels opened (2047) has reached the negotiated channel_max (2047)
vhost connection limit (100) is reached
kafka: ThrottlingQuotaExceededException: The throttling quota has been exceeded
Too many connections from /10.0.0.3 - max is 60
es_rejected_execution_exception: rejected execution of coordinating operation
circuit_breaking_exception: [parent] Data too large, data for [<http_request>] would be larger than the limit
etcdserver: mvcc: database space exceeded
license: all 25 seats are in use
botocore: ThrottlingException: Rate exceeded
You exceeded your current quota
""".strip().splitlines()  # fmt: skip


@pytest.mark.parametrize("error", CLIENTS)
async def test_what_clients_say_of_something_used_up_is_never_met_with_more_pods(error: str) -> None:
    """At high CPU, alone or beside what the pods' own queue says."""
    for handler, step, errors in (
        (HighLatency(), "scale-out", (error,)),
        (HighLatency(), "scale-out", (*["KeyError: 'sku'"] * 9, error)),
        (HighErrorRate(), "scale-up", (*[QUEUE] * 9, error)),
    ):
        _, steps = await saying(BUSY(), *errors).look(handler)
        assert judged(steps[step]) != "acts", (handler.name, errors)


WAITING = """
ERROR: canceling statement due to statement timeout
ERROR: deadlock detected
ERROR: could not serialize access due to concurrent update
Lock wait timeout exceeded; try restarting transaction
Deadlock found when trying to get lock; try restarting transaction
Query execution was interrupted, maximum statement execution time exceeded
ORA-00060: deadlock detected while waiting for resource
Transaction (Process ID 52) was deadlocked on lock resources with another process
Lock request time out period exceeded
WriteConflict error: this operation conflicted with another operation
sqlite3.OperationalError: database is locked
slow query: 12.3s SELECT * FROM orders
java.lang.OutOfMemoryError: GC overhead limit exceeded
java.lang.OutOfMemoryError: Java heap space
FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory
Allowed memory size of 134217728 bytes exhausted
MemoryError
""".strip().splitlines()


@pytest.mark.parametrize("error", WAITING)
async def test_a_database_that_is_slow_or_memory_that_is_full_is_a_question_at_high_cpu(error: str) -> None:
    for handler, step, errors in (
        (HighLatency(), "scale-out", (error,)),
        (HighLatency(), "scale-out", (*["KeyError: 'sku'"] * 4, error)),
        (HighErrorRate(), "scale-up", (*[QUEUE] * 4, error)),
    ):
        _, steps = await saying(BUSY(), *errors).look(handler)
        assert judged(steps[step]) != "acts", (handler.name, errors)


@pytest.mark.parametrize(
    "error",
    [
        "RejectedExecutionException: Task rejected from java.util.concurrent.ThreadPoolExecutor@5e[Running, pool size = 200, active threads = 200]",
        "thread pool is full", "worker pool is full", "[pool-3-thread-1] request took too long: timeout",
        "service unavailable: no free workers", "worker timeout", QUEUE,
    ],
)  # fmt: skip
async def test_what_their_own_threads_and_queues_say_is_no_doubt_of_more_pods(error: str) -> None:
    _, steps = await saying(BUSY(), error).look(HighLatency())
    assert judged(steps["scale-out"]) == "acts", steps["scale-out"].asks


def killed(world: World, *names: str) -> World:
    return world.crash(*names, code=137, reason="OOMKilled", first=4, restarts=3)


def rolling(change: Callable[[Any], None]) -> World:
    world = World().rolling().both(lambda s: s["containers"][0].update(resources=LIMITED)).only_new(change)
    return killed(world, "new-0")


def heap(spec: Any) -> None:
    spec["containers"][0].update(env=[{"name": "JAVA_OPTS", "value": "-Xmx2g"}])


def sized(world: World) -> World:
    world.both(lambda s: s["containers"][0].update(resources=LIMITED))
    for name in list(world.pods):
        world.pod(name, made=world.deployed)
    return world


def old_kills() -> World:
    world = sized(released(DAYS))
    return killed(world, *list(world.pods)[:1])


MEMORY: dict[str, tuple[Callable[[], World], str, str]] = {
    "only pods of the release, which set a larger heap": (lambda: rolling(heap), "asks", "env[JAVA_OPTS]"),
    "only pods of the release, which changed the image": (lambda: rolling(lambda _: None), "asks", "the last release brought it"),
    "an old release": (old_kills, "acts", ""),
    "configuration edited before": (lambda: killed(configured(sized(released(DAYS)), 6), "new-0"), "asks", "ConfigMap web-config"),
}  # fmt: skip


@pytest.mark.parametrize("name", MEMORY)
async def test_memory_that_a_release_needs_is_a_question_and_relief(name: str) -> None:
    world, right, word = MEMORY[name]
    _, steps = await world().look(OutOfMemory())
    step = steps["raise-memory"]
    assert (judged(step), word in step.asks) == (right, True), (step.asks, step.why)
    assert step.open_task.startswith("see whether memory of app") is (right == "acts"), step.open_task
    assert judged(steps["scale-out"]) != "acts", "whether load fills the memory is not known"


async def test_logs_that_cannot_be_read_are_a_doubt() -> None:
    world = BUSY()

    async def logs(query: LogQuery) -> str:
        raise AccessDenied("cannot read logs")

    world.cluster.logs = logs  # type: ignore[method-assign]
    _, steps = await world.look(HighLatency())
    assert "whether the errors speak of something else is not known" in steps["scale-out"].asks


@pytest.mark.parametrize(("labels", "asked"), [(True, False), (False, True)])
async def test_a_release_of_labels_and_annotations_alone_brings_no_load(labels: bool, asked: bool) -> None:
    world = World()
    world.deployed, world.fired = 8, 5
    if labels:
        world.template["spec"]["containers"][0]["image"] = V1
        world.template["metadata"]["annotations"] = {"team": "shop"}
    _, steps = await busy(world).look(HighLatency())
    assert steps["scale-out"].applies
    assert bool(steps["scale-out"].asks) is asked
