"""Which lines are errors, of what type, and which of them are the same."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remediations.evidence.error_lines import ErrorLine, errors_in, normalise
from remediations.evidence.error_words import Nature

TEN = datetime(2026, 3, 4, 10, 15, 22, 713000, tzinfo=UTC)


def keys(text: str, **options: tuple[str, ...]) -> list[str]:
    return [e.key for e in errors_in(text.splitlines(), **options)]


@pytest.mark.parametrize(
    ("line", "kind", "text"),
    [
        (
            "2026-03-04T10:15:22.713Z ERROR langgraph.db [r-1] OperationalError: connection refused",
            "OperationalError",
            "connection refused",
        ),
        ("ERROR:root:psycopg2.OperationalError: server closed", "OperationalError", "server closed"),
        ("2026-03-04 10:15:22,713 - app - ERROR - disk is full", "ERROR", "disk is full"),
        ("[ERROR] 2026 worker stopped", "ERROR", "2026 worker stopped"),
        ("CRITICAL out of file handles", "CRITICAL", "out of file handles"),
        ("10:15 FATAL: role missing", "FATAL", "role missing"),
        ("2026/03/04 10:15:22 [error] 31#0: upstream timed out", "[error]", "31#0: upstream timed out"),
        ("E0304 10:15:22.123456       1 reflector.go:147] failed to list", "ERROR", "failed to list"),
        ('2026-03-04T02:59:00Z {"level":"error","msg":"disk is full"}', "ERROR", "disk is full"),
        (
            '2026-03-04T02:59:00.123456789+01:00 stdout F {"level":50,"msg":"disk is full"}',
            "ERROR",
            "disk is full",
        ),
        (
            "2026-03-04T02:59:00Z E0304 10:15:22.123456       1 reflector.go:147] failed to list",
            "ERROR",
            "failed to list",
        ),
        ('time="2026-03-04T10:15:22Z" level=error msg="no \\"x\\" here"', "ERROR", 'no \\"x\\" here'),
        ("ts=1 level=fatal err=boom", "ERROR", "boom"),
        (
            'Exception in thread "main" java.lang.IllegalStateException: closed',
            "IllegalStateException",
            "closed",
        ),
        (
            "Error: 14 UNAVAILABLE: No connection established",
            "Error",
            "14 UNAVAILABLE: No connection established",
        ),
        ("Uncaught TypeError: x is not a function", "TypeError", "x is not a function"),
        ("2026-03-04T10:15:22Z java.net.ConnectException: refused", "ConnectException", "refused"),
        ("error: unable to open database", "error", "unable to open database"),
        ("fatal: bad object HEAD", "fatal", "bad object HEAD"),
        (
            '{"level":"error","msg":"request failed","error":"dial tcp: i/o timeout"}',
            "ERROR",
            "request failed: dial tcp: i/o timeout",
        ),
        (
            '{"level":50,"msg":"call failed","err":{"type":"Error","message":"14 UNAVAILABLE"}}',
            "ERROR",
            "call failed: 14 UNAVAILABLE",
        ),
        ('{"msg":"shutdown","error":"listener closed"}', "ERROR", "shutdown: listener closed"),
        (
            'level=error msg="request failed" err="connection refused"',
            "ERROR",
            "request failed: connection refused",
        ),
        ("panic: runtime error: index out of range [3]", "panic", "runtime error: index out of range [3]"),
        ("ERROR raised (TimeoutException)", "TimeoutException", "raised ()"),
        ("ERROR worker ended by KeyboardInterrupt", "KeyboardInterrupt", "worker ended by"),
        (
            "sqlalchemy ERROR sqlalchemy.exc.OperationalError (psycopg.OperationalError): gone",
            "OperationalError",
            "gone",
        ),
    ],
)
def test_an_error_line_gives_its_type_and_its_words(line: str, kind: str, text: str) -> None:
    (error,) = errors_in([line])
    assert (error.type, error.text) == (kind, text)


@pytest.mark.parametrize(
    "line",
    [
        "2026-03-04T10:15:22Z INFO served 200",
        "INFO finished with 0 errors",
        "DEBUG ERROR_BUDGET is 3",
        "INFO NO-ERROR",
        'level=info msg="last ERROR was long ago"',
        '{"level": "info", "message": "ERROR is a word"}',
        '{"level": 30, "msg": "fine"}',
        '{"level": "warn", "msg": "again", "error": "timeout"}',
        '{"msg": "served", "error": null, "status": 200}',
        '{"msg": "served", "error": ""}',
        "the last Error: was long ago",
        "WARNING OperationalError: will try again",
        "",
        "   ERROR-free",
    ],
)
def test_other_lines_are_not_errors(line: str) -> None:
    assert list(errors_in([line])) == []


@pytest.mark.parametrize(
    ("record", "kind", "text"),
    [
        ({"level": "ERROR", "message": "KeyError: 'x'"}, "KeyError", "'x'"),
        ({"severity": "CRITICAL", "msg": "boom"}, "ERROR", "boom"),
        ({"level": 50, "msg": "pino"}, "ERROR", "pino"),
        ({"log": {"level": "error"}, "message": "ecs"}, "ERROR", "ecs"),
        ({"level": "error", "event": "failed", "exc_type": "app.errors.StoreFull"}, "StoreFull", "failed"),
        (
            {
                "levelname": "ERROR",
                "message": "task failed",
                "exc_info": "Traceback (most recent call last):\n  File x\nvalue.Broken: bad",
            },
            "Broken",
            "bad",
        ),
        (
            {"level": "error", "message": "oops\nTraceback (most recent call last):\n  f()\nKeyError: 'y'"},
            "KeyError",
            "'y'",
        ),
        ({"level": "error"}, "ERROR", ""),
    ],
)
def test_a_json_record_is_judged_by_its_level(record: dict[str, object], kind: str, text: str) -> None:
    (error,) = errors_in([json.dumps(record)])
    assert (error.type, error.text) == (kind, text)


@pytest.mark.parametrize(
    "line",
    [
        "2026-03-04T10:15:22.713Z ERROR x",
        "2026-03-04T11:15:22.713+01:00 ERROR x",
        "2026-03-04 10:15:22,713 ERROR x",
        '{"level": "error", "time": "2026-03-04T10:15:22.713Z", "msg": "x"}',
        '{"level": "error", "ts": 1772619322.713, "msg": "x"}',
        '{"level": "error", "time": 1772619322713, "msg": "x"}',
    ],
)
def test_the_time_of_a_line_is_read(line: str) -> None:
    (error,) = errors_in([line])
    assert error.at == TEN


@pytest.mark.parametrize("line", ["ERROR x", "2026-13-45T99:15:22Z ERROR x", '{"level": "error", "ts": 3}'])
def test_a_line_without_a_time_has_none(line: str) -> None:
    (error,) = errors_in([line])
    assert error.at is None


def test_a_traceback_gives_its_error_line_the_exceptions_name() -> None:
    text = """\
ERROR request failed
Traceback (most recent call last):
  File "app.py", line 3, in f
    g()
psycopg.OperationalError: connection refused
INFO next
"""
    assert keys(text) == ["OperationalError: connection refused"]


def test_an_error_line_that_names_its_exception_keeps_its_words() -> None:
    text = "ERROR ValueError: bad id 7\nTraceback (most recent call last):\n  x\nValueError: bad id 7\n"
    assert keys(text) == ["ValueError: bad id <n>"]


def test_a_traceback_without_an_error_line_is_an_error() -> None:
    assert keys("Traceback (most recent call last):\n  x\nKeyError: 'QUEUE'\n") == ["KeyError: 'QUEUE'"]


def test_of_two_exceptions_of_elixir_in_a_row_neither_is_the_other_s_cause() -> None:
    thrown = "** (KeyError) key :tenant not found\n"
    frame = "    (web 0.1.0) lib/web/page.ex:12: Web.PageController.show/2\n"
    head = "02:50:00.123 [error] GenServer #PID<0.1.0> terminating\n"
    assert keys(thrown * 3) == ["KeyError: key :tenant not found"] * 3
    assert keys((thrown + frame) * 2) == ["KeyError: key :tenant not found"] * 2
    assert keys((head + thrown + frame) * 2) == ["KeyError: key :tenant not found"] * 2
    assert keys("** (exit) an exception was raised:\n    " + thrown) == ["KeyError: key :tenant not found"]


@pytest.mark.parametrize("stamp", ["", "2026-03-04T02:59:30Z "])
def test_of_two_panics_of_rust_in_a_row_neither_is_the_other_s_message(stamp: str) -> None:
    head = f"{stamp}thread 'main' panicked at src/main.rs:10:5:\n"
    assert len(keys(head * 3)) == 3
    assert keys(f"{head}index out of bounds\n" * 2) == ["index out of bounds"] * 2
    assert keys(f"{head}{stamp}INFO served\n" * 2) == keys(head) * 2


TORNADO = """[E 260304 02:59:30 web:1789] Uncaught exception GET /api (10.0.0.1)
    HTTPServerRequest(protocol='http', host='shop', method='GET', uri='/api', version='HTTP/1.1', remote_ip='10.0.0.1')
    Traceback (most recent call last):
      File "/app/web.py", line 3, in get
        charge()
    KeyError: 'tenant'
"""


@pytest.mark.parametrize("stamp", ["", "2026-03-04T02:59:30Z "])
def test_a_traceback_that_is_indented_as_a_whole_tells_its_exception(stamp: str) -> None:
    again = """
    During handling of the above exception, another exception occurred:

    Traceback (most recent call last):
      File "/app/web.py", line 5, in get
    RuntimeError: not charged
"""
    text = stamp + TORNADO
    later = "[I 260304 02:59:31 web:2239] 200 GET /api (10.0.0.1) 2.31ms\n"
    assert keys(text) == keys(text + later) == ["KeyError: 'tenant'"]
    assert keys(text + text) == ["KeyError: 'tenant'"] * 2
    (chained,) = errors_in((text + again + later).splitlines())
    assert (chained.type, chained.text) == ("KeyError", "'tenant'")
    assert chained.chain == ("Uncaught exception GET /api (10.0.0.1)", "RuntimeError: not charged")
    assert keys(text + "  at rest\n") == ["KeyError: 'tenant'"]


def test_two_tracebacks_are_two_errors_and_a_chained_one_is_its_root_cause() -> None:
    one = "Traceback (most recent call last):\n  x\nKeyError: 'a'\n"
    other = "Traceback (most recent call last):\n  x\nRuntimeError: b\n"
    chain = "\nDuring handling of the above exception, another exception occurred:\n\n"

    assert keys(one + other) == ["KeyError: 'a'", "RuntimeError: b"]
    assert keys(one + chain + other) == ["KeyError: 'a'"]


def test_a_traceback_that_a_logger_prefixes_line_by_line_counts_once() -> None:
    text = "ERROR worker Traceback (most recent call last):\nERROR worker KeyError: 'QUEUE'\n"
    assert keys(text) == ["KeyError: 'QUEUE'"]


def test_a_java_stack_trace_counts_once() -> None:
    text = "ERROR java.io.IOException: closed\n\tat x.Y.z(Y.java:1)\n\tat x.Y.w(Y.java:2)\nINFO on\n"
    assert keys(text) == ["IOException: closed"]


def test_a_rule_may_name_other_words() -> None:
    assert keys("ERROR a\nOops: b\n", tokens=("Oops",)) == ["b"]


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("user 42 not found", "user <n> not found"),
        ("took 10.5 s", "took <n> s"),
        ("id 6f1d6c1e-1111-4222-8333-444455556666", "id <uuid>"),
        ("object 0x7fa3 at deadbeef01", "object <hex> at <hex>"),
        ("from 10.2.3.4:5432 refused", "from <ip> refused"),
        ("at 2026-03-04T10:15:22Z again", "at <time> again"),
        ("to jo.e+1@example.com", "to <email>"),
        ("status 503 from api", "status 503 from api"),
        ("HTTP 404: page 17", "HTTP 404: page <n>"),
        ("Error code: 429 - slow", "Error code: 429 - slow"),
        ("  many \t blanks ", "many blanks"),
        ("feedface", "feedface"),
    ],
)
def test_what_varies_is_taken_out_of_the_key_and_status_codes_stay(text: str, same: str) -> None:
    assert normalise(text) == same


@pytest.mark.parametrize(
    ("line", "nature"),
    [
        ("ERROR OperationalError: connection refused", Nature.DEPENDENCY),
        ("ERROR TimeoutError: QueuePool limit of size 5 overflow 10 reached", Nature.DEPENDENCY),
        ("ERROR redis ECONNRESET", Nature.DEPENDENCY),
        ("ERROR could not translate host name", Nature.DEPENDENCY),
        ("ERROR request waited 30 s in a full queue (503)", Nature.CAPACITY),
        ("ERROR 429 Too Many Requests", Nature.CAPACITY),
        ("ERROR worker timeout", Nature.CAPACITY),
        ("ERROR openai.RateLimitError: Error code: 429", Nature.RATE_LIMIT),
        (
            "ERROR HTTPStatusError: Client error '429 Too Many Requests' for url 'https://x'",
            Nature.RATE_LIMIT,
        ),
        ("ERROR KeyError: 'user'", Nature.CODE),
        ("ERROR answer 1503 is odd", Nature.CODE),
    ],
)
def test_an_error_is_sorted_by_what_it_says_of_its_cause(line: str, nature: Nature) -> None:
    (error,) = errors_in([line])
    assert error.judged[1] is nature


@given(st.lists(st.text(max_size=80), max_size=12))
def test_no_text_makes_the_reader_fail(lines: list[str]) -> None:
    for error in errors_in(lines):
        assert isinstance(error, ErrorLine)
        assert len(error.key) <= 160


def test_a_very_long_line_is_read_in_a_moment() -> None:
    (error,) = errors_in(["ERROR " + "aA." * 50_000])
    assert len(error.text) <= 4_000


def test_a_record_behind_a_time_stamp_keeps_its_own_time_and_else_has_that_of_the_stamp() -> None:
    """And one of another level is no error there either."""
    stamp = "2026-03-04T10:15:22.713Z"
    lines = [
        f'{stamp} {{"level":"error","msg":"disk is full"}}',
        f'{stamp} {{"level":"error","msg":"disk is full","time":"2026-03-04T10:15:20Z"}}',
        f'{stamp} {{"level":"info","msg":"no error"}}',
    ]

    assert [e.at for e in errors_in(lines)] == [TEN, TEN.replace(second=20, microsecond=0)]
