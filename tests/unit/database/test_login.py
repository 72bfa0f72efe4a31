"""What a Secret may say of where a database is: hosts, and no socket of the machine that asks."""

from __future__ import annotations

import pytest

from app.database.login import login_of
from app.domain.database import DatabaseAddress
from app.domain.errors import ProbeUnavailable


def _at() -> DatabaseAddress:
    return DatabaseAddress(namespace="rag7", host="", port=0, database="", secret="db", url_key="url")


@pytest.mark.parametrize(
    "hosts",
    ["/run", "@x", "127.0.0.1,/run", ",/run", ",", "db,", "db, /run", "db,@abstract", "db,,other"],
)
def test_no_place_of_a_list_is_a_socket_of_our_own(hosts: str) -> None:
    with pytest.raises(ProbeUnavailable) as refused:
        login_of({"url": f"postgresql://web:pw@/shop?host={hosts}"}, _at())
    assert refused.value.code == "no_login"


def test_a_list_of_hosts_is_one() -> None:
    found = login_of({"url": "postgresql://web:pw@/shop?host=db-0,db-1&port=5432,5433"}, _at())
    assert (found["host"], found["port"]) == ("db-0,db-1", "5432,5433")
