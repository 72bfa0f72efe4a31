"""Dependency checks against servers on loopback: what counts as down, what as not known, and that no secret is told."""

from __future__ import annotations

from datetime import datetime

import pytest

from app.domain.errors import BadInput, ProbeUnavailable
from app.domain.ports import DependencyResult, SlowQuery
from app.observe import dependencies
from app.observe.dependencies import ConfiguredDependencies
from tests.doubles.listening import listening
from tests.unit.observe.servers import Answer, FakePostgres, FakeRedis, silent

SECRET = "hunter2-sekret"


class Ticks:
    """A clock that moves 1.5 ms with every reading."""

    def __init__(self) -> None:
        self.reading = 0.0

    def now(self) -> datetime:
        raise AssertionError("a check needs no date")

    def monotonic(self) -> float:
        self.reading += 0.0015
        return self.reading

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("a check never waits")


def configured(scheme: str, port: int, user: str = "langgraph") -> ConfiguredDependencies:
    url = f"{scheme}://{user}:{SECRET}@127.0.0.1:{port}/0?gssencmode=disable"
    if scheme.startswith("redis"):
        url = f"{scheme}://{user}:{SECRET}@127.0.0.1:{port}/0?protocol=2"
    return ConfiguredDependencies({"it": url}, Ticks())


async def only(found: ConfiguredDependencies) -> DependencyResult:
    (result,) = await found.check(["it"])
    return result


async def test_a_postgres_that_answers_is_healthy_and_is_asked_read_only() -> None:
    server = FakePostgres({"SELECT 1": [["1"]]})
    async with listening(server.talk) as port:
        result = await only(configured("postgresql", port))

    assert result == DependencyResult(
        "it", "postgres", healthy=True, text="answers SELECT 1", milliseconds=1.5
    )
    assert server.asked == [
        "BEGIN",
        "SET TRANSACTION READ ONLY",
        "SET LOCAL statement_timeout = 3000",
        "SELECT 1",
        "COMMIT",
    ]


@pytest.mark.parametrize(
    ("refuse", "healthy", "text"),
    [
        (("53300", "sorry, too many clients already"), False, "FATAL: sorry, too many clients already"),
        (("57P03", "the database system is starting up"), False, "the database system is starting up"),
        (
            ("28P01", 'password authentication failed for user "langgraph"'),
            None,
            "answers, but refuses the login of this check",
        ),
        (("28000", 'no pg_hba.conf entry for host "10.0.0.9"'), None, "refuses the login of this check"),
        (("3D000", 'database "0" does not exist'), None, "refuses the login of this check"),
    ],
)
async def test_a_postgres_that_refuses_us_is_down_or_only_unknown(
    refuse: tuple[str, str], healthy: bool | None, text: str
) -> None:
    async with listening(FakePostgres(refuse=refuse).talk) as port:
        result = await only(configured("postgres", port))

    assert result.healthy is healthy
    assert text in result.text


async def test_a_statement_that_fails_is_an_unhealthy_postgres() -> None:
    server = FakePostgres({"SELECT 1": ("57014", "canceling statement due to statement timeout")})
    async with listening(server.talk) as port:
        result = await only(configured("postgresql", port))

    assert (result.healthy, result.text) == (False, "canceling statement due to statement timeout")


@pytest.mark.parametrize(
    ("ping", "auth", "healthy", "text"),
    [
        ("+PONG", "+OK", True, "answers PING"),
        ("-LOADING Redis is loading the dataset in memory", "+OK", False, "loading the dataset"),
        ("-MISCONF Redis is configured to save RDB snapshots", "+OK", False, "configured to save RDB"),
        ("-NOPERM this user has no permissions", "+OK", None, "refuses the login of this check"),
        ("+PONG", "-WRONGPASS invalid username-password pair", None, "refuses the login of this check"),
    ],
)
async def test_a_redis_is_judged_by_its_answer_to_ping(
    ping: str, auth: str, healthy: bool | None, text: str
) -> None:
    async with listening(FakeRedis(ping, auth).talk) as port:
        result = await only(configured("redis", port))

    assert (result.kind, result.healthy) == ("redis", healthy)
    assert text in result.text


@pytest.mark.parametrize("scheme", ["postgresql", "redis"])
async def test_a_server_that_cannot_be_reached_is_not_known_to_be_down(scheme: str) -> None:
    async with listening(silent) as port:
        pass
    result = await only(configured(scheme, port))

    assert (result.healthy, result.unreachable) == (None, True)
    assert "refused" in result.text.lower() or "connect" in result.text.lower()


@pytest.mark.parametrize("scheme", ["postgresql", "redis"])
async def test_a_server_that_says_nothing_within_the_time_out_is_not_known_to_be_down(
    scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dependencies, "TIMEOUT", 0.05)
    async with listening(silent) as port:
        result = await only(configured(scheme, port))

    assert (result.healthy, result.unreachable) == (None, True)
    assert result.text in (
        "no answer within 0.05 s",
        "Timeout reading from socket",
        "Timeout connecting to server",
    )


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://app:pw@no-such-host.invalid/db",
        "redis://:pw@no-such-host.invalid:6379/0",
        "postgresql://app:pw@127.0.0.1:{port}/db?sslmode=require&gssencmode=disable",
        "rediss://:pw@127.0.0.1:{port}/0",
    ],
    ids=[
        "Postgres by a name that is none",
        "Redis by a name that is none",
        "Postgres without TLS",
        "Redis without TLS",
    ],
)
async def test_a_name_or_certificate_that_fails_us_says_nothing_of_the_server(url: str) -> None:
    async with listening(FakeRedis("+PONG").talk if "redis" in url else FakePostgres().talk) as port:
        found = ConfiguredDependencies({"it": url.format(port=port)}, Ticks())
        result = await only(found)
    assert (result.healthy, result.unreachable) == (None, True), result.text


@pytest.mark.parametrize("scheme", ["postgresql", "redis"])
async def test_no_error_text_carries_the_password(scheme: str) -> None:
    echo = FakePostgres(refuse=("28P01", f"password authentication failed, you sent {SECRET}"))
    server = echo.talk if scheme == "postgresql" else FakeRedis(auth=f"-WRONGPASS you sent {SECRET}").talk
    async with listening(server) as port:
        result = await only(configured(scheme, port))

    assert SECRET not in result.text
    assert "[redacted]" in result.text


async def test_a_name_without_a_configured_dsn_is_unknown() -> None:
    (result,) = await ConfiguredDependencies({}, Ticks()).check(["cache"])

    assert result == DependencyResult("cache", "unknown", None, "no dependency cache is configured")


@pytest.mark.parametrize("dsn", ["mysql://u:p@h/db", "hunter2-sekret", "", "http://[::1"])
def test_a_dsn_of_another_kind_is_refused_without_repeating_it(dsn: str) -> None:
    with pytest.raises(BadInput) as caught:
        ConfiguredDependencies({"db": dsn}, Ticks())

    assert str(caught.value) == (
        "dependency db: must be a URL that starts with one of postgres://, postgresql://, redis://, rediss://"
    )


async def test_slow_queries_come_with_calls_and_mean_time_and_without_secrets() -> None:
    rows: Answer = [
        ["SELECT *\n  FROM checkpoints\tWHERE id = $1", "4021", "1830.25"],
        ["ALTER ROLE app PASSWORD = 'hunter2'", "1", "12.5"],
    ]
    async with listening(FakePostgres({"pg_stat_statements": rows}).talk) as port:
        found = await configured("postgresql", port).slow_queries("it", 10)

    assert found == [
        SlowQuery("SELECT * FROM checkpoints WHERE id = $1", 4021, 1830.25),
        SlowQuery("ALTER ROLE app PASSWORD = '[redacted]'", 1, 12.5),
    ]


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            ("42P01", 'relation "pg_stat_statements" does not exist'),
            "it does not have the extension pg_stat_statements, so slow queries are not known",
        ),
        (
            ("55000", "pg_stat_statements must be loaded"),
            "it does not load pg_stat_statements (shared_preload_libraries)",
        ),
        (("42501", "permission denied for view"), "it: permission denied for view"),
    ],
)
async def test_statistics_that_cannot_be_read_say_what_is_missing(error: tuple[str, str], text: str) -> None:
    async with listening(FakePostgres({"pg_stat_statements": error}).talk) as port:
        with pytest.raises(ProbeUnavailable) as caught:
            await configured("postgresql", port).slow_queries("it", 10)

    assert caught.value.message == text


@pytest.mark.parametrize("name", ["it", "other"])
async def test_only_a_configured_postgres_has_slow_queries(name: str) -> None:
    with pytest.raises(ProbeUnavailable, match=f"{name} is not a configured Postgres"):
        await configured("redis", 1).slow_queries(name, 10)
