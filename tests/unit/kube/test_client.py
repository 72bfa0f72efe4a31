"""The real client against a server on loopback: what it sends, and what it makes of answers and of silence."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes.aio.client import Configuration

from app.domain.cluster import LogQuery
from app.domain.errors import (
    BadInput,
    ClusterUnavailable,
    DisruptionBlocked,
    ObjectChanged,
    ObjectInvalid,
    OutcomeUnclear,
    ProbeUnavailable,
)
from app.domain.target import Kind
from app.kube.client import KubeCluster, Sleep

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
D = (Kind.DEPLOYMENT, "rag7", "web")


class Server:
    """Answers in order from a script of (status, body) or handlers, and keeps the requests."""

    def __init__(self, *script: tuple[int, Any] | Handler) -> None:
        self.script = list(script)
        self.seen: list[web.Request] = []
        self.bodies: list[Any] = []
        self.observed: list[tuple[str, str, str]] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(request)
        data = await request.read()
        self.bodies.append(json.loads(data) if data else None)
        step = self.script.pop(0)
        if not isinstance(step, tuple):
            return await step(request)
        status, body = step
        if isinstance(body, bytes):
            return web.Response(status=status, body=body)
        return web.json_response(body, status=status)

    @asynccontextmanager
    async def cluster(
        self, renew: Callable[[], Awaitable[None]] | None = None, sleep: Sleep = asyncio.sleep
    ) -> AsyncIterator[KubeCluster]:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.handle)
        server = TestServer(app)
        await server.start_server()
        configuration = Configuration(host=str(server.make_url("")).rstrip("/"))
        configuration.api_key["BearerToken"] = "Bearer first"
        self.configuration = configuration

        def observe(verb: str, resource: str, outcome: str, seconds: float) -> None:
            assert seconds >= 0
            self.observed.append((verb, resource, outcome))

        cluster = KubeCluster(configuration, "test", renew=renew, observer=observe, sleep=sleep)
        try:
            yield cluster
        finally:
            await cluster.close()
            await server.close()


async def _cut(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def test_requests_carry_our_name_and_token_and_give_plain_manifests() -> None:
    manifest = {"kind": "Deployment", "metadata": {"name": "web"}, "spec": {"brandNewField": None}}
    server = Server((200, manifest))
    async with server.cluster() as cluster:
        assert await cluster.get(*D) == manifest
    (request,) = server.seen
    assert (request.method, request.path) == ("GET", "/apis/apps/v1/namespaces/rag7/deployments/web")
    assert request.headers["User-Agent"] == "alert-remediator"
    assert request.headers["Authorization"] == "Bearer first"
    assert server.observed == [("get", "deployments.apps", "200")]


async def test_all_pages_of_a_list_are_read() -> None:
    pages = [{"items": [{"n": 1}], "metadata": {"continue": "a=b&c"}}, {"items": [{"n": 2}], "metadata": {}}]
    server = Server((200, pages[0]), (200, pages[1]))
    async with server.cluster() as cluster:
        found = await cluster.list_objects(Kind.POD, "rag7", "app in (a,b),x!=y", "status.phase=Running")
    assert found == [{"n": 1}, {"n": 2}]
    first, second = (r.query for r in server.seen)
    assert (first["labelSelector"], first["fieldSelector"], first["limit"]) == (
        "app in (a,b),x!=y",
        "status.phase=Running",
        "500",
    )
    assert ("continue" in first, second["continue"]) == (False, "a=b&c")


async def test_a_list_that_expires_is_read_again_once() -> None:
    page = {"items": [{"n": 1}], "metadata": {"continue": "x"}}
    gone = {"kind": "Status", "reason": "Expired"}
    server = Server((200, page), (410, gone), (200, {"items": [{"n": 2}]}))
    async with server.cluster() as cluster:
        assert await cluster.list_objects(Kind.POD, "rag7") == [{"n": 2}]
    server = Server((200, page), (410, gone), (200, page), (410, gone))
    async with server.cluster() as cluster:
        with pytest.raises(ClusterUnavailable):
            await cluster.list_objects(Kind.POD, "rag7")


@pytest.mark.parametrize("dry_run", [True, False])
async def test_a_patch_is_a_strict_json_patch_under_our_field_manager(dry_run: bool) -> None:
    server = Server((200, {"kind": "Deployment"}))
    ops = [{"op": "replace", "path": "/spec/replicas", "value": 5}]
    async with server.cluster() as cluster:
        await cluster.patch(*D, ops, dry_run=dry_run)
    (request,) = server.seen
    assert (request.method, request.content_type) == ("PATCH", "application/json-patch+json")
    expected = {"fieldManager": "alert-remediator", "fieldValidation": "Strict", "timeout": "15s"}
    assert dict(request.query) == ({**expected, "dryRun": "All"} if dry_run else expected)
    assert server.bodies == [ops]


@pytest.mark.parametrize("dry_run", [True, False])
async def test_pods_are_removed_by_uid(dry_run: bool) -> None:
    server = Server((200, {"kind": "Pod"}), (201, {"kind": "Status", "status": "Success"}))
    async with server.cluster() as cluster:
        await cluster.delete_pod("rag7", "web-1", "uid-1", dry_run=dry_run)
        await cluster.evict_pod("rag7", "web-1", "uid-1", dry_run=dry_run)
    options = {"preconditions": {"uid": "uid-1"}, **({"dryRun": ["All"]} if dry_run else {})}
    deletion, eviction = server.bodies
    assert deletion == {"apiVersion": "v1", "kind": "DeleteOptions", **options}
    assert (eviction["kind"], eviction["metadata"]["name"], eviction["deleteOptions"]) == (
        "Eviction",
        "web-1",
        options,
    )
    assert [r.path.rpartition("/")[2] for r in server.seen] == ["web-1", "eviction"]


async def test_an_eviction_that_fails_with_201_has_failed() -> None:
    text = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
    server = Server((201, {"kind": "Status", "status": "Failure", "message": text, "code": 500}))
    async with server.cluster() as cluster:
        with pytest.raises(DisruptionBlocked, match="more than one"):
            await cluster.evict_pod("rag7", "web-1", "uid-1")


@pytest.mark.parametrize("verb", ["patch", "delete", "evict"])
@pytest.mark.parametrize(
    ("status", "body"), [(500, b"<html>"), (503, {"kind": "Status"}), (200, b"not json")]
)
async def test_a_write_with_a_useless_answer_is_unclear_and_sent_once(
    verb: str, status: int, body: Any
) -> None:
    server = Server((status, body))
    async with server.cluster() as cluster:
        with pytest.raises(OutcomeUnclear):
            await _write(cluster, verb)
    assert len(server.seen) == 1


@pytest.mark.parametrize("verb", ["patch", "delete", "evict"])
async def test_a_write_whose_connection_breaks_is_unclear(verb: str) -> None:
    server = Server(_cut)
    async with server.cluster() as cluster:
        with pytest.raises(OutcomeUnclear, match="connection failed"):
            await _write(cluster, verb)
    assert len(server.seen) == 1
    assert server.observed[0][2] == "error"


async def test_a_read_over_a_closed_connection_is_made_again_once() -> None:
    server = Server(_cut, (200, {"kind": "Deployment"}), _cut, _cut)
    async with server.cluster() as cluster:
        assert await cluster.get(*D) == {"kind": "Deployment"}
        with pytest.raises(ClusterUnavailable, match="connection failed"):
            await cluster.get(*D)
    assert len(server.seen) == 4


async def _write(cluster: KubeCluster, verb: str, *, dry_run: bool = False) -> None:
    match verb:
        case "patch":
            await cluster.patch(*D, [], dry_run=dry_run)
        case "delete":
            await cluster.delete_pod("rag7", "web-1", "uid-1", dry_run=dry_run)
        case _:
            await cluster.evict_pod("rag7", "web-1", "uid-1", dry_run=dry_run)


@pytest.mark.parametrize("verb", ["patch", "delete", "evict"])
async def test_a_dry_run_without_an_answer_is_merely_unavailable(verb: str) -> None:
    async with Server(_cut).cluster() as cluster:
        with pytest.raises(ClusterUnavailable):
            await _write(cluster, verb, dry_run=True)


async def test_a_write_that_times_out_is_unclear_and_a_read_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    done = asyncio.Event()

    async def silence(_: web.Request) -> web.StreamResponse:
        await done.wait()
        return web.Response()

    monkeypatch.setattr("app.kube.client.WRITE_SECONDS", -0.95)
    monkeypatch.setattr("app.kube.client.READ_SECONDS", 0.05)
    async with Server(silence, silence).cluster() as cluster:
        with pytest.raises(OutcomeUnclear, match="timed out"):
            await cluster.patch(*D, [])
        with pytest.raises(ClusterUnavailable, match="timed out"):
            await cluster.get(*D)
        done.set()


async def test_a_server_that_does_not_listen_got_nothing() -> None:
    configuration = Configuration(host="http://127.0.0.1:9")
    cluster = KubeCluster(configuration, "test")
    with pytest.raises(ClusterUnavailable, match="connection failed"):
        await cluster.patch(*D, [])
    await cluster.close()


async def test_run_out_credentials_are_renewed_once_even_for_a_write() -> None:
    server = Server((401, {"kind": "Status"}), (200, {"kind": "Deployment"}), (401, {}), (401, {}))

    async def renew() -> None:
        server.configuration.api_key["BearerToken"] = "Bearer second"

    async with server.cluster(renew) as cluster:
        await cluster.patch(*D, [])
        assert [r.headers["Authorization"] for r in server.seen] == ["Bearer first", "Bearer second"]
        # Nothing was done, and tokens rotate: what is refused now may be tried again.
        with pytest.raises(ClusterUnavailable, match="does not accept our credentials"):
            await cluster.patch(*D, [])
    assert not server.script


async def test_credentials_that_cannot_be_renewed_leave_everything_undone() -> None:
    async def renew() -> None:
        raise OSError("no such plugin, token=abc")

    async with Server((401, {})).cluster(renew) as cluster:
        with pytest.raises(ClusterUnavailable) as caught:
            await cluster.patch(*D, [])
    assert "token" not in str(caught.value)


async def test_an_event_that_exists_is_there_and_another_conflict_is_not() -> None:
    event = {"metadata": {"name": "e", "namespace": "rag7"}}
    exists = {"kind": "Status", "reason": "AlreadyExists"}
    server = Server((201, {}), (409, exists), (409, {"kind": "Status", "reason": "Conflict"}))
    async with server.cluster() as cluster:
        await cluster.create_event(event)
        await cluster.create_event(event)
        with pytest.raises(ObjectChanged):
            await cluster.create_event(event)
    assert server.seen[0].path == "/apis/events.k8s.io/v1/namespaces/rag7/events"


async def test_logs_survive_bad_utf8_and_are_bounded() -> None:
    server = Server((200, b"ok \xff\xfe\nnext"))
    query = LogQuery("rag7", "web-1", "app", since_seconds=300, tail_lines=7, limit_bytes=99)
    async with server.cluster() as cluster:
        assert await cluster.logs(query) == "ok \ufffd\ufffd\nnext"
    assert dict(server.seen[0].query) == {
        "container": "app",
        "sinceSeconds": "300",
        "tailLines": "7",
        "limitBytes": "99",
    }


@pytest.mark.parametrize(
    "message",
    [
        'previous terminated container "app" in pod "web-1" not found',
        'container "app" in pod "web-1" is waiting to start: CrashLoopBackOff',
    ],
)
async def test_a_container_without_a_log_has_an_empty_one(message: str) -> None:
    server = Server(
        (400, {"kind": "Status", "message": message}),
        (400, {"kind": "Status", "message": "no such container"}),
    )
    query = LogQuery("rag7", "web-1", "app", previous=True)
    async with server.cluster() as cluster:
        assert await cluster.logs(query) == ""
        with pytest.raises(ObjectInvalid, match="no such container"):
            await cluster.logs(query)
    assert server.seen[0].query["previous"] == "true"


async def test_pod_usage_is_read_or_said_to_be_unavailable() -> None:
    usage = {
        "metadata": {"name": "web-1"},
        "timestamp": "2026-03-04T03:00:00Z",
        "containers": [{"name": "app", "usage": {"cpu": "250m", "memory": "64Mi"}}],
    }
    server = Server((200, {"items": [usage]}), (404, b"404 page not found"), (503, {}), (403, {}))
    async with server.cluster() as cluster:
        (found,) = await cluster.pod_usage("rag7", "app=web")
        assert (found.pod, found.total_memory, found.cpu) == ("web-1", 64 * 1024**2, {"app": 250})
        for _ in range(3):
            with pytest.raises(ProbeUnavailable):
                await cluster.pod_usage("rag7", "app=web")


@pytest.mark.parametrize(
    ("answer", "allowed"),
    [({"status": {"allowed": True}}, True), ({"status": {"allowed": False}}, False), ({}, False)],
)
async def test_permissions_are_asked_for_by_verb_and_subresource(answer: Any, allowed: bool) -> None:
    server = Server((201, answer))
    async with server.cluster() as cluster:
        assert await cluster.can_i("create", Kind.POD, "rag7", "eviction") is allowed
    assert server.bodies[0]["spec"]["resourceAttributes"] == {
        "verb": "create",
        "group": "",
        "resource": "pods",
        "subresource": "eviction",
        "namespace": "rag7",
    }


def _kubeconfig(path: Path, server: str, token: str) -> Path:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "main",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "contexts": [{"name": "main", "context": {"cluster": "c", "user": "u"}}],
        "users": [{"name": "u", "user": {"token": token}}],
    }
    path.write_text(json.dumps(config))
    return path


async def test_a_kubeconfig_names_the_cluster_by_its_context_and_is_read_again_on_401(tmp_path: Path) -> None:
    server = Server((401, {}), (200, {"kind": "Deployment"}))
    async with server.cluster():
        url = server.configuration.host
        path = _kubeconfig(tmp_path / "config", url, "old")
        cluster = await KubeCluster.from_kubeconfig(str(path))
        assert cluster.name == "main"
        _kubeconfig(path, url, "new")
        await cluster.get(*D)
        await cluster.close()
    assert [r.headers["Authorization"] for r in server.seen] == ["Bearer old", "Bearer new"]


async def test_an_unusable_kubeconfig_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no usable kubeconfig"):
        await KubeCluster.from_kubeconfig(str(tmp_path / "nothing"))
    path = _kubeconfig(tmp_path / "config", "http://127.0.0.1:9", "t")
    with pytest.raises(BadInput, match="no usable kubeconfig"):
        await KubeCluster.from_kubeconfig(str(path), "no-such-context")


@pytest.mark.parametrize("text", ["", "a: [", "[]", "current-context: s3cret\nusers: ["])
async def test_a_kubeconfig_that_is_being_written_is_no_crash(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(BadInput, match="the file is broken") as caught:
        await KubeCluster.from_kubeconfig(str(path))
    assert "s3cret" not in str(caught.value)
    server = Server((401, {}), (200, {}))
    async with server.cluster():
        cluster = await KubeCluster.from_kubeconfig(str(_kubeconfig(path, server.configuration.host, "old")))
        path.write_text(text)
        with pytest.raises(ClusterUnavailable):
            await cluster.get(*D)
        await cluster.close()
    assert len(server.seen) == 1


async def test_outside_a_cluster_there_is_no_service_account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(BadInput, match="not in a cluster"):
        await KubeCluster.in_cluster()
