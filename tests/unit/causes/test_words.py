"""What words of a log do to a decision: a release that is plainly guilty is rolled back without a question, whatever its words
resemble; and nobody adds pods for errors that others, or the code, bring."""

from __future__ import annotations

import pytest

from remediations.causes import CauseCode as C
from remediations.high_error_rate import HighErrorRate
from tests.unit.causes.table import Row, holds
from tests.unit.causes.test_errors import told
from tests.unit.causes.test_more_pods import busy
from tests.unit.causes.world import V2, World, at

GUILTY = (
    "ModuleNotFoundError: No module named 'requests'",
    "FileNotFoundError: [Errno 2] No such file or directory: '/app/config/prod.yaml'",
    "jinja2.exceptions.TemplateNotFound: index.html",
    "ImportError: cannot import name 'ConnectionError' from 'redis.exceptions' (/usr/lib/redis/exceptions.py)",
    "django.db.utils.OperationalError: (1054, \"Unknown column 'users.tier' in 'field list'\")",
    "sqlite3.OperationalError: no such table: users",
    "/app/node_modules/foo/index.js:504",
    "panic: index out of range [3] with length 3 at main.go:503",
    "TypeError: No overload of build() matches these arguments",
    "Error: Cannot find module '../lib/license-check'",
    "Error: Cannot find module 'sasl-anonymous'",
    "ValueError: unknown status code 503 in mapping table",
    "RuntimeError: codec avif is not available in this build",
    "AttributeError: 'NoneType' object has no attribute 'rate_limit'",
    "KeyError: 'saturation'",
    '10.1.2.3 - - "GET /metrics HTTP/1.1" 200 503',
)
"""What a plain crash of a new release says last."""
NOISE = 'INFO booting\nWARN otel exporter: connection refused localhost:4317, retrying\nTraceback (most recent call last):\n  File "/app/main.py", line 9\nTypeError: boom'


def says(*lines: str, message: str = "") -> World:
    """The release's only pod crashes, and says this; `message` is its termination message."""
    return World().rolling().crash("new-0", message=message).said("app", *lines)


def answers(status: int, *lines: str) -> World:
    """The release's only pod answers its readiness probe with this status, and logs these lines."""
    world = World().rolling().said("app", "INFO started", *lines, previous=False)
    world.both(
        lambda s: s["containers"][0].update(readinessProbe={"httpGet": {"path": "/healthz", "port": 8080}})
    )
    world.state("new-0", {"running": {"startedAt": at(minutes=4.7)}}, since=4.7)
    said = f"Readiness probe failed: HTTP probe failed with statuscode: {status}"
    return world.event("Unhealthy", said, "Pod/new-0", first=at(minutes=4.6), container="app")


ROWS = [
    *(
        Row(f"a crash that says {line[:50]}", lambda line=line: says("Traceback (most recent call last):", line), C.CRASH, "Pod new-0", "roll-back")  # type: ignore[misc]
        for line in GUILTY
    ),
    Row("a termination message with a warning before its error", lambda: says(*NOISE.split("\n"), message=NOISE), C.CRASH, "Pod new-0", "roll-back", ('"TypeError: boom"',)),
    Row("only a termination message with a warning before its error", lambda: says(message=NOISE), C.CRASH, "Pod new-0", "roll-back", ('"TypeError: boom"',)),
    Row("a termination message with an error that it lived through", lambda: says(message="ERROR metrics push failed: connection refused\nFATAL config: unknown key 'featurez'"), C.CRASH, "Pod new-0",
        "roll-back", ("unknown key",)),
    Row("a termination message that ends with what is not there", lambda: says(message="INFO booting\nFATAL dial tcp 10.0.0.5:5432: connect: connection refused"), C.CRASH, "Pod new-0", "roll-back",
        asks="speaks of something else"),
    Row("a cause below a Java exception", lambda: says("ERROR o.s.boot.SpringApplication : Application run failed", "java.lang.IllegalStateException: no context",
        "Caused by: java.net.ConnectException: Connection refused"), C.CRASH, "Pod new-0", "roll-back", ("ConnectException: Connection refused",), "speaks of something else"),
    *(
        Row(f"the access log of the probe: {line[:40]}", lambda s=status, line=line: answers(s, line), C.READINESS_PROBE, "Pod new-0", "roll-back")  # type: ignore[misc]
        for status, line in (
            (503, 'INFO:     10.0.0.1:51234 - "GET /healthz HTTP/1.1" 503 Service Unavailable'),
            (503, '[GIN] 2026/03/04 - 03:00:00 | 503 |     120.5µs |        10.0.0.1 | GET      "/healthz"'),
            (401, '10.0.0.1 - - [04/Mar/2026:03:00:00 +0000] "GET /healthz HTTP/1.1" 401 12 "-" "kube-probe/1.33"'),
            (404, '10.1.2.3 - - "GET /metrics HTTP/1.1" 200 503'),
        )
    ),
    *(
        Row(f"a Service's address where a number stood: {line[:20]}", lambda line=line: says("Traceback (most recent call last):", line), C.CRASH, "Pod new-0", "roll-back",  # type: ignore[misc]
            asks=f"has tcp://{link}, which is what the kubelet sets NAME_PORT to")
        for link, line in (
            ("10.0.0.1:80", "ValueError: invalid literal for int() with base 10: 'tcp://10.0.0.1:80'"),
            ("10.96.12.7:6379", 'panic: strconv.Atoi: parsing "tcp://10.96.12.7:6379": invalid syntax'),
            ("[fd00::1]:80", 'java.lang.NumberFormatException: For input string: "tcp://[fd00::1]:80"'),
        )
    ),
    *(
        Row(f"an address of its own, which no Service has: {line[-24:]}", lambda line=line: says(line), C.CRASH, "Pod new-0", "roll-back")  # type: ignore[misc]
        for line in (
            "ValueError: invalid bind address 'tcp://0.0.0.0:5555'",
            "panic: listen tcp://127.0.0.1:9000: invalid option",
            "ValueError: invalid literal for int() with base 10: 'tcp://[::1]:80'",
            "ValueError: invalid literal for int() with base 10: 'tcp://[::]:80'",
        )
    ),
    Row("a Service's address, and none is given", lambda: says("ValueError: invalid literal for int() with base 10: 'tcp://10.0.0.1:80'").both(lambda s: s.update(enableServiceLinks=False)), C.CRASH, "Pod new-0", "roll-back"),
    Row("a client's log of what a provider answers", lambda: answers(503, 'INFO httpx HTTP Request: POST https://api.pay.test/v1 "HTTP/1.1 503 Service Unavailable"'), C.READINESS_PROBE, "Pod new-0", "roll-back",
        asks="speaks of something else"),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
async def test_words_of_the_program_raise_no_question(row: Row) -> None:
    await holds(row)


@pytest.mark.parametrize(
    ("error", "why"),
    [
        ("https://api.stripe.com/v1/charges returned 503 Service Unavailable", "what the pods call answers with an error"),
        ("rpc error: code = DeadlineExceeded desc = context deadline exceeded calling auth.shop.svc:9000", "what the pods call answers"),
        ("upstream search-api answered 504 Gateway Timeout", "what the pods call answers"),
        ("requests.exceptions.HTTPError: 503 Server Error: Service Unavailable for url: https://partner.example.com/v2", "what the pods call answers"),
        ("botocore.exceptions.ClientError: An error occurred (SlowDown) when calling PutObject: Please reduce your request rate (503)", "a provider limits our requests"),
        ("elasticsearch.TransportError(429, 'es_rejected_execution_exception')", "a provider limits our requests"),
        ("KeyError: 'sku' (cart.py:503)", "the errors come from the code"),
        ("TypeError: No overload matches this call", "the errors come from the code"),
        ('PermissionError: password authentication failed for user "web"', "somebody does not let the pods in"),
        ("OSError: [Errno 28] No space left on device", "the pods' node or volume lacks something"),
        ("KafkaTimeoutError: Failed to update metadata after 60.0 secs", "the errors speak of a dependency"),
    ],
)  # fmt: skip
async def test_errors_of_others_and_of_the_code_add_no_pods(error: str, why: str) -> None:
    """Three hours after a release, with nothing measured."""
    _, steps = await told(error, 300, 1500, deployed=180).look(HighErrorRate())

    assert [s.name for s in steps.values() if s.applies] == []
    assert why.lower() in steps["scale-up"].why.lower()
    assert "the most frequent error is" in steps["scale-up"].advice


async def test_words_of_our_own_load_alone_are_a_question() -> None:
    """The runbook's capacity case by its words only: more pods are proposed, and a person says so."""
    _, steps = await told("ServerBusy: queue is full, answered 503", 300, 1500, deployed=180).look(
        HighErrorRate()
    )

    assert steps["scale-up"].applies
    assert steps["scale-up"].asks.startswith("only the errors' words speak of too little capacity (")


@pytest.mark.parametrize(
    "error",
    [
        "django.db.utils.OperationalError: (1054, \"Unknown column 'users.tier' in 'field list'\")",
        "InterfaceError: payload field 'amount' missing",
        "AssertionError: broken pipeline",
        'psycopg2.errors.UndefinedColumn: column "tier" does not exist',
        "ModuleNotFoundError: No module named 'pdfkit'",
        "ValueError: state must be one of 'queue full', 'empty'",
        # The pod itself does not listen.
        "dial tcp 127.0.0.1:9000: connect: connection refused",
        "Error: connect ECONNREFUSED localhost:9000",
        'connect() failed (111: Connection refused) while connecting to upstream, client: 10.0.0.1, upstream: "http://[::1]:9000/"',
    ],
)
async def test_errors_of_schema_and_code_that_began_with_a_release_are_rolled_back(error: str) -> None:
    _, steps = await told(error, 470, 480, deployed=8).look(HighErrorRate())
    assert (steps["roll-back"].applies, steps["roll-back"].asks) == (True, ""), steps["roll-back"].why


@pytest.mark.parametrize(
    ("error", "happens"),
    [
        ('OperationalError: connection to server at "db" failed: Connection refused', "none is checked"),
        ("InterfaceError: connection already closed", "none is checked"),
        ("could not send data to server: Broken pipe", "none is checked"),
    ],
)  # fmt: skip
async def test_a_dependency_that_is_away_is_still_no_reason_for_a_rollback(error: str, happens: str) -> None:
    _, steps = await told(error, 470, 480, deployed=8).look(HighErrorRate())
    assert not steps["roll-back"].applies
    assert happens in steps["roll-back"].why


async def test_clients_that_hang_up_are_no_dependency_and_no_proof_against_a_release() -> None:
    error = "http: response.Write: write tcp 10.0.0.1:8080->10.0.0.2:3344: write: broken pipe"
    _, steps = await told(error, 470, 480, deployed=8).look(HighErrorRate())
    assert steps["roll-back"].asks.startswith("the logs have the errors since the rollout")
    assert "dependency" not in steps["scale-up"].why


@pytest.mark.parametrize(
    "error", ["BrokenPipeError: [Errno 32] Broken pipe", "context canceled", "server too busy"]
)
async def test_what_accuses_nobody_is_no_word_against_more_pods_where_they_are_measured_at_their_limit(
    error: str,
) -> None:
    _, steps = await busy(told(error, 200, 360, deployed=600)).look(HighErrorRate())
    assert steps["scale-up"].why.startswith("Capacity problem: CPU 96 % of the limit")
    _, steps = await busy(told("KeyError: 'id'", 200, 360, deployed=600)).look(HighErrorRate())
    assert "come from the code" in steps["scale-up"].why


@pytest.mark.parametrize(
    "image",
    [
        "registry.test/web:429",
        "registry.test/web:v1.503",
        "registry.test/rate-limit:v2",
        "registry.test/access-denied/web:401",
        "registry.test/x509/forbidden:v2",
        "registry.test:5000/no-space-left/web:403",
        "unauthorized:504",
    ],
)
async def test_the_name_of_an_image_is_no_word_of_the_registry(image: str) -> None:
    said = (
        f'Failed to pull image "{image}": rpc error: code = NotFound desc = failed to pull and unpack image "{image}":'
        f' failed to resolve reference "{image}": {image}: not found'
    )
    world = World().rolling()
    world.template["spec"]["containers"][0]["image"] = image
    world.pod("new-0", revision=2, made=5, ready=False)
    world.state("new-0", {"waiting": {"reason": "ImagePullBackOff", "message": said}})
    await holds(Row("missing", lambda: world, C.IMAGE_MISSING, f"image {image}", "roll-back"))


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (f"failed to resolve reference: {'mirror.test: not tried; ' * 30}unexpected status from HEAD request: 403 Forbidden", C.IMAGE_DENIED),
        ("failed to authorize: failed to fetch anonymous token: unexpected status from GET request to https://registry.test/token: 403 Forbidden", C.IMAGE_DENIED),
        ("failed to copy: httpReadSeeker: failed open: unexpected status code https://registry.test/v2/web/manifests/v2: 429 Too Many Requests", C.REGISTRY),
        ("pulling from host registry.test failed with status code [manifests v2]: 503 Service Unavailable", C.REGISTRY),
        ('failed to do request: Head "https://registry.test/v2/web/manifests/v2": dial tcp: lookup registry.test: no such host', C.REGISTRY),
        ('failed to do request: Head "https://registry.test/v2/": tls: failed to verify certificate: x509: certificate has expired or is not yet valid', C.REGISTRY),
    ],
)  # fmt: skip
async def test_what_a_registry_says_counts_still(said: str, code: C) -> None:
    world = World().rolling()
    world.state("new-0", {"waiting": {"reason": "ErrImagePull", "message": said}})
    found = await world.investigate()
    assert found.causes[0].code is code


async def test_a_registry_whose_certificate_is_not_trusted_is_no_way_that_is_cut() -> None:
    world = World().rolling()
    said = 'failed to do request: Head "https://registry.test/v2/": tls: failed to verify certificate: x509: certificate has expired or is not yet valid'
    world.state("new-0", {"waiting": {"reason": "ErrImagePull", "message": said}})
    first = (await world.investigate()).causes[0]
    assert "certificate of registry registry.test is not trusted" in first.text
    assert "certificate has expired" in first.text
    assert first.advice.startswith("renew the certificate of registry registry.test")


MIRRORED = "mirror.test/web:v2"


@pytest.mark.parametrize("by_admission", [True, False])
async def test_an_image_that_admission_wrote_is_told_apart_from_the_template_s(by_admission: bool) -> None:
    world = World().rolling()
    pod = world.pods["new-0"]
    if by_admission:
        pod["spec"]["containers"] = [{**pod["spec"]["containers"][0], "image": MIRRORED}]
    said = "failed to resolve reference: not found"
    world.state("new-0", {"waiting": {"reason": "ErrImagePull", "message": said}})
    first = (await world.investigate()).causes[0]
    assert first.object == f"image {MIRRORED if by_admission else V2}"
    assert (f"the pod template has {V2}: what changes pods as they are made" in first.text) is by_admission


@pytest.mark.parametrize("by_admission", [True, False])
async def test_a_node_selector_that_admission_added_is_told_apart_from_the_template_s(
    by_admission: bool,
) -> None:
    world = World().both(lambda spec: spec.update(nodeSelector={"disk": "fast"}))
    world.unscheduled(
        "new-0", "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector."
    )
    pod = world.pods["new-0"]
    pod["spec"]["nodeSelector"] = {"disk": "fast", **({"pool": "team-a"} if by_admission else {})}
    first = (await world.investigate()).causes[0]
    assert first.code is C.UNSCHEDULABLE
    assert ("(pool=team-a is not of the pod template: what changes pods" in first.text) is by_admission
    assert "disk=fast" not in first.text
