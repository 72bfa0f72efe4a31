"""The header `Host`, which tells what was asked: RFC 9112, 3.2."""

from __future__ import annotations

import pytest

from app.web.callers import says_where
from tests.unit.web.rig import Rig, problem_of

_WRONG_HOSTS = [
    "",
    " ",
    "a b",
    "a@b",
    "[::1",
    "[::1].evil",
    "[1.2.3.4]",
    "a:99999",
    "localhost:80:80",
    "a/b",
    "\xe4",
    "x" * 256,
]


@pytest.mark.parametrize("host", _WRONG_HOSTS)
async def test_a_host_that_is_none_is_refused_whoever_asks_for_whatever(
    rig: Rig, open_rig: Rig, host: str
) -> None:
    for path in ("/login", "/healthz", "/api/v1/runs", "/nowhere"):
        for any_rig, scopes in ((rig, ("read",)), (open_rig, ())):
            async with any_rig.client(*scopes) as client:
                given = {"host": host.encode("latin-1")}
                problem_of(await client.get(path, headers=given), 400, "bad_host")  # type: ignore[arg-type]


async def test_a_host_comes_once_and_in_http_1_1_always(rig: Rig) -> None:
    def asked(version: str, *hosts: bytes) -> bool:
        return says_where({"http_version": version, "headers": [(b"host", host) for host in hosts]})

    assert asked("1.0")
    assert not asked("1.1")
    for version in ("1.0", "1.1"):
        assert not asked(version, b"a", b"a")
        for good_one in (b"a", b"10.0.0.7:8080", b"[::1]:80", b"remediator_1.svc:", b"A.example.:443"):
            assert asked(version, good_one)
    async with rig.client("read") as client:
        twice = [("host", "a"), ("host", "a")]
        problem_of(await client.get("/healthz", headers=twice), 400, "bad_host")


@pytest.mark.parametrize(
    "host", ["LOCALHOST:8080", "127.9.9.9", "[::1]:80", "[::ffff:127.0.0.1]", "[::FFFF:7f00:1]:1"]
)
async def test_without_any_authentication_every_spelling_of_loopback_is_served(
    open_rig: Rig, host: str
) -> None:
    async with open_rig.client() as client:
        assert (await client.get("/api/v1/runs", headers={"host": host})).status_code == 200
