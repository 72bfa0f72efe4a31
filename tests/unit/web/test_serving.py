"""The service as it is served: the guards of connections are in force on its own listener, and its tasks run."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest
from sqlalchemy import Connection

from app.domain.events import EventKind
from app.main import Service
from app.observe.system import SystemClock
from app.serving import serving
from app.settings import load_settings
from app.sim import AcceleratedClock, SimCluster, load_scenario
from app.store import last_policy
from app.store.tx import Tx
from app.web.connections import ConnectionLimits
from tests.unit.served import POLICIES, TOKEN, TOKENS, parts_on

PATIENCE = 10.0  # seconds on the wall after which something counts as never happening
LIMITS = ConnectionLimits(head_seconds=0.2, head_bytes=4096)
SPEED = 600.0
Running = tuple[Service, httpx.URL, Path]


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    """A service on loopback with short limits, and the folder of its policy."""
    policies = tmp_path / "policies"
    await asyncio.to_thread(shutil.copytree, POLICIES, policies)
    settings = load_settings(
        state_dir=tmp_path / "state", policy_dir=policies, cluster="simulated", port=0, tokens=TOKENS
    )
    clock = AcceleratedClock(SystemClock(), SPEED)
    parts = parts_on(SimCluster(clock, load_scenario("high-error-rate")), clock, SPEED)
    async with serving(settings, parts, limits=LIMITS) as (service, url):
        yield service, httpx.URL(url), policies


async def _answer(url: httpx.URL, sent: bytes) -> bytes:
    """All that comes back until the other side closes the connection."""
    reader, writer = await asyncio.open_connection(url.host, url.port)
    try:
        writer.write(sent)
        async with asyncio.timeout(PATIENCE):
            return await reader.read()
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def test_a_head_that_does_not_end_ends_its_connection(running: Running) -> None:
    assert await _answer(running[1], b"GET /healthz HTTP/1.1\r\nX-Slow: a") == b""


async def test_a_head_beyond_the_limit_is_refused(running: Running) -> None:
    long = b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 8_192
    assert (await _answer(running[1], long)).startswith(b"HTTP/1.1 431 ")


async def test_no_answer_names_the_server_and_no_handshake_is_answered(running: Running) -> None:
    upgrade = (
        b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    answer = (await _answer(running[1], upgrade)).lower()
    assert answer.startswith(b"http/1.1 200 ")
    assert b"server:" not in answer
    assert b"uvicorn" not in answer


async def test_a_policy_that_is_changed_comes_into_force_without_a_restart(running: Running) -> None:
    service, url, policies = running
    file = policies / "rag7.yaml"
    text = await asyncio.to_thread(file.read_text, "utf-8")
    await asyncio.to_thread(file.write_text, text.replace("name: errors", "name: renamed"), "utf-8")
    names = {r.name for r in service.services.policy().rules}
    async with httpx.AsyncClient(
        timeout=60, base_url=url, headers={"authorization": f"Bearer {TOKEN}"}
    ) as http:
        async with asyncio.timeout(PATIENCE):
            while {r.name for r in service.services.policy().rules} == names:  # noqa: ASYNC110 - the watcher tells nobody
                await asyncio.sleep(0.05)
        told = (await http.get("/api/v1/policies")).json()
    assert "renamed" in str(told)


async def test_readyz_names_a_task_that_fails(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    service, url, _ = running

    async def fails(*_: object) -> int:
        raise RuntimeError("no round of it ends")

    monkeypatch.setattr(service.keeper, "look", fails)
    async with httpx.AsyncClient(base_url=url, timeout=60) as http, asyncio.timeout(PATIENCE):
        told = ""
        while "policy" not in told or "RuntimeError" not in told:
            await asyncio.sleep(0.05)
            told = (await http.get("/readyz")).text


async def test_a_start_with_a_faulty_policy_serves_with_the_last_good_one_and_says_so(tmp_path: Path) -> None:
    policies = tmp_path / "policies"
    await asyncio.to_thread(shutil.copytree, POLICIES, policies)
    settings = load_settings(
        state_dir=tmp_path / "state", policy_dir=policies, cluster="simulated", port=0, tokens=TOKENS
    )
    versions = []
    for faulty in (False, True):
        if faulty:
            await asyncio.to_thread((policies / "zz.yaml").write_text, "version: 1\nrules: {\n", "utf-8")
        clock = AcceleratedClock(SystemClock(), SPEED)
        parts = parts_on(SimCluster(clock, load_scenario("high-error-rate")), clock, SPEED)
        async with (
            serving(settings, parts, limits=LIMITS) as (service, url),
            httpx.AsyncClient(timeout=60) as http,
        ):
            versions.append(service.services.policy().version)
            async with asyncio.timeout(PATIENCE):
                while not await service.services.store.read(_kept(service)):  # noqa: ASYNC110 - the watcher tells nobody
                    await asyncio.sleep(0.02)
            ready = (await http.get(f"{url}/readyz")).json()
    assert versions[0] == versions[1]
    assert ready["ready"]
    assert "the policy files were refused" in ready["degraded"]["policy"]


def _kept(service: Service) -> Callable[[Connection], bool]:
    key = service.services.store.vault.key
    return lambda conn: last_policy.find(conn, key) is not None


async def test_a_person_who_is_needed_is_counted(running: Running) -> None:
    """From the audit trail, whoever writes the record."""
    service, url, _ = running

    def needed(tx: Tx) -> None:
        tx.audit(EventKind.ESCALATED, incident_id="inc_1")
        tx.audit(EventKind.ESCALATED, incident_id="inc_1", run_id="run_1")

    await service.services.store.write(needed)
    async with httpx.AsyncClient(timeout=60, headers={"Authorization": f"Bearer {TOKEN}"}) as client:
        told = (await client.get(url.join("/metrics"))).text
    for by in ("decision", "run"):
        assert f'remediator_escalations_total{{by="{by}"}} 1.0' in told
