"""What a load balancer before the API server sets in an answer is no part of the next request."""

from __future__ import annotations

from aiohttp import web

from tests.unit.kube.test_client import D, Server


async def test_a_cookie_of_an_answer_is_not_sent_back() -> None:
    async def sticky(_request: web.Request) -> web.StreamResponse:
        answer = web.json_response({"kind": "Deployment"})
        answer.set_cookie("route", "node-1")
        return answer

    server = Server(sticky, sticky)
    async with server.cluster() as cluster:
        # A jar never keeps what an address sets, only what a name does.
        server.configuration.host = server.configuration.host.replace("127.0.0.1", "localhost")
        await cluster.get(*D)
        await cluster.get(*D)
    assert [dict(request.cookies) for request in server.seen] == [{}, {}]
