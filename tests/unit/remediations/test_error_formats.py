"""How loggers write an error: each form is read as one, and its lines below the level of an error are not."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from app.domain.accusing import Sign
from remediations.evidence.error_lines import errors_in, first_time

NIL = "runtime error: invalid memory address or nil pointer dereference"
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
    ('{"t":{"$date":"2026-03-04T02:50:00.000+00:00"},"s":"E","c":"NETWORK","id":1,"ctx":"conn1","msg":"boom"}', "ERROR", "boom"),
    ('{"t":{"$date":"2026-03-04T02:50:00.000+00:00"},"s":"F","c":"-","msg":"boom"}', "ERROR", "boom"),
    ('{"L":"ERROR","T":"2026-03-04T02:50:00Z","M":"boom"}', "ERROR", "boom"),
    ('{"lvl":"eror","msg":"boom"}', "ERROR", "boom"),
    ("2026-03-04T02:50:00.000Z\terror\tweb/main.go:3\tboom", "ERROR", "web/main.go:3\tboom"),
    ("2026-03-04T02:50:00.123456Z ERROR web::orders: boom", "ERROR", "web::orders: boom"),
    ("[2026-03-04T02:50:00Z ERROR web::orders] boom", "ERROR", "web::orders] boom"),
    ("thread 'main' panicked at src/main.rs:3:5: index out of bounds", "panic", "index out of bounds"),
    ("02:50:00.123 [error] GenServer #PID<0.1.0> terminating", "[error]", "GenServer #PID<0.1.0> terminating"),
    ("** (UndefinedFunctionError) function Foo.bar/0 is undefined", "UndefinedFunctionError", "function Foo.bar/0 is undefined"),
    ("E 2026-03-04 02:50:00 boom", "ERROR", "boom"),
    ("2026-03-04T02:50:00.123Z F boom", "ERROR", "boom"),
    ("[E 260304 02:50:00 web:2201] boom", "ERROR", "boom"),
    ("[E] boom", "ERROR", "boom"),
    ("<3>boom", "ERROR", "boom"),
    ("<11>1 2026-03-04T02:50:00Z web app - - - boom", "ERROR", "boom"),
    ("<27>Mar  4 02:50:00 web app[1]: boom", "ERROR", "boom"),
    ("Mar  4 02:50:00 web app[1]: err: boom", "ERROR", "boom"),
    ("Mar  4 02:50:00 web user.err app[1]: boom", "ERROR", "boom"),
    ("[Wed Mar 04 02:50:00.1 2026] [proxy:error] [pid 1] boom", "ERROR", "boom"),
    ('FastCGI sent in stderr: "PHP message: PHP Fatal error:  Uncaught Error: Class not found', "PHP", "Error: Class not found"),
    ('{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"severityNumber":9},{"severityNumber":17,"body":{"stringValue":"boom"}}]}]}]}', "ERROR", "boom"),
    ('{"severityText":"ERROR","body":{"stringValue":"failed"},"attributes":[{"key":"exception.type","value":{"stringValue":"TypeError"}}]}', "TypeError", "failed"),
    ('{"severityNumber":"SEVERITY_NUMBER_ERROR","body":"boom"}', "ERROR", "boom"),
    (f"2026/03/04 02:50:00 http: panic serving 10.0.0.1:3344: {NIL}", "panic", NIL),
    (f"2026/03/04 02:50:00 http2: panic serving 10.0.0.1:3344: {NIL}", "panic", NIL),
    (f"2026/03/04 02:50:00 main.go:7: Recovered from panic: {NIL}", "panic", NIL),
    (f"2026/03/04 02:50:00 [negroni] PANIC: {NIL}", "panic", NIL),
    (f" panic: {NIL}", "panic", NIL),
    ("2026/03/04 02:50:00 error: cannot decode body", "ERROR", "cannot decode body"),
    ("2026/03/04 02:50:00 web.go:12: error: cannot decode body", "ERROR", "cannot decode body"),
    ('{"status":"error","message":"boom"}', "ERROR", "boom"),
    ('Exception in thread "http-1" java.lang.IllegalStateException: no tenant', "IllegalStateException", "no tenant"),
    ("(node:1) UnhandledPromiseRejectionWarning: TypeError: x is not a function", "TypeError", "x is not a function"),
    ("Internal Server Error: /api/orders", "ERROR", "/api/orders"),
    ("2026/03/04 02:50:00 rpc error: code = Internal desc = boom", "ERROR", "rpc error: code = Internal desc = boom"),
    ("NoMethodError (undefined method `id' for nil:NilClass):", "NoMethodError", "(undefined method `id' for nil:NilClass):"),
    ("/app/web.rb:5:in `show': undefined method `id' for nil (NoMethodError)", "NoMethodError", "undefined method `id' for nil ()"),
    (" \u2a2f TypeError: x is not a function", "TypeError", "x is not a function"),
    (" \u2a2f unhandledRejection: boom", "ERROR", "unhandledRejection: boom"),
    ("2026-03-04T02:50:00.123Z pid=1 tid=x class=Cart jid=a1 WARN: NoMethodError: undefined method `id' for nil", "NoMethodError", "undefined method `id' for nil"),
    ("2026-03-04T02:50:00.123Z 1 TID-x WARN: ActiveRecord::RecordNotFound: no cart", "ERROR", "ActiveRecord::RecordNotFound: no cart"),
    ('{"level":"dpanic","msg":"handler panicked"}', "ERROR", "handler panicked"),
    ("terminate called after throwing an instance of 'std::out_of_range'", "ERROR", "after throwing an instance of 'std::out_of_range'"),
    ('Can\'t locate object method "id" via package "Cart" at /app/x.pl line 3.', "ERROR", 'Can\'t locate object method "id" via package "Cart" at /app/x.pl line 3.'),
    ("web: Prelude.head: empty list", "ERROR", "Prelude.head: empty list"),
    ("App/x.swift:3: Fatal error: Unexpectedly found nil", "ERROR", "Fatal error: Unexpectedly found nil"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "kind", "text"), ERRORS)
def test_each_logger_s_error_is_read(line: str, kind: str, text: str) -> None:
    (error,) = errors_in([line])
    assert (error.type, error.text) == (kind, text)


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("** (FunctionClauseError) no function clause matching in Web.show/2", "FunctionClauseError"),
        ("thread 'main' panicked at src/main.rs:3:5: index out of bounds", "panic"),
        ("[Wed Mar 04 02:50:00.1 2026] [php:error] [pid 1] PHP Fatal error: Uncaught TypeError: f()", "TypeError"),
        ("[proxy:error] [pid 1] TypeError: x is not a function", "TypeError"),
        ("<11>Mar  4 02:50:00 web app[1]: TypeError: x is not a function", "TypeError"),
        ("Mar  4 02:50:00 web app[1]: err: TypeError: x is not a function", "TypeError"),
        ("2026-03-04 02:50:00 E TypeError: x is not a function", "TypeError"),
        ("2026/03/04 02:50:00 http: panic serving 10.0.0.1:3344: boom", "panic"),
        ("2026/03/04 02:50:00 error: boom", "ERROR"),
        ("2:50AM ERR boom", "ERROR"),
        ("[02:50:00 ERR] boom", "ERROR"),
        ('Exception in thread "main" java.lang.IllegalStateException: boom', "IllegalStateException"),
        ('[04-Mar-2026 02:50:00] WARNING: [pool www] child 8 said into stderr: "NOTICE: PHP message: PHP Fatal error:  Uncaught TypeError: A::f()"', "TypeError"),
        ("(node:1) UnhandledPromiseRejectionWarning: TypeError: x is not a function", "TypeError"),
        ("Internal Server Error: /api", "ERROR"),
        ("rpc error: code = Internal desc = boom", "ERROR"),
        ("NoMethodError (undefined method `id' for nil:NilClass):", "NoMethodError"),
        ("Fatal error: Unexpectedly found nil while unwrapping an Optional value", "PHP"),
        ("terminate called after throwing an instance of 'std::out_of_range'", "ERROR"),
    ],
)  # fmt: skip
def test_a_time_that_a_supervisor_writes_in_front_hides_no_error(line: str, kind: str) -> None:
    (error,) = errors_in([f"2026-03-04T02:50:01.123Z {line}"])
    assert (error.type, error.at) == (kind, datetime(2026, 3, 4, 2, 50, 1, 123000, UTC))
    (bare,) = errors_in([line])
    assert (error.type, error.text) == (bare.type, bare.text)


@pytest.mark.parametrize(
    "line",
    ["<14>Mar  4 02:50:00 web app[1]: served", "[core:notice] [pid 1] up", "2026-03-04 02:50:00 I served", "** (stop) done"],
)  # fmt: skip
def test_a_time_in_front_makes_no_error_of_what_is_none(line: str) -> None:
    assert list(errors_in([f"2026-03-04T02:50:01.123Z {line}"])) == []


@pytest.mark.parametrize(
    "line",
    [
        "2026-03-04T02:50:00.123Z pid=1 tid=x WARN: /app/x.rb:3:in `f'", "2026-03-04T02:50:00.123Z pid=1 tid=x WARN: queue is late", "Use of uninitialized value $x at /app/x.pl line 3.",
        "web: Prelude is ready", "the worker was told to terminate called off", '{"level":"warn","msg":"x"}', " \u2713 Compiled in 3 s",
        "2026-03-04 02:50:00 [warning  ] request failed", "2026-03-04 02:50:00 [info     ] served", "PHP Warning:  Undefined variable $x in /a.php",
        '{"@t":"2026-03-04T02:50:00Z","@mt":"served {Id}"}', '{"@l":"Warning","@mt":"slow","@x":"System.TimeoutException: x"}',
        '{"severity_text":"INFO","body":"served","attributes":{"http.route":"/"}}', '{"SeverityNumber":9,"Body":"served"}',
        '{"LogLevel":"Information","Message":"served"}', '{"message":"served","level":200,"level_name":"INFO"}', '{"short_message":"served","level":6}',
        '{"level":"INFO","fields":{"message":"served","error":"none"}}', "[02:50:00 INF] served", "2:50AM INF served", "2026-03-04 02:50:00 error rate is 0",
        "2026-03-04 02:50:00 errors: 0", "info: Microsoft.Hosting.Lifetime[14]", "warn: Shop.Orders[0]", "I260304 02:50:00.123456 1 server.go:88] fine",
        '{"@t":"2026-03-04T02:50:00Z","@mt":"handled {Error}","Error":"none"}', '{"@mt":"handled","Exception":"none"}',
        '{"t":{"$date":"2026-03-04T02:50:00Z"},"s":"I","c":"NETWORK","msg":"boom","error":"none"}', '{"s":"Everything","msg":"x"}', '{"L":"INFO","M":"served"}',
        "I 2026-03-04 02:50:00 served", "2026-03-04 02:50:00 W slow", "E 3 apples", "<6>served", "<4>slow", "<30>Mar  4 02:50:00 web app[1]: served",
        "Mar  4 02:50:00 web user.info app[1]: served", "[Wed Mar 04 02:50:00.1 2026] [proxy:warn] [pid 1] slow", "** retry 3 of 5",
        '{"severityText":"INFO","body":{"stringValue":"served"},"attributes":[{"key":"error","value":{"stringValue":"x"}}]}',
        '{"status":"info","message":"served","error":"none"}', '{"status":"error","level":"info","msg":"told"}', '{"status":500,"method":"GET","path":"/"}', '{"status":"ok","msg":"served"}',
        "2026/03/04 02:50:00 panicserver: started", "2026/03/04 02:50:00 INFO recovered from panic: 3 of 3 tries", "recovering from panic mode", "2026/03/04 02:50:00 [INFO] http: panic handler installed",
        "rpc error: code = NotFound desc = no such order", "rpc error: code = Canceled desc = context canceled", 'ActionController::RoutingError (No route matches [GET] "/x"):', "Internal Server Errors: 0",
        "(node:1) Warning: an experimental feature", "Exception in threads: 0", "2026/03/04 02:50:00 web.go:12: errors: 0", "served (TypeError)", "/app/web.rb:5:in `show': slow (again)", "[02:50:00 INF] panic room opened",
        '{"severityNumber":"SEVERITY_NUMBER_INFO","body":"served"}', '{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"severityNumber":9,"body":{"stringValue":"served"}}]}]}]}',
    ],
)  # fmt: skip
def test_the_other_levels_of_the_same_loggers_are_none(line: str) -> None:
    assert list(errors_in([line])) == []


@pytest.mark.parametrize("stamp", ["", "2026-03-04T02:50:00Z "])
@pytest.mark.parametrize(
    ("below", "text"),
    [
        (["** Generic server x terminating", "** Reason == {badmatch,undefined}"], "{badmatch,undefined}"),
        (["** Generic server x terminating", "** Reason for termination == ", "** {undef,[]}"], "Generic server x terminating"),
        (["** Connection attempt from node x rejected"], "Connection attempt from node x rejected"),
    ],
)  # fmt: skip
def test_what_failed_and_why_stands_below_the_head_of_a_report_of_erlang(
    stamp: str, below: list[str], text: str
) -> None:
    head = "=ERROR REPORT==== 4-Mar-2026::02:50:00.123456 ==="
    (error,) = errors_in([f"{stamp}{line}" for line in (head, *below)])
    assert (error.type, error.text) == ("ERROR", text)


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


def test_the_message_of_a_panic_of_rust_stands_below_its_head() -> None:
    log = """thread 'tokio-runtime-worker' (17) panicked at src/orders.rs:3:5:
index out of bounds: the len is 3 but the index is 7
note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace"""
    (error,) = errors_in(log.splitlines())
    assert (error.type, error.text) == ("panic", "index out of bounds: the len is 3 but the index is 7")


@pytest.mark.parametrize("stamp", ["", "2026-03-04T02:50:00Z "])
def test_the_message_of_a_panic_that_gin_caught_stands_below_its_head_and_the_request(stamp: str) -> None:
    log = f"""{stamp}2026/03/04 02:50:00 [Recovery] 2026/03/04 - 02:50:00 panic recovered:
GET /api/orders HTTP/1.1
Host: web.shop
User-Agent: curl/8.1

{NIL}
/go/src/web/orders.go:12 (0x7f)
	list: return *order.Id
"""
    (error,) = errors_in(log.splitlines())
    assert (error.type, error.text) == ("panic", NIL)


@pytest.mark.parametrize(
    ("line", "sign"),
    [
        ("http: panic serving 10.0.0.1:3344: runtime error: index out of range [3] with length 3", Sign.OWN),
        ("thread 'tokio-runtime-worker' panicked at src/main.rs:3:5:", Sign.NONE), ("http: panic serving 10.0.0.1:3344: no tenant", Sign.NONE),
        ("terminate called after throwing an instance of 'std::out_of_range'", Sign.OWN), ("terminate called after throwing an instance of 'mongo::NetworkError'", Sign.NONE),
        ("web: Prelude.head: empty list", Sign.OWN), ('Can\'t locate object method "id" via package "Cart" at /app/x.pl line 3.', Sign.OWN),
        ("panic: dial tcp 10.0.0.7:5432: connect: connection refused", Sign.OTHERS), ("ERROR no tenant", Sign.NONE),
    ],
)  # fmt: skip
def test_a_panic_accuses_whom_its_words_name_and_by_itself_nobody(line: str, sign: Sign) -> None:
    (error,) = errors_in([line])
    assert error.judged[0] is sign


@pytest.mark.parametrize(
    "line",
    ['{"t":{"$date":"2026-03-04T02:50:00Z"},"s":"E","c":"-","msg":"x"}', '{"timeUnixNano":"1772592600000000000","severityText":"ERROR","body":"x"}'],
)  # fmt: skip
def test_mongod_and_opentelemetry_tell_the_time_in_forms_of_their_own(line: str) -> None:
    found = first_time(line)
    assert found is not None
    assert found.isoformat() == "2026-03-04T02:50:00+00:00"
