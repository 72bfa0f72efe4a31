"""One handshake: the certificate that a server shows to a name, and why there is none, over the network and simulated."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from app.domain.certificate import of_pem
from app.domain.errors import BadInput
from app.domain.http_check import HttpAddress, HttpChecks
from app.domain.target import Kind
from app.observe import http_check
from app.observe.http_check import HttpxChecks
from app.observe.system import SystemClock
from app.sim import SimCluster, VirtualClock, load_scenario
from tests.contract.cache.certificates import issued
from tests.doubles.listening import listening

NAME = "langgraph.example.test"


@asynccontextmanager
async def server(folder: Path | None) -> AsyncIterator[HttpAddress]:
    """A TLS server with the certificate of the folder, or one that says nothing and takes no handshake."""
    context = None
    if folder is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "server.pem", folder / "server.key")

    async def hold(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async with listening(hold, context) as port:
        yield HttpAddress("rag7", "gateway", "127.0.0.1", port, "/")


async def test_the_serial_number_of_what_is_served_is_told_and_no_trust_is_judged(tmp_path: Path) -> None:
    issued(tmp_path)
    checks: HttpChecks = HttpxChecks(SystemClock())
    async with server(tmp_path) as address:
        found = await checks.certificate(address, NAME)
    assert found.certificate == of_pem((tmp_path / "server.pem").read_bytes())


async def test_the_simulated_service_serves_what_its_pods_mount() -> None:
    cluster = SimCluster(VirtualClock(), load_scenario("certificate-renewal"))
    checks: HttpChecks = cluster.http
    found = await checks.certificate(HttpAddress("rag7", "langgraph-gateway", "10.96.7.43", 443, "/"), NAME)
    secret = cluster.peek(Kind.SECRET, "rag7", "langgraph-tls")
    assert secret is not None
    assert found.certificate is not None
    gone = await checks.certificate(HttpAddress("rag7", "other", "10.96.7.44", 443, "/"), NAME)
    assert (gone.certificate, gone.fault) == (None, "no connection")


async def test_no_handshake_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checks = HttpxChecks(SystemClock())
    async with server(None) as silent:
        pass
    assert (await checks.certificate(silent, NAME)).fault == "no connection"
    monkeypatch.setattr(http_check, "TIMEOUT", 0.2)
    async with server(None) as silent:
        assert (await checks.certificate(silent, NAME)).fault == "no handshake within 0.2 s"

    async def nonsense(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH\r\n" * 10)

    async with listening(nonsense) as port:
        found = await checks.certificate(HttpAddress("rag7", "gateway", "127.0.0.1", port, "/"), NAME)
    assert (found.certificate, found.fault) == (None, "no TLS")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"-----BEGIN CERTIFICATE-----\nc2VjcmV0\n-----END CERTIFICATE-----\n",
        b"-----BEGIN PRIVATE KEY-----",
    ],
)
def test_what_is_no_certificate_is_refused_without_being_quoted(data: bytes) -> None:
    with pytest.raises(BadInput) as caught:
        of_pem(data)
    assert "c2VjcmV0" not in str(caught.value)
