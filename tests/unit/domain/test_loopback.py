"""Which hosts are this machine: what an open service may bind, and what it may be asked as."""

from __future__ import annotations

import pytest

from app.domain.urls import is_loopback

HERE = [
    "localhost",
    "LOCALHOST",
    "127.0.0.1",
    "127.9.9.9",
    "::1",
    "0:0:0:0:0:0:0:1",
    "::ffff:127.0.0.1",
    "::FFFF:7f00:1",
]
ELSEWHERE = ["", "0.0.0.0", "::", "::1%eth0", "fe80::1%lo", "::ffff:127.0.0.1%1", "::ffff:10.0.0.7", "10.0.0.7", "localhost.evil", "127.0.0.1.evil", "127.1"]  # fmt: skip


@pytest.mark.parametrize("host", HERE)
def test_every_spelling_of_this_machine_is_it(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ELSEWHERE)
def test_what_others_can_reach_or_an_interface_alone_has_is_not(host: str) -> None:
    """Nothing but `::1` itself is loopback; with a zone it is that interface's."""
    assert not is_loopback(host)
