"""What log lines are about: a corpus of lines with their right nature, and the kinds of misreading that it keeps out."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.accusing import Sign
from remediations.evidence.error_lines import errors_in
from remediations.evidence.error_words import ErrorKind, Nature
from remediations.evidence.last_words import heard
from remediations.evidence.natures import kind_of, nature_of, own_answer

CORPUS = Path(__file__).parents[2] / "data" / "log_lines.txt"


class Line(NamedTuple):
    """One entry of the corpus."""

    number: int
    nature: str
    whose: str
    text: str


def corpus() -> list[Line]:
    lines = []
    for number, line in enumerate(CORPUS.read_text(encoding="utf-8").splitlines(), 1):
        if line and not line.startswith("#"):
            nature, whose, text = line.split(" ", 2)
            text = "\\".join(part.replace("\\n", "\n") for part in text.split("\\\\"))
            lines.append(Line(number, nature, whose, text))
    return lines


def read(text: str) -> tuple[str, str]:
    """As the handlers read it: the last error's nature, and whether the fatal line speaks of something else."""
    errors = list(errors_in(text.splitlines()))
    whose = "others" if heard(text).sign is Sign.OTHERS else "own"
    return errors[-1].judged[1].value if errors else "-", whose


def test_the_corpus_is_large_and_has_every_nature() -> None:
    lines = corpus()
    assert len(lines) >= 300
    assert {line.nature for line in lines} == {"-", *Nature}
    assert {line.whose for line in lines} == {"own", "others"}


def test_every_line_of_the_corpus_is_read_right() -> None:
    """One test for all of them: what is read wrong is listed, so that a change of a word shows all that it costs."""
    wrong = [(*line, got) for line in corpus() if (got := read(line.text)) != (line.nature, line.whose)]
    assert wrong == []


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ('INFO:     10.0.0.1:51234 - "GET /healthz HTTP/1.1" 503 Service Unavailable', 503),
        ('10.1.2.3 - - "GET /metrics HTTP/1.1" 200 503', 200),
        ('2026/03/04 03:00:00 "GET http://10.0.0.7:8080/ HTTP/1.1" from 10.0.0.1:4123 - 404 19B in 1ms', 404),
        ("Request finished HTTP/1.1 GET http://10.0.0.7:8080/healthz - 503 - - 1.2ms", 503),
        ("I, [..]  INFO -- : Completed 401 Unauthorized in 2ms (Views: 0.2ms)", 401),
        ("level=info method=GET path=/healthz status=503", 503),
        ('HTTP Request: POST https://api.pay.test/v1 "HTTP/1.1 503 Service Unavailable"', None),
        ('https://api.pay.test:443 "POST /v1/charges HTTP/1.1" 503 None', None),
        ('[2026-03-04] "POST /v1 HTTP/1.1" 503 UF outbound|443||api.pay.test', None),
        ("GET /orders/503 took 504 ms", None),
        ("method=GET status=503", None),
        ("status=503 url=https://api.pay.test/v1 method=GET", None),
    ],
)
def test_an_access_log_is_our_own_servers_answer_and_a_clients_log_is_not(
    line: str, status: int | None
) -> None:
    assert own_answer(line) == status


@pytest.mark.parametrize(
    ("place", "counts"),
    [
        ("503 Service Unavailable from billing", True),
        ("HTTP/1.1 503", True),
        ("status=503", True),
        ("status code: 503", True),
        ("answered 503", True),
        ("failed with 503.", True),
        ("code=503", True),
        ("index.js:503", False),
        ("cart.go:503: sku", False),
        ("line 503", False),
        ("returned 503 rows", False),
        ("503 ms", False),
        ("order 503", False),
        ("v1.503.0", False),
        ("took 503.5", False),
        ("id=503", False),
        ("unknown status code 503", False),
    ],
)
def test_a_number_is_a_status_only_where_a_status_stands(place: str, counts: bool) -> None:
    assert (nature_of("", f"cart: {place}") is not Nature.CODE) is counts


@pytest.mark.parametrize(
    ("type_", "kind"),
    [
        ("KeyError: 'x'", ErrorKind.CODE),
        ("psycopg2.errors.UndefinedColumn: column", ErrorKind.CODE),
        ("App\\Db\\ConnectionError: gone", ErrorKind.DEPENDENCY),
        ("PG::ConnectionBad: gone", ErrorKind.DEPENDENCY),
        ("feign.FeignException$BadGateway: [502]", ErrorKind.CLIENT),
        ("job 7 failed: NullPointerException: x", ErrorKind.CODE),
        ("no type: at all", ErrorKind.UNKNOWN),
    ],
)
def test_the_type_of_an_exception_is_found_where_it_stands(type_: str, kind: ErrorKind) -> None:
    assert kind_of(type_) is kind


@given(st.text(max_size=300))
def test_no_text_makes_the_judgement_fail(text: str) -> None:
    assert nature_of("", text) in Nature
    assert heard(text).sign in Sign


@pytest.mark.parametrize("piece", ["aA.", "a/", "'a b' ", "GET /", "x.y:1 ", "connection is ", "method=GET "])
def test_a_very_long_line_is_judged_in_a_moment(piece: str) -> None:
    assert nature_of("", piece * 50_000) in Nature
    own_answer(piece * 50_000)


@pytest.mark.parametrize(
    ("said", "host"),
    [
        ('FATAL: could not connect to server: Connection refused\nIs the server running on host "postgres" and accepting connections?', "postgres"),
        ('OperationalError: could not connect to server: Connection refused\n\tIs the server running on host "db" (10.0.0.3) and', "db"),
        ("Error: connect ETIMEDOUT 34.1.2.3:443 (api.stripe.com)\nfatal: cannot fetch keys, exiting", "api.stripe.com"),
        ("connecting to amqp://jobs:x@rabbit/jobs\nERROR connection refused\ngiving up", "rabbit"),
        ("INFO dialing host=orders-db.prod.svc port=5432\nERROR connection refused", "orders-db.prod.svc"),
        ('{"level":"info","msg":"pool","host":"orders-db.prod.svc","port":5432}\nERROR connection refused', "orders-db.prod.svc"),
        ("connecting to orders-db.prod.svc port 5432\nERROR connection refused", "orders-db.prod.svc"),
        ("connecting to orders-db on port 5432\nERROR connection refused", "orders-db"),
        ('{"level":"info","msg":"start","hostname":"web-7d9f-abcde","pid":1}\nERROR connection refused', ""),
        ("INFO start host=web-7d9f-abcde pid=1\nERROR connection refused", ""),
        ("server listening on 10.1.1.1:8080\nERROR connection refused", ""),
        ("  at start (main.go:120)\nERROR connection refused", ""),
        ("ERROR lookup redis.shop: no such host\nsee metrics:9090", ""),
    ],
)  # fmt: skip
def test_who_did_not_answer_is_named_from_the_lines_around(said: str, host: str) -> None:
    words = heard(said)
    assert words.sign is Sign.OTHERS
    assert words.shown.endswith(f"(host {host})") if host else "(host" not in words.shown
    assert host in words.text
