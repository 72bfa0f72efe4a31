"""How loggers write an error: each form is read as one, and its lines below the level of an error are not."""

from __future__ import annotations

import pytest

from remediations.evidence.error_lines import errors_in, first_time

MISSING = "Method not found: 'Void A.B()'"

ERRORS = [
    ("2026-03-04 02:50:00 [error    ] request failed      error=\"TypeError: f() got 'x'\"", "TypeError", "f() got 'x'\""),
    ("\x1b[2m2026-03-04 02:50:00\x1b[0m [\x1b[31m\x1b[1merror    \x1b[0m] \x1b[1mrequest failed\x1b[0m", "[error    ]", "request failed"),
    ("[04-Mar-2026 02:50:00 UTC] PHP Fatal error:  Uncaught Error: Call to undefined method A::b() in /a.php:3", "Error", "Call to undefined method A::b() in /a.php:3"),
    ("[04-Mar-2026 02:50:00 Europe/Berlin] PHP Fatal error:  Allowed memory size of 134217728 bytes exhausted", "PHP", "Allowed memory size of 134217728 bytes exhausted"),
    ('[04-Mar-2026 02:50:00] WARNING: [pool www] child 8 said into stderr: "NOTICE: PHP message: PHP Fatal error:  Uncaught TypeError: A::f()"', "TypeError", 'A::f()"'),
    ("PHP Parse error:  syntax error, unexpected token in /a.php on line 3", "PHP", "syntax error, unexpected token in /a.php on line 3"),
    ('{"@t":"2026-03-04T02:50:00Z","@l":"Error","@mt":"failed {Id}","@x":"System.MissingMethodException: Method not found\\n   at A.B()"}', "MissingMethodException", "Method not found"),
    ('{"severity_text":"ERROR","body":"failed","attributes":{"exception.type":"TypeError","exception.message":"foo() missing 1"}}', "TypeError", "failed: foo() missing 1"),
    ('{"SeverityNumber":17,"Body":"order.toDto is not a function"}', "ERROR", "order.toDto is not a function"),
    ('{"EventId":13,"LogLevel":"Error","Message":"An exception","Exception":"System.MissingMethodException: Method not found"}', "MissingMethodException", "Method not found"),
    ('{"message":"boom","level":400,"level_name":"ERROR"}', "ERROR", "boom"),
    ('{"version":"1.1","short_message":"boom","level":3}', "ERROR", "boom"),
    ('{"level":"ERROR","fields":{"message":"request failed","error":"index out of bounds"},"target":"web"}', "ERROR", "request failed: index out of bounds"),
    ("[02:50:00 ERR] System.MissingMethodException: Method not found", "MissingMethodException", "Method not found"),
    ('2:50AM ERR request failed error="x is nil"', "ERROR", 'request failed error="x is nil"'),
    ("2026-03-04 02:50:00 | error | boom", "ERROR", "boom"),
    ("E260304 02:50:00.123456 1 server.go:88] boom", "ERROR", "boom"),
    ("2026/03/04 02:50:00 [alert] 31#31: 768 worker_connections are not enough", "[alert]", "31#31: 768 worker_connections are not enough"),
    (f"fail: Kestrel.Server[13] System.MissingMethodException: {MISSING}", "MissingMethodException", MISSING),
    ('{"severity":"ERROR","textPayload":"TypeError: f() missing"}', "TypeError", "f() missing"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "kind", "text"), ERRORS)
def test_each_logger_s_error_is_read(line: str, kind: str, text: str) -> None:
    (error,) = errors_in([line])
    assert (error.type, error.text) == (kind, text)


@pytest.mark.parametrize(
    "line",
    [
        "2026-03-04 02:50:00 [warning  ] request failed", "2026-03-04 02:50:00 [info     ] served", "PHP Warning:  Undefined variable $x in /a.php",
        '{"@t":"2026-03-04T02:50:00Z","@mt":"served {Id}"}', '{"@l":"Warning","@mt":"slow","@x":"System.TimeoutException: x"}',
        '{"severity_text":"INFO","body":"served","attributes":{"http.route":"/"}}', '{"SeverityNumber":9,"Body":"served"}',
        '{"LogLevel":"Information","Message":"served"}', '{"message":"served","level":200,"level_name":"INFO"}', '{"short_message":"served","level":6}',
        '{"level":"INFO","fields":{"message":"served","error":"none"}}', "[02:50:00 INF] served", "2:50AM INF served", "2026-03-04 02:50:00 error rate is 0",
        "2026-03-04 02:50:00 errors: 0", "info: Microsoft.Hosting.Lifetime[14]", "warn: Shop.Orders[0]", "I260304 02:50:00.123456 1 server.go:88] fine",
    ],
)  # fmt: skip
def test_the_other_levels_of_the_same_loggers_are_none(line: str) -> None:
    assert list(errors_in([line])) == []


def test_a_message_of_net_s_console_stands_below_its_head_and_its_exception_below_that() -> None:
    log = f"""fail: Shop.Web.Orders[0]
      => SpanId:1, TraceId:2
      Request failed
      System.MissingMethodException: {MISSING}
         at Shop.A.B()
info: Shop.Web.Orders[1]
      Served System.Exception: of another line
fail: Shop.Web.Orders[0]
      order.ToDto is broken
"""
    first, second = errors_in(log.splitlines())
    assert (first.type, first.text, first.chain) == ("MissingMethodException", MISSING, ("Request failed",))
    assert (second.type, second.text) == ("fail", "order.ToDto is broken")


def test_a_serilog_record_tells_its_time() -> None:
    assert first_time('{"@t":"2026-03-04T02:50:00Z","@mt":"served"}') is not None
