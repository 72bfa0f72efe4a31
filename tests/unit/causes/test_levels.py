"""What a line says decides, and its level only ranks: trouble that is logged as a warning, as information or without a level holds a
rollback and a scale-out as an error does; what programs warn of every day holds neither, and their own fault is still theirs."""

from __future__ import annotations

from datetime import timedelta

import pytest

from app.domain.json import Obj
from app.domain.plan import Step
from remediations.evidence.error_signs import EITHER, RECOVERED, TROUBLE
from remediations.evidence.last_words import heard
from remediations.high_error_rate import HighErrorRate
from remediations.high_latency import HighLatency
from tests.unit.causes.cluster import NOW
from tests.unit.causes.test_bystanders import released
from tests.unit.causes.test_more_pods import DAYS, busy
from tests.unit.causes.world import World, at

READY: Obj = {"readinessProbe": {"httpGet": {"path": "/ready", "port": 8080}, "periodSeconds": 5}}
LEVELS = ["WARN ", "2026-03-04 02:55:00 [WARNING] ", "INFO ", ""]
USED_UP = """HikariPool-1 - Connection is not available, request timed out after 30000ms.
redis: connection pool timeout
Lock wait timeout exceeded; try restarting transaction
upstream https://pay.partner.test answered 429 Too Many Requests
connect ECONNREFUSED 10.0.0.3:5432
Timeout acquiring a connection. The pool is probably full.
ERR max number of clients reached
es_rejected_execution_exception: rejected execution of coordinating operation""".splitlines()
WAITS = """vault: token renewal failed: permission denied
MQException: MQJE001: Completion Code '2', Reason '2035'.
Broker is not ready
etcdserver: mvcc: database space exceeded
Not enough replicas available for query at consistency QUORUM
circuit breaker 'payments' is OPEN and rejected the call
feature 'new-checkout' is on but its backend is not provisioned
tenant registry out of sync
waiting for shard assignment (12 of 40)
le serveur de licences a refusé la session
ライセンスサーバーに接続できません
{"level":"warn","msg":"health","error":"entitlement denied by control plane"}""".splitlines()
SLOW = """slow query: SELECT * FROM orders took 8123 ms
Slow query detected (8.1s): SELECT 1
[SLOW QUERY] 8123ms SELECT * FROM orders
SLOW SQL >= 200ms [8123.000ms] [rows:1] SELECT * FROM orders
SlowQuery: 8123 milliseconds. SQL: 'select * from orders'
slow database query 8123ms
query took too long: 8123ms
LOG:  duration: 8123.222 ms  statement: SELECT * FROM orders
{"level":"warn","msg":"slow query","duration_ms":8123}""".splitlines()
TIMED = r"""   Order Load (8123.4ms)  SELECT "orders".* FROM "orders"
Executed DbCommand (8,123ms) [Parameters=[], CommandType='Text']
# Query_time: 8.123  Lock_time: 0.000 Rows_sent: 1
django.db.backends (8.123) SELECT * FROM orders WHERE at > now() - interval '1 second'; args=()
Completed 200 OK in 8223ms (Views: 12.3ms | ActiveRecord: 8123.1ms | Allocations: 1234)
method=GET path=/orders format=html status=200 duration=8223.33 view=40.43 db=8123.26""".splitlines()
SHORT = """   Order Load (1812.4ms)  SELECT "orders".* FROM "orders"
Executed DbCommand (1,812ms) [Parameters=[], CommandType='Text']
# Query_time: 1.812  Lock_time: 0.000 Rows_sent: 1
django.db.backends (1.812) SELECT * FROM orders; args=()
Completed 200 OK in 8223ms (Views: 8123.3ms | ActiveRecord: 12.1ms | Allocations: 1234)
method=GET path=/orders format=html status=200 duration=8223.33 view=8123.43 db=40.26""".splitlines()
NOISE = """DeprecationWarning: Buffer() is deprecated due to security and usability issues
spring.jpa.open-in-view is enabled by default. Therefore, database queries may be performed during view rendering
slow query: 1.2 s SELECT * FROM orders
SLOW SQL >= 200ms [210.000ms] [rows:1] SELECT * FROM orders
slow request: GET /orders took 8123 ms
{"level":"warn","msg":"slow query","duration_ms":212}
retry 2 of 5 for redis succeeded after connection reset
Unable to load native-hadoop library for your platform... using builtin-java classes where applicable
SLF4J: Failed to load class "org.slf4j.impl.StaticLoggerBinder"
unknown property 'cache.ttl' is ignored
No active profile set, falling back to 1 default profile
requests=120 errors=0 timeouts=0
connectionTimeout=30000 socketTimeout=30000
Waiting for connections on port 8080
HHH90000025: H2Dialect does not need to be specified explicitly""".splitlines()
SETTLED = [
    ("WARN redis: dial tcp 10.0.0.3:6379: connect: connection refused, try again in 1 s", "INFO connected to redis"),
    ("WARN attempt 1 failed: upstream timed out", "INFO attempt 2 succeeded"),
    ("INFO waiting for postgres at db:5432: connection refused", "INFO postgres at db:5432 is now available"),
]  # fmt: skip
OWN = [
    "TypeError: app.usee is not a function",
    "ImportError: cannot import name 'db' from 'app'",
    "required key SHOP_RETRIES missing value",
]


async def stuck(*lines: str) -> Step:
    """Its new pod has not been ready since it was made, and says this."""
    world = World().rolling(8).both(lambda spec: spec["containers"][0].update(READY))
    world.state("new-0", {"running": {"startedAt": at(minutes=8)}}, since=7.8)
    said = "Readiness probe failed: HTTP probe failed with statuscode: 503"
    world.event("Unhealthy", said, "Pod/new-0", first=at(minutes=7.8), container="app")
    _, steps = await world.said("app", *lines, previous=False).look()
    return steps["roll-back"]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("said", WAITS)
async def test_a_pod_that_says_what_it_waits_for_is_not_rolled_back_without_a_question(
    said: str, level: str
) -> None:
    step = await stuck("INFO listening", said if said.startswith("{") else f"{level}{said}")
    assert step.applies
    assert "said last" in step.asks
    words = said.split('"')[-2] if said.startswith("{") else said
    assert words[:40] in step.asks


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("said", SLOW)
async def test_pods_that_warn_of_slow_queries_are_not_scaled_out_without_a_question(
    said: str, level: str
) -> None:
    """More pods send the same database more of them."""
    step, _ = await more(serving(f"{level}{said}"))
    assert step.applies
    assert step.asks.startswith("the database is what is slow, and more pods ask it for more: ")


@pytest.mark.parametrize("level", ["DEBUG ", ""])
@pytest.mark.parametrize("said", TIMED)
async def test_pods_that_tell_the_time_of_slow_statements_are_not_scaled_out_without_a_question(
    said: str, level: str
) -> None:
    step, _ = await more(serving(f"{level}{said}"))
    assert step.applies
    assert step.asks.startswith("the database is what is slow, and more pods ask it for more: ")


@pytest.mark.parametrize("said", SHORT)
async def test_statements_that_are_told_with_a_short_time_do_not_stop_a_scale_out(said: str) -> None:
    step, _ = await more(serving(said))
    assert step.applies
    assert not step.asks


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("said", NOISE)
async def test_what_programs_say_every_day_does_not_stop_a_rollback(said: str, level: str) -> None:
    step = await stuck(f"{level}{said}", "INFO listening on port 8080")
    assert step.applies
    assert not step.asks


@pytest.mark.parametrize("lines", SETTLED)
async def test_trouble_that_a_later_line_says_to_be_over_does_not_stop_a_rollback(
    lines: tuple[str, str],
) -> None:
    step = await stuck(*lines)
    assert step.applies
    assert not step.asks


async def test_that_one_thing_works_again_says_nothing_of_another() -> None:
    step = await stuck("WARN vault: token renewal failed", "INFO connected to redis")
    assert "vault: token renewal failed" in step.asks


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("said", OWN)
async def test_a_program_that_warns_of_its_own_fault_is_rolled_back_by_itself(said: str, level: str) -> None:
    step = await stuck(f"{level}{said}")
    assert step.applies
    assert not step.asks


def test_an_error_comes_before_a_warning() -> None:
    words = heard(
        "WARN vault: token renewal failed\nERROR TypeError: app.usee is not a function\nWARN cache is full"
    )
    assert words.shown == "TypeError: app.usee is not a function"


def serving(*lines: str, times: int = 40) -> World:
    """Pods whose CPU is at its limit, with these lines so often in their logs."""
    world = busy(released(DAYS))
    told = ["INFO served"] * 3 + [line for _ in range(times) for line in lines]
    stamps = [NOW - timedelta(seconds=len(told) - i) for i in range(len(told))]
    text = "\n".join(f"{t:%Y-%m-%dT%H:%M:%SZ} {line}" for t, line in zip(stamps, told, strict=True))
    for name in world.pods:
        world.cluster.log[name, False] = text
    return world


async def more(world: World) -> tuple[Step, Step]:
    _, slow = await world.look(HighLatency())
    _, failing = await world.look(HighErrorRate())
    return slow["scale-out"], failing["scale-up"]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("said", USED_UP)
async def test_pods_that_warn_of_something_used_up_are_not_scaled_out_without_a_question(
    said: str, level: str
) -> None:
    for step in await more(serving(f"{level}{said}")):
        assert step.asks or not step.applies


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("said", NOISE)
async def test_what_programs_say_every_day_does_not_stop_a_scale_out(said: str, level: str) -> None:
    for step in await more(serving(f"{level}{said}")):
        assert step.applies
        assert not step.asks


async def test_a_secret_in_a_warning_is_not_shown() -> None:
    diagnosis, _ = await serving("WARN redis: connection pool timeout, password=hunter2hunter2").look(
        HighLatency()
    )
    assert "hunter2" not in str(diagnosis)
    assert "connection pool timeout" in str(diagnosis)


@pytest.mark.parametrize(
    "line",
    [
        *USED_UP,
        *WAITS,
        *SETTLED[0],
        "échec de la connexion",
        "не удалось подключиться",
        "соединение: отказано",
    ],
)
def test_the_gate_before_the_words_lets_every_line_through_that_they_know(line: str) -> None:
    known = TROUBLE.search(line) or RECOVERED.search(line)
    assert known
    assert EITHER.search(line)
