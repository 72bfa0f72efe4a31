"""Whose fault a crash is, by what the container said last: an outage of something else is never rolled back by itself, whatever closing
line a framework prints, however late in a line the cause stands, and whether or not a table knows the words; and a program's own fault is
still a rollback without a question.
"""

from __future__ import annotations

from datetime import timedelta

import pytest

from app.domain.accusing import Sign
from app.domain.json import Obj
from remediations.causes import CauseCode as C
from remediations.causes import conclude
from remediations.causes.investigate import read_snapshot
from remediations.evidence.last_words import heard
from remediations.high_error_rate import HighErrorRate
from tests.unit.causes.cluster import NOW
from tests.unit.causes.table import Row, holds
from tests.unit.causes.test_errors import log
from tests.unit.causes.test_more_pods import down
from tests.unit.causes.test_words import answers, says
from tests.unit.causes.world import World, at

REFUSED = "dial tcp 10.0.0.3:5432: connect: connection refused"
OTHERS = "speaks of something else"
NOTHING = "names neither a fault of the program nor what changed"

# What a run says at its end, by whom it accuses. Lines of one run are parted by line feeds.

CLOSING = (
    (
        "redis.exceptions.ConnectionError: Error 111 connecting to redis:6379. Connection refused.\n[2026-03-04 02:55:00 +0000] [7] [INFO] Worker exiting (pid: 7)\n"
        "[2026-03-04 02:55:00 +0000] [1] [ERROR] Worker (pid:7) exited with code 3\ngunicorn.errors.HaltServer: <HaltServer 'Worker failed to boot.' 3>"
    ),
    "ERROR c.z.h.p.HikariPool - Exception during pool initialization. java.net.ConnectException: Connection refused\nERROR o.s.b.SpringApplication - Application run failed",
    "fail: Microsoft.Extensions.Hosting.Internal.Host[9] System.Net.Sockets.SocketException (111): Connection refused\ncrit: Microsoft.Hosting[0] Hosting failed to start",
    "/app/config/environment.rb:5: Redis::CannotConnectError: Error connecting to Redis on redis:6379 (Errno::ECONNREFUSED)\nrake aborted!\nTasks: TOP => environment",
    f'level=error msg="{REFUSED}"\nlevel=fatal msg="server exited with error"',
    "org.postgresql.util.PSQLException: Connection to db:5432 refused.\n\tat x\nERROR o.a.c.core.StandardContext - One or more listeners failed to start.",
    "ERROR psycopg2.OperationalError: could not connect to server: Connection refused\nCRITICAL startup failed",
    'E0304 02:55:00.000000       1 main.go:88] "unable to reach" err="dial tcp 10.96.0.1:443: connect: connection refused"\nF0304 02:55:01.000000       1 main.go:90] problem running manager',
    "Error: connect ECONNREFUSED 10.0.0.3:5432\n    at TCPConnectWrap\nnpm ERR! code ELIFECYCLE\nnpm ERR! errno 1\nnpm ERR! Exit status 1",
    'psycopg2.OperationalError: connection to server at "db" (10.0.0.4), port 5432 failed: Connection refused\n\tIs the server running on that host and accepting TCP/IP connections?',
    f"2026/03/04 02:55:00 {REFUSED}\n2026/03/04 02:55:00 startup aborted\nexit status 1",
)
"""The cause, then what a framework says after any failure."""
CHAINS = (
    (
        "ERROR o.s.b.SpringApplication - Application run failed\norg.springframework.beans.factory.BeanCreationException: Error creating bean\n\tat x\nCaused by: org.hibernate.service.spi.ServiceException: "
        "Unable to create requested service\nCaused by: java.net.ConnectException: Connection refused\n\t... 21 more"
    ),
    "Unhandled exception. System.AggregateException: One or more errors occurred.\n ---> System.Net.Sockets.SocketException (111): Connection refused\n   at x",
    "Unhandled exception. System.TypeInitializationException: The type initializer for 'Db' threw an exception. ---> System.Net.Sockets.SocketException (111): Connection refused",
    "Error: boot failed\n    at x (/app/y.js:1:1) {\n  [cause]: Error: connect ECONNREFUSED 10.0.0.3:5432\n      at z\n}",
    "Error: failed to start\n\nCaused by:\n    0: error trying to connect\n    1: tcp connect error: Connection refused (os error 111)",
    "** (Mix) Could not start application shop: Shop.Application.start(:normal, []) returned an error\n    ** (EXIT) tcp connect (db:5432): connection refused - :econnrefused",
    (
        "ConnectionRefusedError: [Errno 111] Connection refused\nDuring handling of the above exception, another exception occurred:\nTraceback (most recent call last):\n"
        '  File "/app/main.py", line 3, in <module>\napp.errors.StartupError: cannot start'
    ),
    '{"level":"error","message":"boot","error":{"message":"cannot init","cause":{"message":"connect ECONNREFUSED 10.0.0.3:5432"}}}\n{"level":"fatal","message":"exiting"}',
    '{"level":"ERROR","message":"Application run failed","stack_trace":"org.springframework.beans.factory.BeanCreationException: Error creating bean\\n\\tat x\\nCaused by: java.net.ConnectException: Connection refused"}',
)
"""The cause below the exceptions that wrap it."""
LATE = (
    f"main.go:41: failed to initialise application: failed to build container: failed to open order store with options {{{'MaxOpen:20 ' * 40}}}: {REFUSED}",
    f'Error: reqwest::Error {{ kind: Request, url: "http://inventory:8080/ready?{"x" * 900}", source: "Name or service not known" }}',
    f'{{"level":"fatal","stacktrace":"{"main.main /src/cmd/main.go " * 60}","msg":"cannot start","error":"{REFUSED}"}}',
)
"""The cause at the end of a long line."""
BY_WORD = tuple(
    """thread 'main' panicked at src/main.rs:9:47: called `Result::unwrap()` on an `Err` value: PoolTimedOut
pika.exceptions.ProbableAuthenticationError: ConnectionClosedByBroker: (403) 'ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN'
org.apache.zookeeper.KeeperException$ConnectionLossException: KeeperErrorCode = ConnectionLoss for /brokers
org.apache.kafka.common.errors.TimeoutException: Timeout expired while fetching topic metadata
ReplyError: OOM command not allowed when used memory > 'maxmemory'.
FATAL:  no pg_hba.conf entry for host "10.1.2.3", user "shop", database "shop", no encryption
Error: self signed certificate in certificate chain
remote error: tls: unknown certificate authority
ORA-12541: TNS:no listener
Microsoft.Data.SqlClient.SqlException (0x80131904): A network-related or instance-specific error occurred while establishing a connection to SQL Server.
Vault is sealed
liquibase.exception.LockException: Could not acquire change log lock. Currently locked by web-1
AxiosError: timeout of 5000ms exceeded
System.Threading.Tasks.TaskCanceledException: The request was canceled due to the configured HttpClient.Timeout of 100 seconds elapsing.
wait-for-it.sh: timeout occurred after waiting 15 seconds for redis:6379
nc: bad address 'redis'
NATS: Authorization Violation
pthread_create failed: Resource temporarily unavailable
java.lang.IllegalStateException: failed to obtain node locks, tried [/data]; maybe these locations are not writable
gave up waiting for migrations to be applied by job shop-migrate
com.netflix.discovery.shared.transport.TransportException: Cannot execute request on any known server""".splitlines()
)
"""What others say, in the words of their clients."""
UNKNOWN = tuple(
    """FATAL: the flux partner hung up on us
ERROR quota service said no
panic: failed to seal: tpm busy
RuntimeError: catalog said no
java.lang.IllegalStateException: Config server returned garbage
System.InvalidOperationException: Broker rejected session
could not sync caches within 2m0s
json.decoder.JSONDecodeError: Expecting value: line 1 column 1 (char 0)
cannot parse response from https://api.partner.example/v1/flags: unexpected end of JSON input
FileNotFoundError: [Errno 2] No such file or directory: '/mnt/models/a.bin'
PermissionError: [Errno 13] Permission denied: '/data/index.lock'
ERROR server exited with error""".splitlines()
)
"""Words that nothing in a table tells of."""
OWN = tuple(
    run.replace("\\n", "\n")
    for run in r"""PrismaClientInitializationError: Prisma Client could not locate the Query Engine for runtime "linux-musl-openssl-3.0.x".
x509: cannot parse PEM
FATAL config: unknown key 'featurez'
panic: assignment to entry in nil map
panic: duplicate metrics collector registration attempted
Error: Unable to access jarfile /app/app.jar
You must install or update .NET to run this application.\nFramework: 'Microsoft.NETCore.App', version '9.0.0' (x64)
Unrecognized VM option 'UseConcMarkSweepGC'\nError: Could not create the Java Virtual Machine.
/entrypoint.sh: line 14: DB_POOL: unbound variable
/app/server: /lib/libc.so.6: version `GLIBC_2.34' not found (required by /app/server)
Error: Environment variable not found: DATABASE_URL.
error: Found argument '--verbose' which wasn't expected\nerror: unexpected argument '--verbose' found
** (UndefinedFunctionError) function Redix.start_link/2 is undefined (module Redix is not available)
ModuleNotFoundError: No module named 'app.wsgi'\n[ERROR] Shutting down: Master\n[ERROR] Reason: Worker failed to boot.
Error [ERR_REQUIRE_ESM]: require() of ES Module /app/node_modules/redis/index.js not supported.
Exception in thread "main" java.lang.ExceptionInInitializerError\nCaused by: java.lang.NullPointerException: x
ERROR statsd: connection refused\nTraceback (most recent call last):\nTypeError: boom
ERROR statsd: ConnectionError: connection refused\nTraceback (most recent call last):\nTypeError: boom""".splitlines()
)
"""A program's own fault, also after an error that it lived through."""
NONE = "Traceback (most recent call last):\nTypeError: 'NoneType' object is not iterable"
CASCADES = (
    f"WARN could not load flags: connect ECONNREFUSED 10.0.0.3:5432, using empty\n{NONE}",
    f"ERROR db: connection refused db:5432 (attempt 5/5), giving up\n{NONE}",
    "Failed to fetch config: connect ECONNREFUSED 10.0.0.3:8080\n/app/s.js:3\nTypeError: Cannot read properties of undefined (reading 'flags')\n    at x",
    (
        "2026-03-04 02:55:00 WARN  c.s.Flags - could not fetch flags: java.net.ConnectException: Connection refused\n"
        'Exception in thread "main" java.lang.NullPointerException: Cannot invoke "java.util.Map.get(Object)" because "flags" is null\n\tat com.shop.App.main(App.java:19)'
    ),
    f'level=error msg="load flags" error="{REFUSED}"\npanic: runtime error: invalid memory address or nil pointer dereference\n\ngoroutine 1 [running]:',
    "WARN rates: HTTP 503 Service Unavailable for url: http://rates/v1\nTraceback (most recent call last):\nKeyError: 'rates'",
    "WARN rates: rpc error: code = Unimplemented desc = unknown method\npanic: runtime error: index out of range [0] with length 0",
    "WARN flags: unexpected token '<html>'\n/app/lib/flags.rb:12:in `load': undefined method `fetch' for nil:NilClass (NoMethodError)",
    "curl: (6) Could not resolve host: config\n/entrypoint.sh: line 5: /tmp/env.sh: No such file or directory",
    "curl: (22) The requested URL returned error: 503\n/entrypoint.sh: line 12: syntax error near unexpected token `<'",
    "parse error: Invalid numeric literal at line 1, column 10\n/entrypoint.sh: line 14: LIMITS: unbound variable",
    "** (MatchError) no match of right hand side value: {:error, :econnrefused}",
    "** (CaseClauseError) no case clause matching: {:error, %Finch.Error{reason: :timeout}}",
    "** (FunctionClauseError) no function clause matching in Shop.Partner.parse/1\n    The following arguments were given:\n        # 1\n        {:error, %Mint.TransportError{reason: :closed}}",
    "Redis::CommandError: LOADING Redis is loading the dataset in memory",
    "Redis::CommandError: CLUSTERDOWN The cluster is down",
    "Redis::CommandError: NOAUTH Authentication required.",
    "org.apache.kafka.common.KafkaException: Failed to construct kafka consumer\nCaused by: org.apache.kafka.common.config.ConfigException: No resolvable bootstrap urls given in bootstrap.servers",
)
"""What follows where somebody else gave nothing, and clients whose types are called like the program's own."""
ANSWERS = (
    "pymysql.err.InterfaceError: (0, '')",
    "stripe.error.InvalidRequestError: Request req_abc: No such price: 'price_123'",
    "botocore.exceptions.ValidationError: Stack with id web does not exist",
    "ValidationError: An error occurred (ValidationError) when calling the DescribeStacks operation: Stack with id web does not exist",
    "snowflake.connector.errors.ProgrammingError: 000606 (57P03): No active warehouse selected in the current session.",
    "Error: error decoding response body: missing field `flags` at line 1 column 24",
    "2026/03/04 02:55:00 load flags: invalid character '<' looking for beginning of value",
    "2026/03/04 02:55:00 json: cannot unmarshal string into Go struct field Response.limits of type int",
    "com.fasterxml.jackson.core.JsonParseException: Unexpected character ('<' (code 60)): expected a valid value",
    "com.google.gson.JsonSyntaxException: java.lang.IllegalStateException: Expected BEGIN_OBJECT but was STRING at line 1 column 1 path $",
    'com.fasterxml.jackson.databind.exc.UnrecognizedPropertyException: Unrecognized field "tier" (class com.shop.partner.CustomerResponse), not marked as ignorable',
    "JSON::ParserError: unexpected token at '<html>'",
    "feign.codec.DecodeException: Error while extracting response for type [java.util.List<com.shop.Rate>] and content type [application/json]",
    "PHP Fatal error:  Uncaught JsonException: Syntax error in /app/src/Client.php:40",
    "pydantic_core._pydantic_core.ValidationError: 1 validation error for RatesResponse",
    "Error: 12 UNIMPLEMENTED: unknown method GetLimits for service limits.v1.Limits",
    "panic: rpc error: code = Internal desc = runtime error: index out of range",
    "FATAL: rpc error: code = InvalidArgument desc = unknown field",
    "FileNotFoundError: [Errno 2] No such file or directory: 's3://models/current/weights.bin'",
    "KeyError: 'rates' (response was {'error': 'internal'})",
)
"""Answers that say no or cannot be read: they accuse nobody."""
PROVES = (
    "WARN statsd: connection refused\nModuleNotFoundError: No module named 'orjson'",
    "WARN statsd: connection refused\nSyntaxError: invalid syntax",
    "WARN statsd: connection refused\nusage: web [-h]\nweb: error: unrecognized arguments: --workers-v2 4",
    "WARN statsd: connection refused\nTraceback (most recent call last):\nTypeError: connect() got an unexpected keyword argument 'pool'",
    "WARN statsd: connection refused\nTraceback (most recent call last):\nKeyError: 'DATABASE_URL_V2'",
    "KeyError: 'tenant'",
    NONE,
    "ImportError: cannot import name 'CommandError' from 'redis.exceptions'",
    "/entrypoint.sh: line 7: NEW_REGION: unbound variable",
    'ERROR:    Error loading ASGI app. Attribute "application" not found in module "app.main".',
    "Error: LinkageError occurred while loading main class com.shop.App",
    "The dependencies of some of the beans in the application context form a cycle:",
    "Error: Could not find a production build in the '.next' directory.",
    "Error: Nest can't resolve dependencies of the OrderService (?).",
    'exec: "/app/web": permission denied',
    "The application 'Web.dll' does not exist.",
    "Missing encryption key to decrypt file with. Ask your team for your master key",
    "PHP Fatal error:  Uncaught Error: Failed opening required '/app/vendor/autoload.php'",
)
"""What only the image and the template can bring, also after an error that it lived through; and what is not there while nobody else is accused."""


@pytest.mark.parametrize(
    ("runs", "sign"),
    [
        (CLOSING, Sign.OTHERS),
        (CHAINS, Sign.OTHERS),
        (LATE, Sign.OTHERS),
        (BY_WORD, Sign.OTHERS),
        (UNKNOWN, Sign.NONE),
        (OWN, Sign.OWN),
        (CASCADES, Sign.OTHERS),
        (ANSWERS, Sign.NONE),
        (PROVES, Sign.OWN),
    ],
    ids=[
        "closing line",
        "chain of causes",
        "late in a long line",
        "others",
        "unknown words",
        "the program",
        "what follows",
        "answers of others",
        "proofs",
    ],
)
def test_the_end_of_a_run_accuses_whom_it_names(runs: tuple[str, ...], sign: Sign) -> None:
    """One test for all of a kind: what is read wrong is listed."""
    assert [run for run in runs if heard(run).sign is not sign] == []


def liveness_kills(*lines: str) -> World:
    world = (
        World()
        .rolling()
        .both(lambda s: s["containers"][0].update(livenessProbe={"httpGet": {"path": "/h", "port": 8080}}))
    )
    said = "Liveness probe failed: HTTP probe failed with statuscode: 503"
    world.crash("new-0", code=143, restarts=4).said("app", *lines)
    return world.event("Unhealthy", said, "Pod/new-0", first=at(minutes=4.8), container="app")


ROWS = [
    Row("refused, then a closing line", lambda: says(f"ERROR {REFUSED}", "CRITICAL startup failed"), C.CRASH, "Pod new-0", "roll-back", ("connection refused",), OTHERS),
    Row("a termination message of several lines", lambda: says(message=f"ERROR {REFUSED}\nERROR server exited with error\n"), C.CRASH, "Pod new-0", "roll-back", asks=OTHERS),
    Row("the cause late in a long line", lambda: says(LATE[0]), C.CRASH, "Pod new-0", "roll-back", ("connection refused",), OTHERS),
    Row("words that no table knows", lambda: says("ERROR quota service said no"), C.CRASH, "Pod new-0", "roll-back", ("quota service said no",), NOTHING),
    Row("unknown words, and an exit code that means the program", lambda: says("quota service said no").crash("new-0", code=139), C.CRASH, "Pod new-0", "roll-back", ("SIGSEGV",)),
    Row("an exit code that means the program, while the other is down", lambda: says(f"what(): {REFUSED}").crash("new-0", code=134), C.CRASH, "Pod new-0", "roll-back", asks=OTHERS),
    Row("lines of everyday only", lambda: says("INFO booting", '10.1.2.3 - - "GET /metrics HTTP/1.1" 200 503'), C.CRASH, "Pod new-0", "roll-back"),
    Row("no word at all", says, C.CRASH, "Pod new-0", "roll-back"),
    Row("a health check that fails, then its closing line", lambda: answers(503, f"ERROR {REFUSED}", "ERROR health check failed"), C.READINESS_PROBE, "Pod new-0", "roll-back", asks=OTHERS),
    Row("a health check that fails with unknown words", lambda: answers(503, "ERROR quota service said no"), C.READINESS_PROBE, "Pod new-0", "roll-back", asks=NOTHING),
    Row("killed by liveness while the other is down", lambda: liveness_kills(f"ERROR {REFUSED}", "ERROR health check failed"), C.LIVENESS_PROBE, "Pod new-0", "roll-back", asks=OTHERS),
    Row("an error that it lived through, then its own", lambda: says("ERROR statsd: connection refused", "Traceback (most recent call last):", "TypeError: boom"), C.CRASH, "Pod new-0", "roll-back", ("TypeError: boom",)),
]  # fmt: skip


def all_new(made: float, *crashing: str, since: float, restarts: int = 2) -> World:
    """A rollout that came to its end; its pods, or these, were ready and crash since so many minutes ago."""
    world = World()
    world.deployed, world.fired = made, 1.2
    for name in list(world.pods):
        world.pod(name, made=made)
    world.crash(*crashing, restarts=restarts, first=since, ended=min(1, since))
    for name in crashing or tuple(world.pods):
        world.pods[name]["status"]["conditions"][0]["lastTransitionTime"] = at(minutes=since)
    return world.said("app", *NONE.split("\n"))


def mounted(error: str, *, released: bool = False) -> World:
    """A volume at /models, which the release brought or which was there before."""
    world = says("Traceback (most recent call last):", error)

    def mount(spec: Obj) -> None:
        spec["containers"][0].update(volumeMounts=[{"name": "m", "mountPath": "/models"}])

    return world.only_new(mount) if released else world.both(mount)


def only(**fields: object) -> World:
    """The release changed this of its container, and not the image."""
    world = says(*NONE.split("\n"))
    world.before["spec"]["containers"][0]["image"] = world.containers[0]["image"]
    return world.only_new(lambda s: s["containers"][0].update(fields))


def restarted_before(since: float) -> World:
    """A pod of the older revision, which is gone, was in BackOff since so many minutes ago."""
    world = World().rolling(old=0, new=3).crash().said("app", *NONE.split("\n"))
    said = "Back-off restarting failed container app in pod"
    return world.event("BackOff", said, "Pod/web-r1-abcde", ago=4, first=at(minutes=since), container="app")


WEIGHTS = "FileNotFoundError: [Errno 2] No such file or directory: '/models/current/weights.bin'"
LEVEL = [{"name": "LOG_LEVEL", "value": "debug"}]
MORE = [
    Row("ready for 8 min, then all at once", lambda: all_new(9.5, since=1.4), C.CRASH, "Pod new-0", "roll-back", asks="ran for 8 min before that began"),
    Row("one of three, two run well", lambda: all_new(8, "new-0", since=7.9), C.CRASH, "Pod new-0", "roll-back", asks="2 other pods of revision 2 (v1 -> v2) run without it"),
    Row("broken from the start", lambda: all_new(8, since=7.9), C.CRASH, "Pod new-0", "roll-back"),
    Row("older pods were in BackOff before", lambda: restarted_before(20), C.CRASH, "Pod new-0", "roll-back", asks="of an older revision was restarted again and again already 15 min before revision 2 was deployed"),
    Row("older pods were in BackOff as they were replaced", lambda: restarted_before(4.5), C.CRASH, "Pod new-0", "roll-back"),
    Row("something beside is down, and nobody names it", lambda: down(says(*NONE.split("\n")), "redis", 6379), C.CRASH, "Pod new-0", "roll-back", asks="Service redis is down as well (0 of 1 pod ready)"),
    Row("something beside is down, and a module is missing", lambda: down(says("ModuleNotFoundError: No module named 'x'"), "redis", 6379), C.CRASH, "Pod new-0", "roll-back"),
    Row("killed from outside without a word", lambda: World().rolling().crash("new-0", code=137), C.CRASH, "Pod new-0", "roll-back", asks="container app did not end by itself"),
    Row("told to end without a word", lambda: World().rolling().crash("new-0", code=143).said("app", "INFO booting"), C.CRASH, "Pod new-0", "roll-back", asks="nothing says who ended it: exit code 143"),
    Row("a file of its own volume", lambda: mounted(WEIGHTS), C.CRASH, "Pod new-0", "roll-back", asks="is about /models, which is a volume of its own"),
    Row("a file beside its volume", lambda: mounted(WEIGHTS.replace("/models", "/models-v2")), C.CRASH, "Pod new-0", "roll-back"),
    Row("a file of a volume that the release brought", lambda: mounted(WEIGHTS, released=True), C.CRASH, "Pod new-0", "roll-back", ("volumeMounts[/models]",)),
    Row("the pull policy alone changed", lambda: only(imagePullPolicy="Always"), C.CRASH, "Pod new-0", "roll-back", asks="imagePullPolicy only, which hardly makes a program fail"),
    Row("the level of the log alone changed", lambda: only(env=LEVEL), C.CRASH, "Pod new-0", "roll-back", asks="env[LOG_LEVEL] only"),
    Row("another variable changed", lambda: only(env=[{"name": "MODE", "value": "x2"}]), C.CRASH, "Pod new-0", "roll-back"),
]  # fmt: skip


@pytest.mark.parametrize("row", MORE, ids=lambda row: row.name)
async def test_promise_11_evidence_for_the_release_counts_as_much_as_its_words(row: Row) -> None:
    await holds(row)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
async def test_promise_11_a_crash_accuses_the_release_only_with_a_sign(row: Row) -> None:
    await holds(row)


async def test_promise_4_a_log_that_cannot_be_read_is_a_question() -> None:
    world = says("TypeError: boom")
    world.cluster.unreadable_logs = True

    _, steps = await world.look()
    assert steps["roll-back"].asks == "what container app said last could not be read: cannot read logs"


@pytest.mark.parametrize(
    ("errors", "rolled_back"),
    [
        (["java.net.ConnectException: Connection refused", "Servlet.service() for servlet threw exception", "order failed"], False),
        (["ActiveRecord::ConnectionNotEstablished: could not connect to server", "Completed 500 Internal Server Error in 12ms", "OrdersController#index failed"], False),
        (["connect ECONNREFUSED 10.0.0.3:5432", "UnhandledPromiseRejection: order failed", "GET /api/items 500 - 12ms"], False),
        ([*["NullPointerException at Foo"] * 4, "java.net.ConnectException: Connection refused"], True),
        (["order failed", "request failed"], True),
        ([*["order failed"] * 30, "statsd: connection refused"], True),
    ],
    ids=["java", "rails", "node", "own errors beside", "nothing but wrappers", "a drop of others"],
)  # fmt: skip
async def test_lines_around_a_failure_do_not_outvote_its_cause(errors: list[str], rolled_back: bool) -> None:
    world = World()
    world.deployed = 8
    world.cluster.log["app", False] = "\n".join(log(e, 290) for e in errors)
    for name in world.pods:
        world.pod(name, made=8)

    _, steps = await world.look(HighErrorRate())
    assert steps["roll-back"].applies is rolled_back, steps["roll-back"].why


@pytest.mark.parametrize(
    ("taken", "fell", "began"),
    [(0.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 20.0, 20.0), (200.0, 200.0, 0.0), (200.0, 205.0, 205.0)],
    ids=["never ready", "a second between two times", "ready for a moment", "placed late and never ready", "placed late and ready for a moment"],
)  # fmt: skip
async def test_a_pod_that_was_ready_for_a_moment_is_not_broken_from_the_start(
    taken: float, fell: float, began: float
) -> None:
    """Seconds after its creation: when its node took it up, when Ready became False, and when the trouble began."""
    world = World().rolling(deployed=15)
    made = NOW - timedelta(minutes=15)

    def time(after: float) -> str:
        return (made + timedelta(seconds=after)).strftime("%Y-%m-%dT%H:%M:%SZ")

    world.state("new-0", {"running": {"startedAt": time(taken)}})
    status = world.pods["new-0"]["status"]
    status["startTime"] = time(taken)
    status["conditions"][0]["lastTransitionTime"] = time(fell)

    (cause, *_) = conclude(await read_snapshot(await world.scene())).causes
    assert cause.since == made + timedelta(seconds=began)
