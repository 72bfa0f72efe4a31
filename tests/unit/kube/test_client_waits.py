"""What the client does about an API server that limits requests."""

from __future__ import annotations

import pytest
from aiohttp import web

from app.domain.errors import ClusterThrottled
from tests.unit.kube.test_client import D, Server


async def test_a_throttled_read_waits_as_long_as_it_is_told_and_a_write_is_not_sent_again() -> None:
    async def busy(_request: web.Request) -> web.StreamResponse:
        return web.json_response({"kind": "Status"}, status=429, headers={"Retry-After": "4"})

    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    server = Server(busy, busy, (200, {"kind": "Deployment"}), busy, busy, busy, busy)
    async with server.cluster(sleep=sleep) as cluster:
        assert (await cluster.get(*D))["kind"] == "Deployment"
        assert waits == [4.0, 4.0]
        with pytest.raises(ClusterThrottled):  # the third one would be more than a look may wait
            await cluster.get(*D)
        assert waits == [4.0] * 4
        with pytest.raises(ClusterThrottled):
            await cluster.patch(*D, [])
    assert (waits, server.script) == ([4.0] * 4, [])
