"""The address that is bound: `::` is both families, a family alone stays alone."""

from __future__ import annotations

import errno
import socket
from typing import Any

import pytest

from app.serving import bind


def _takes(family: socket.AddressFamily, address: str, port: int) -> bool:
    with socket.socket(family, socket.SOCK_STREAM) as client:
        client.settimeout(5)
        try:
            client.connect((address, port))
        except OSError:
            return False
    return True


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this system has no IPv6")
def test_all_addresses_of_ipv6_are_those_of_ipv4_too() -> None:
    with bind("::", 0) as listener:
        port = listener.getsockname()[1]
        assert _takes(socket.AF_INET6, "::1", port)
        assert _takes(socket.AF_INET, "127.0.0.1", port)


def test_ipv4_alone_stays_alone() -> None:
    with bind("127.0.0.1", 0) as listener:
        assert _takes(socket.AF_INET, "127.0.0.1", listener.getsockname()[1])
        assert not _takes(socket.AF_INET6, "::1", listener.getsockname()[1])


def test_all_addresses_are_those_of_ipv4_where_the_kernel_has_no_ipv6(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = socket.socket

    def without(family: int = socket.AF_INET, *rest: Any, **more: Any) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        return made(family, *rest, **more)

    monkeypatch.setattr(socket, "socket", without)
    with bind("::", 0) as listener:
        assert listener.getsockname()[0] == "0.0.0.0"
