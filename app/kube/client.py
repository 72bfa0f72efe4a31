"""The real cluster: `KubeCluster` implements `app.domain.cluster.Cluster` over the official asyncio client, used raw.

Owns the connection, time-outs and the translation of foreign faults; the only importer of the client library. Called
through the port. Never sends a write twice (one exception: after a 401, which proves that nothing was done), never
validates responses (the library's models refuse objects with a null list and drop unknown fields), never logs a body.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import aiohttp
import yaml
from kubernetes.aio import config as kubernetes_config
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config import ConfigException

from app.domain.cluster import FIELD_MANAGER, LogQuery, PodUsage
from app.domain.errors import (
    BadInput,
    ClusterRefused,
    ClusterThrottled,
    ClusterUnavailable,
    ObjectChanged,
    ObjectInvalid,
    ProbeUnavailable,
)
from app.domain.json import Obj, decoded_beside
from app.domain.target import Kind
from app.kube.about import Server
from app.kube.faults import Answer, Request, broken, refusal
from app.kube.guarded import too_old
from app.kube.parse import parse_usage
from app.kube.paths import ACCESS_REVIEWS, POD_METRICS, RESOURCES, Resource
from app.kube.wire import (
    WRITE_SECONDS,
    Call,
    How,
    delete_options,
    deleting,
    patching,
    place,
    putting,
    seconds_of,
    status_object,
    write_query,
)

READ_SECONDS = 10.0
_CONNECT_SECONDS = 5.0
_PAGE = 500
_PATIENCE = 10.0  # seconds that one throttled read may wait in all

# What the library raises for a file that is empty, half written or no kubeconfig; yaml is its parser and comes with it.
_BROKEN_FILE = (yaml.YAMLError, TypeError, ValueError, KeyError, AttributeError)


def _absent(path: str | None) -> str:
    """That there is no kubeconfig at all; empty where there is one. The library says of none what it says of a broken one."""
    named = path or os.environ.get("KUBECONFIG") or "~/.kube/config"
    files = [one for one in named.split(os.pathsep) if one]
    found = any(Path(one).expanduser().exists() for one in files)
    return "" if found else f"there is no file {', '.join(files)}"


Observer = Callable[[str, str, str, float], None]
"""Told after each request: verb, resource, HTTP status or `error`, seconds."""
Sleep = Callable[[float], Awaitable[None]]


class KubeCluster:
    """One real cluster. Make it with `from_kubeconfig` or `in_cluster`, end it with `close`."""

    def __init__(
        self,
        configuration: Configuration,
        name: str,
        *,
        renew: Callable[[], Awaitable[None]] | None = None,
        observer: Observer | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        """`renew` fetches fresh credentials into the configuration when the API server no longer takes ours. `sleep` waits out
        what a throttled read is told to wait."""
        configuration.retries = None
        self.name, self.address = name, str(configuration.host)
        self._api = ApiClient(configuration)
        self._api.user_agent = FIELD_MANAGER
        self._renew = renew
        self._observer = observer
        self._sleep = sleep

    @classmethod
    async def from_kubeconfig(
        cls, path: str | None = None, context: str | None = None, *, observer: Observer | None = None
    ) -> Self:
        """Connect as kubectl would: `path` None means $KUBECONFIG or ~/.kube/config. Raises BadInput."""
        configuration = Configuration()

        async def load() -> str:
            try:
                loader = await kubernetes_config.load_kube_config(  # type: ignore[no-untyped-call]
                    config_file=path, context=context, client_configuration=configuration
                )
            except _BROKEN_FILE as error:
                # Only the kind of fault: a parser's message can show a piece of the file, and so a token.
                raise ConfigException(f"the file is broken ({type(error).__name__})") from error
            return str(loader.current_context["name"])

        async def renew() -> None:
            await load()

        try:
            name = await load()
        except (ConfigException, OSError) as error:
            said = f"no usable kubeconfig: {_absent(path) or error}"
            raise BadInput(said, code="bad_kubeconfig") from error
        return cls(configuration, name, renew=renew, observer=observer)

    @classmethod
    async def in_cluster(cls, *, observer: Observer | None = None) -> Self:
        """Connect with the pod's service account; the token file is read again every minute. Raises BadInput."""
        configuration = Configuration()
        try:
            await asyncio.to_thread(kubernetes_config.load_incluster_config, configuration)
        except (ConfigException, OSError) as error:
            raise BadInput(f"not in a cluster: {error}", code="not_in_cluster") from error
        return cls(configuration, "in-cluster", observer=observer)

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()  # type: ignore[no-untyped-call]

    async def get(self, kind: Kind, namespace: str, name: str) -> Obj:
        """See the port."""
        resource = RESOURCES[kind]
        request = Request("get", resource.full_name, place(resource, namespace, name), mutates=False)
        return await self._json(Call("GET", resource.path(namespace, name), request, []))

    async def list_objects(
        self, kind: Kind, namespace: str, selector: str = "", fields: str = ""
    ) -> list[Obj]:
        """See the port. A list that expires between two pages is read again, once."""
        try:
            return await self._pages(RESOURCES[kind], namespace, selector, fields)
        except ClusterUnavailable as error:
            if error.code != "list_expired":
                raise
            return await self._pages(RESOURCES[kind], namespace, selector, fields)

    async def _pages(self, resource: Resource, namespace: str, selector: str, fields: str) -> list[Obj]:
        request = Request("list", resource.full_name, place(resource, namespace), mutates=False)
        fixed = [("limit", str(_PAGE)), ("labelSelector", selector), ("fieldSelector", fields)]
        items: list[Obj] = []
        token = ""
        while True:
            query = [(k, v) for k, v in (*fixed, ("continue", token)) if v]
            page = await self._json(Call("GET", resource.path(namespace), request, query))
            items.extend(page.get("items") or ())
            token = (page.get("metadata") or {}).get("continue", "")
            if not token:
                return items

    async def patch(
        self, kind: Kind, namespace: str, name: str, patch: Sequence[dict[str, Any]], *, dry_run: bool = False
    ) -> Obj:
        """See the port. Unknown fields are refused (fieldValidation=Strict) rather than dropped."""
        return await self._json(patching(kind, (namespace, name, ""), patch, dry_run=dry_run))

    async def patch_status(
        self, kind: Kind, namespace: str, name: str, patch: Sequence[dict[str, Any]], *, dry_run: bool = False
    ) -> Obj:
        """See the port."""
        return await self._json(patching(kind, (namespace, name, "status"), patch, dry_run=dry_run))

    async def delete_pod(self, namespace: str, name: str, uid: str, *, dry_run: bool = False) -> None:
        """See the port."""
        await self._json(deleting(Kind.POD, (namespace, name), uid, dry_run=dry_run))

    async def delete_secret(self, namespace: str, name: str, uid: str, *, dry_run: bool = False) -> None:
        """See the port."""
        await self._json(deleting(Kind.SECRET, (namespace, name), uid, dry_run=dry_run))

    async def evict_pod(self, namespace: str, name: str, uid: str, *, dry_run: bool = False) -> None:
        """See the port. The answer's own status is looked at: a failure can come with HTTP 201."""
        resource = RESOURCES[Kind.POD]
        request = Request("create", "pods/eviction", place(resource, namespace, name), not dry_run)
        meta = {"name": name, "namespace": namespace}
        body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": meta}
        body |= {"deleteOptions": delete_options(uid, dry_run=dry_run)}
        path = resource.path(namespace, name, "eviction")
        answer = await self._json(Call("POST", path, request, write_query(dry_run=dry_run), body))
        if answer.get("status") == "Failure":
            raise refusal(request, Answer(int(answer.get("code", 500)), answer))

    async def dry_run_pod(self, namespace: str, pod: Obj) -> Obj:
        """See the port."""
        resource = RESOURCES[Kind.POD]
        request = Request("create", resource.full_name, place(resource, namespace), mutates=False)
        query = [*write_query(dry_run=True), ("fieldValidation", "Ignore")]
        return await self._json(Call("POST", resource.path(namespace), request, query, pod))

    async def create_job(self, namespace: str, job: Obj, *, dry_run: bool = False) -> Obj:
        """See the port."""
        resource, name = RESOURCES[Kind.JOB], job["metadata"]["name"]
        request = Request("create", resource.full_name, place(resource, namespace, name), not dry_run)
        query = [*write_query(dry_run=dry_run), ("fieldValidation", "Strict")]
        return await self._json(Call("POST", resource.path(namespace), request, query, job))

    async def create_event(self, event: Obj) -> None:
        """See the port."""
        resource, meta = RESOURCES[Kind.EVENT], event["metadata"]
        where = place(resource, meta["namespace"], meta["name"])
        request = Request("create", resource.full_name, where, mutates=True)
        path = resource.path(meta["namespace"])
        try:
            await self._json(Call("POST", path, request, write_query(dry_run=False), event))
        except ObjectChanged as error:
            if error.code != "already_exists":
                raise

    async def logs(self, query: LogQuery) -> str:
        """See the port. A container that has not started yet has no log either: the empty text."""
        resource = RESOURCES[Kind.POD]
        request = Request("get", "pods/log", place(resource, query.namespace, query.pod), mutates=False)
        wanted = [
            ("container", query.container),
            ("previous", "true" if query.previous else ""),
            ("sinceSeconds", str(query.since_seconds or "")),
            ("tailLines", "" if query.tail_lines is None else str(query.tail_lines)),
            ("limitBytes", str(query.limit_bytes)),
            ("timestamps", "true" if query.timestamps else ""),
        ]
        path = resource.path(query.namespace, query.pod, "log")
        try:
            data = await self._bytes(Call("GET", path, request, [(k, v) for k, v in wanted if v]))
        except ObjectInvalid as error:
            if any(sign in error.message for sign in _NO_LOG):
                return ""
            raise
        return data.decode("utf-8", errors="replace")

    async def pod_usage(self, namespace: str, selector: str) -> list[PodUsage]:
        """See the port."""
        try:
            found = await self._pages(POD_METRICS, namespace, selector, "")
        except (ClusterRefused, ClusterUnavailable) as error:
            text = f"the cluster serves no pod metrics: {error.message}"
            raise ProbeUnavailable(text, where=error.where) from error
        return [parse_usage(item) for item in found]

    async def can_i(
        self, verb: str, kind: Kind, namespace: str, subresource: str = "", name: str = ""
    ) -> bool:
        """See the port."""
        resource, named = RESOURCES[kind], namespace if kind is Kind.NAMESPACE else name
        request = Request("create", ACCESS_REVIEWS.full_name, "", mutates=False)
        attributes = {
            "verb": verb,
            "group": resource.group,
            "resource": resource.plural,
            "subresource": subresource,
            # To the authorizer a Namespace lies in itself, so that a Role in it is enough to read it, also one for its name alone.
            "namespace": namespace if resource.namespaced or kind is Kind.NAMESPACE else "",
            **({"name": named} if named else {}),
        }
        body = {
            "apiVersion": ACCESS_REVIEWS.api_version,
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        answer = await self._json(Call("POST", ACCESS_REVIEWS.path(""), request, [], body))
        return bool((answer.get("status") or {}).get("allowed", False))

    async def server(self) -> Server:
        """What the API server says of itself: its version, and its time by the answer's Date. Raises as reads do."""
        request = Request("get", "/version", "", mutates=False)
        status, headers, data = await self._send(Call("GET", "/version", request, []))
        if status != 200:
            raise refusal(request, Answer(status, status_object(data), seconds_of(headers)))
        try:
            return Server.read(headers, data)
        except (ValueError, TypeError, KeyError) as error:
            raise broken(request, error, sent=True) from error

    async def api_groups(self) -> frozenset[str]:
        """Names of the API groups that the cluster serves."""
        request = Request("get", "/apis", "", mutates=False)
        found = await self._json(Call("GET", "/apis", request, []))
        return frozenset(str(group.get("name", "")) for group in found.get("groups") or ())

    async def document(self, path: str) -> Obj:
        """See `app.kube.everything.Raw`."""
        return await self._json(Call("GET", path, Request("get", path, "", mutates=False), []))

    async def read(
        self, resource: Resource, namespace: str, name: str, query: Sequence[tuple[str, str]]
    ) -> Obj:
        """See `Raw`."""
        at = place(resource, namespace, name)
        request = Request("get" if name else "list", resource.full_name, at, mutates=False)
        return await self._json(Call("GET", resource.path(namespace, name), request, list(query)))

    async def put_as(
        self, at: tuple[Resource, str], body: Obj, how: How = How.APPLIED, *, manager: str, dry_run: bool
    ) -> Obj:
        """See `Raw`."""
        return await self._json(putting(at, body, how, manager, dry_run=dry_run))

    async def _json(self, call: Call) -> Obj:
        data = await self._bytes(call)
        try:
            found = await decoded_beside(data)
        except ValueError as error:
            raise broken(call.request, error, sent=True) from error
        if not isinstance(found, dict):
            raise broken(call.request, TypeError("no object"), sent=True)
        return found

    async def _bytes(self, call: Call) -> bytes:
        """The body of a successful answer. A throttled read waits as long as the server tells it, within limits, so that
        one busy second does not cost a whole investigation; a write is never sent again."""
        left = _PATIENCE
        while True:
            try:
                return await self._answered(call)
            except ClusterThrottled as error:
                wait = error.retry_after if error.retry_after is not None else 1.0
                if call.method != "GET" or wait > left:
                    raise
                left -= max(wait, 1.0)
                await self._sleep(wait)

    async def _answered(self, call: Call) -> bytes:
        """The body of a successful answer. Fresh credentials are fetched once when ours have run out: after a 401
        nothing can have happened, so even a write may be sent again."""
        try:
            status, headers, data = await self._send(call)
        except ClusterUnavailable as error:
            if call.method != "GET" or not isinstance(error.__cause__, _STALE):
                raise
            status, headers, data = await self._send(call)  # a kept connection had been closed by the server
        if status == 401 and self._renew is not None:
            try:
                await self._renew()
            except (ConfigException, OSError) as error:
                raise broken(call.request, error, sent=False) from error
            status, headers, data = await self._send(call)
        if not 200 <= status <= 299:
            raise refusal(call.request, Answer(status, status_object(data), seconds_of(headers)))
        return data

    async def _send(self, call: Call) -> tuple[int, Mapping[str, str], bytes]:
        started = asyncio.get_running_loop().time()
        outcome = "error"
        sent = False
        total = WRITE_SECONDS + 1 if call.method != "GET" else READ_SECONDS
        timeout = aiohttp.ClientTimeout(total=total, connect=_CONNECT_SECONDS)
        try:
            prepared = await self._api.param_serialize(
                call.method,
                call.path,
                query_params=list(call.query),
                header_params={"Accept": "application/json, */*", "Content-Type": call.content_type},
                body=call.body,
                auth_settings=["BearerToken"],
            )
            self._first_session()
            if too_old():  # what came since would not be obeyed
                raise ClusterUnavailable("not sent: it was looked at too long ago", where=call.request.text)
            sent = True
            response = await self._api.call_api(*prepared, _request_timeout=timeout)
            data: bytes = await response.read()  # type: ignore[no-untyped-call]
            outcome = str(response.status)
            return response.status, response.headers, data
        except (aiohttp.ClientError, TimeoutError, OSError, ConfigException) as error:
            raise broken(call.request, error, sent=sent and not isinstance(error, _NEVER_SENT)) from error
        finally:
            if self._observer is not None:
                seconds = asyncio.get_running_loop().time() - started
                self._observer(call.request.verb, call.request.resource, outcome, seconds)

    def _first_session(self) -> None:
        """No cookies: what one answer sets is no part of the next request. The library sends a DELETE again when a connection breaks; no public switch."""
        rest = self._api.rest_client
        if rest.pool_manager is None:
            rest.configuration.client_session_kwargs = {"cookie_jar": aiohttp.DummyCookieJar()}
            rest.pool_manager = rest._create_pool_manager()  # noqa: SLF001
            rest.pool_manager._retry_connection = False  # noqa: SLF001


_STALE = (aiohttp.ServerDisconnectedError, ConnectionResetError, BrokenPipeError)
_NEVER_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL)
_NO_LOG = ("previous terminated container", "is waiting to start", "is not available")
