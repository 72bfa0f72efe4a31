"""What the doctor asks ends, whatever answers, and says what was wrong in words that say where to look."""

from __future__ import annotations

import asyncio
import socket
import sqlite3
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from app.doctor import examine, patient
from app.doctor.examine import look
from app.doctor.findings import Area, Finding, Level
from app.doctor.patient import Patient, ask
from app.domain.errors import ProbeUnavailable
from tests.unit.doctor.clinic import Clinic, admitted

URL = "https://user:geheim@there.example.org/x"


def asking(handler: Any) -> Patient:
    """A patient whose client is answered by `handler`."""
    http = httpx.AsyncClient(transport=httpx.MockTransport(handler))
    return Patient(cast("Any", None), None, cast("Any", None), http, None)


async def drip() -> AsyncIterator[bytes]:
    """A body that never ends, and never lets a time-out of one read pass."""
    while True:
        yield b" "
        await asyncio.sleep(0)


async def told(handler: Any) -> str:
    """What is said of such an answer."""
    with pytest.raises(ProbeUnavailable) as caught:
        await ask(asking(handler), "GET", URL)
    assert "geheim" not in caught.value.message
    return caught.value.message


async def test_a_peer_that_never_ends_its_answer_holds_the_doctor_no_longer_than_the_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(patient, "TIMEOUT", 0.0)
    assert await told(lambda _: httpx.Response(200, content=drip())) == "it gave no whole answer within 0 s"


async def test_an_answer_without_end_is_not_read_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patient, "LIMIT", 1024 * 1024)
    body = b"x" * (1024 * 1024 + 1)
    assert await told(lambda _: httpx.Response(200, content=body)) == "it answered with more than 1 MiB"


async def test_what_a_dead_proxy_hides_is_told_with_the_variable_that_names_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("geheim")

    for name in ("https_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "http://user:geheim@127.0.0.1:1")
    assert "through the proxy that HTTPS_PROXY names" in await told(refused)
    monkeypatch.setenv("NO_PROXY", "there.example.org")
    assert "proxy" not in await told(refused)


def failing(cause: Exception) -> Any:
    """A handler that fails as httpx does, above what the socket said."""

    def handler(_request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("failed") from cause

    return handler


def untrusted() -> ssl.SSLCertVerificationError:
    """As OpenSSL says it of a CA that it does not know."""
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_message = "unable to get local issuer certificate"
    return error


def plain() -> ssl.SSLError:
    """As OpenSSL says it of a server that answers in plain text."""
    error = ssl.SSLError(1, "wrong version number")
    error.reason = "WRONG_VERSION_NUMBER"
    return error


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        (untrusted(), "its certificate is not trusted: unable to get local issuer certificate"),
        (plain(), "it answers in plain text and the URL says https"),
        (socket.gaierror(-2, "Name or service not known"), "DNS does not know its name"),
        (OSError("refused"), "(ConnectError)"),
    ],
    ids=["unknown CA", "TLS against plain HTTP", "unknown name", "refused"],
)
async def test_what_was_wrong_below_http_is_told_as_that(cause: Exception, words: str) -> None:
    assert words in await told(failing(cause))


async def test_plain_http_against_tls_is_told_as_that() -> None:
    def handler(_request: httpx.Request) -> httpx.Response:
        raise httpx.RemoteProtocolError("illegal status line")

    assert "perhaps it wants https" in await told(handler)


async def test_a_server_in_plain_text_is_known_by_what_openssl_says_of_it(tmp_path: Path) -> None:
    async with admitted(Clinic(tmp_path)) as there:
        url = there.settings.prometheus_url.replace("http://", "https://")
        with pytest.raises(ProbeUnavailable, match="plain text and the URL says https"):
            await ask(there, "GET", url)


async def test_a_check_that_does_not_end_holds_no_other_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hanging(_patient: Patient) -> list[Finding]:
        await asyncio.Event().wait()
        return []

    async def good(_patient: Patient) -> list[Finding]:
        return []

    monkeypatch.setattr(examine, "PATIENCE", 0.0)
    monkeypatch.setattr(examine, "CHECKS", {Area.SLACK: hanging, Area.STORE: good})
    async with admitted(Clinic(tmp_path)) as there:
        found = [f for f in await look(there) if f.area in (Area.SLACK, Area.STORE)]
    assert [(f.area, f.code) for f in found] == [(Area.SLACK, "check_too_slow")]


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, {"ok": False, "error": "internal_error"}),
        (200, {"ok": False, "error": "ratelimited"}),
        (429, {"ok": False, "error": "ratelimited"}),
        (500, {"error": "oops"}),
    ],
)
async def test_a_slack_that_is_not_well_refuses_no_token(
    tmp_path: Path, status: int, body: dict[str, Any]
) -> None:
    clinic = Clinic(tmp_path)
    async with admitted(clinic) as there:

        def handler(request: httpx.Request) -> httpx.Response:
            assert request.url.path.endswith("/auth.test")
            return httpx.Response(status, json=body)

        http = httpx.AsyncClient(transport=httpx.MockTransport(handler))
        ill = Patient(there.settings, there.policy, there.clock, http, there.cluster)
        found = await examine.CHECKS[Area.SLACK](ill)
    assert [(f.level, f.code) for f in found] == [(Level.FAIL, "slack_away")]
    assert "not well" in found[0].text


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_pagerduty_that_is_not_well_refuses_no_token(tmp_path: Path, status: int) -> None:
    async with admitted(Clinic(tmp_path)) as there:
        http = httpx.AsyncClient(
            transport=httpx.MockTransport(lambda _: httpx.Response(status, json={"error": "oops"}))
        )
        ill = Patient(there.settings, there.policy, there.clock, http, there.cluster)
        found = [f for f in await examine.CHECKS[Area.PAGERDUTY](ill) if f.level is Level.FAIL]
    assert [f.code for f in found] == ["pagerduty_away"]


@pytest.mark.parametrize("area", [Area.PAGERDUTY, Area.SLACK])
@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, html="<h1>Log in</h1>"),
        httpx.Response(302, headers={"location": "https://proxy.test/login"}),
        httpx.Response(404, json={"message": "no route"}),
    ],
    ids=["a page", "a redirect", "another API"],
)
async def test_what_stands_between_refuses_no_token(
    tmp_path: Path, area: Area, answer: httpx.Response
) -> None:
    """Somebody would make a new one in vain."""
    async with admitted(Clinic(tmp_path)) as there:
        http = httpx.AsyncClient(transport=httpx.MockTransport(lambda _: answer))
        astray = Patient(there.settings, there.policy, there.clock, http, there.cluster)
        found = [f for f in await examine.CHECKS[area](astray) if f.level is Level.FAIL]
    assert [f.code for f in found] == [f"{area.value}_away"]
    assert "refuses" not in found[0].text


async def test_a_schema_of_a_newer_version_is_not_to_be_upgraded(tmp_path: Path) -> None:
    clinic = Clinic(tmp_path)
    async with admitted(clinic) as there:
        database = sqlite3.connect(tmp_path / "remediator.sqlite")
        database.execute("UPDATE alembic_version SET version_num = '9999'")
        database.commit()
        database.close()
        found = [f for f in await look(there) if f.code == "store_closed"]
    (closed,) = found
    assert closed.fix == "run the newer version again, or restore a backup from before its upgrade"
