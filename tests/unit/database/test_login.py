"""What a Secret may say of where a database is: hosts, and no socket of the machine that asks, nor the end of a password."""

from __future__ import annotations

import pytest

from app.database.login import login_of
from app.database.redis import RedisCaches
from app.domain.cache import CacheAddress
from app.domain.database import DatabaseAddress
from app.domain.errors import ProbeUnavailable
from app.observe.system import SystemClock
from app.sim import SimCluster, VirtualClock
from tests.contract.database.sides import secret


def _at() -> DatabaseAddress:
    return DatabaseAddress(namespace="rag7", host="", port=0, database="", secret="db", url_key="url")


@pytest.mark.parametrize(
    "hosts",
    [
        *("/run", "@x", "127.0.0.1,/run", ",/run", ",", "db,", "db, /run", "db,@abstract", "db,,other"),
        *("hunter@db", "hunter%40db", "db%2Chun%40ter", "h!nter", "hun ter", "::1::", "h%C3%BCnter"),
    ],
)
def test_no_place_of_a_list_is_a_socket_of_our_own(hosts: str) -> None:
    with pytest.raises(ProbeUnavailable) as refused:
        login_of({"url": f"postgresql://web:pw@/shop?host={hosts}"}, _at())
    assert refused.value.code == "no_login"


def test_a_list_of_hosts_is_one() -> None:
    found = login_of({"url": "postgresql://web:pw@/shop?host=db-0,db-1&port=5432,5433"}, _at())
    assert (found["host"], found["port"]) == ("db-0,db-1", "5432,5433")


@pytest.mark.parametrize(
    "url",
    [
        *(
            "web:pw@hunter@db/shop",
            "web:pw@hunter:5@db/shop",
            "web:pw@hunter/5@db/shop",
            "we@hunter:pw@db/shop",
        ),
        *(
            "web:pw@hunter%40db/shop",
            "web:pw@db:hunter/shop",
            "web:pw@db:0/shop",
            "web:pw@db:5,db:99999/shop",
        ),
    ],
)
def test_promise_12_the_end_of_a_password_is_taken_for_no_host(url: str) -> None:
    """The cluster's DNS and its logs would get it."""
    with pytest.raises(ProbeUnavailable) as refused:
        login_of({"url": f"postgresql://{url}"}, _at())
    assert refused.value.code == "no_login"
    assert ("%40" in str(refused.value)) is (url.count("@") > 1)
    assert "hunter" not in str(refused.value)
    assert "hunter" not in repr(refused.value.__cause__)


@pytest.mark.parametrize(
    "url",
    ["redis://hunter#2@db/0", "redis://hunter/2@db/0", "redis://hunter?2@db/0", "redis://u:pw@h!nter/0"],
)
async def test_promise_12_the_end_of_a_password_is_taken_for_no_host_of_a_cache(url: str) -> None:
    cluster = SimCluster(VirtualClock())
    cluster.create(secret({"url": url}))
    at = CacheAddress(namespace="rag7", host="", port=0, secret="db", url_key="url")
    with pytest.raises(ProbeUnavailable) as refused:
        await RedisCaches(SystemClock()).look(cluster, at)
    assert refused.value.code == "no_login"
    assert "nter" not in str(refused.value)


@pytest.mark.parametrize(
    ("there", "host", "port"),
    [
        ("db_1.rag7.svc:5433", "db_1.rag7.svc", "5433"),
        ("[::1]:5433", "::1", "5433"),
        ("[fe80::1%25eth0]", "fe80::1%eth0", "5432"),
        ("10.0.0.1:5432,db", "10.0.0.1,db", "5432,"),
    ],
)
def test_what_a_host_can_be_is_one(there: str, host: str, port: str) -> None:
    found = login_of({"url": f"postgresql://web:p%40w@{there}/shop"}, _at())
    assert (found["host"], found["port"], found["password"]) == (host, port, "p@w")


def test_a_connection_that_waits_in_silence_is_kept_alive_for_whatever_is_between() -> None:
    """A balancer forgets it after 240 s, and both its ends wait for ever, or lose what an hour of work was for."""
    found = login_of({"url": "postgresql://web:pw@db/shop"}, _at())
    silent = int(found["keepalives_idle"])
    dead = silent + int(found["keepalives_interval"]) * int(found["keepalives_count"])
    assert (0 < silent <= 120, silent < dead <= 240) == (True, True)
