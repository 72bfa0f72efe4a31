"""Fuzz targets of the door: raw bytes on a connection, headers that prove something, and whole requests to the application."""

from __future__ import annotations

import asyncio
import atexit
import hashlib
import hmac
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import unquote_to_bytes

import uvicorn
from starlette.requests import Request
from uvicorn.server import ServerState

from app.domain.errors import BadInput, NotAuthenticated, NotPermitted
from app.intake.auth import Access, Scope, pagerduty_signed, slack_signed
from app.observe.system import TimeIds
from app.store.database import Store
from app.web.callers import caller, headers_of, require_same_site
from app.web.connections import ConnectionLimits, GuardedProtocol, Waiting
from app.web.cookies import MAX_COOKIE, OURS, keep_own_cookies
from app.web.paging import decode, decode_number, encode
from tests.fuzz.bodies import JSON_WORDS, NOW
from tests.fuzz.target import FuzzTarget, parts_of, text_of
from tests.unit.web.rig import ALL, LOCKED, ORCHESTRATION, PD_SECRET, Rig, StillClock, token

_LOOP = asyncio.new_event_loop()


def _proofs(data: bytes) -> None:
    """Headers as the server hands them on, any bytes in them."""
    parts = parts_of(data, 6)
    names = (b"authorization", b"host", b"origin", b"x-slack-signature", b"x-slack-request-timestamp")
    given = [(name, value) for name, value in zip(names, parts, strict=False) if value]
    try:
        headers = headers_of({"headers": given})
        require_same_site(headers)
        for access in (LOCKED, Access()):
            for scope in Scope:
                assert caller(access, headers, scope).name
    except (NotAuthenticated, NotPermitted):
        pass
    first, second = parts[3].decode("latin-1"), parts[4].decode("latin-1")
    body = parts[5]
    assert not slack_signed("s", timestamp=second, signature=first, body=body, now=NOW) or first.startswith(
        "v0="
    )
    assert not pagerduty_signed(("s",), first, body) or "v1=" in first


def _cookies(data: bytes) -> None:
    """Values as they come, between quotes and as one of ours: little is left for whatever parses it next, and nothing in quotes."""
    for value in (data, b'a="' + data + b'"', b'remediator_session="' + data + b'"'):
        scope = {"path": "/", "headers": [(b"cookie", value), (b"cookie", value)]}
        keep_own_cookies(scope)
        left = Request({"type": "http", **scope})
        assert left.cookies.keys() <= {name.decode() for name in OURS}
        assert len(left.headers.get("cookie", "")) <= len(OURS) * (MAX_COOKIE + 30)
        assert '"' not in left.headers.get("cookie", "")


def _cursors(data: bytes) -> None:
    text = text_of(data)
    for read in (decode, decode_number):
        try:
            read(text)
        except BadInput:
            continue
    if text.isascii() and text.isalnum() and len(text) <= 128:
        assert decode(encode(text)) == text


_IN_MEMORY = Path("/dev/shm")  # noqa: S108 - a store that nobody else sees, without waiting for a disk


@cache
def _rig() -> Rig:
    folder = TemporaryDirectory(prefix="fuzz-", dir=_IN_MEMORY if _IN_MEMORY.is_dir() else None)
    atexit.register(folder.cleanup)
    store = Store.open(f"sqlite:///{folder.name}/store.sqlite", clock=StillClock(), ids=TimeIds())
    atexit.register(store.close)
    return Rig(store)


def _request(data: bytes) -> None:
    """Method and path, headers and body of one request; what proves who sent it is added, so that parsers are reached."""
    line, lines, body = parts_of(data, 3)
    method, _, target = line.decode("latin-1").partition(" ")
    path, _, query = target.partition("?")
    headers = [(b"host", b"127.0.0.1:8080"), (b"authorization", b"Bearer " + token(*ALL).encode())]
    for one in lines.split(b"\n"):
        name, colon, value = one.partition(b":")
        if colon and name.isascii() and name.isalnum():
            headers.append((name.lower(), value.strip().replace(b"\r", b"")))
    signature = hmac.new(PD_SECRET.encode(), body, hashlib.sha256).hexdigest()
    headers += [
        (b"x-pagerduty-signature", b"v1=" + signature.encode()),
        (b"x-remediator-token", ORCHESTRATION.encode()),
    ]
    if not any(name == b"content-type" for name, _ in headers):
        headers.append((b"content-type", b"application/json"))
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method[:20] or "GET",
        "scheme": "http", "path": unquote_to_bytes(path).decode("utf-8", "replace") or "/",
        "raw_path": path.encode("latin-1"), "query_string": query.encode("latin-1"), "root_path": "",
        "headers": headers, "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8080), "state": {},
    }  # fmt: skip
    statuses: list[int] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(event: Any) -> None:
        if event["type"] == "http.response.start":
            statuses.append(event["status"])

    _LOOP.run_until_complete(_rig().app(scope, receive, send))
    assert len(statuses) == 1
    assert statuses[0] < 500, statuses


class _Transport(asyncio.Transport):
    """Takes what is written; remembers whether it was closed."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)})
        self.closed = False
        self.written = 0

    def write(self, data: Any) -> None:
        self.written += len(data)

    def get_write_buffer_size(self) -> int:
        return 0

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        """Nothing is read."""

    def resume_reading(self) -> None:
        """Nothing is read."""


async def _echo(scope: Any, receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
    """Read the body, answer its length."""
    size, more = 0, True
    while more:
        event = await receive()
        if event["type"] != "http.request":
            return
        size, more = size + len(event["body"]), event["more_body"]
    text = b"%d" % size
    headers = [(b"content-length", b"%d" % len(text))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": text})


_LIMITS = ConnectionLimits(head_bytes=2_048, headers=20)


@cache
def _config() -> uvicorn.Config:
    config = uvicorn.Config(
        _echo, lifespan="off", log_config=None, access_log=False, ws="none", server_header=False
    )
    config.load()
    return config


async def _connect(pieces: list[bytes]) -> None:
    waiting: Waiting = {}
    protocol = GuardedProtocol(
        config=_config(), server_state=ServerState(), app_state={}, limits=_LIMITS, waiting=waiting
    )
    transport = _Transport()
    protocol.connection_made(transport)
    for piece in pieces:
        if transport.closed:
            break
        protocol.data_received(piece)
        assert protocol._held_bytes <= 2 * _LIMITS.head_bytes
        for _ in range(4):
            await asyncio.sleep(0)
    protocol.connection_lost(None)
    for _ in range(4):
        await asyncio.sleep(0)
    assert protocol._deadline is None
    assert not waiting


def _connection(data: bytes) -> None:
    """The bytes in one piece, in three, and one by one at the beginning."""
    third = len(data) // 3 + 1
    for pieces in (
        [data],
        [data[i : i + third] for i in range(0, len(data), third)],
        [*(data[i : i + 1] for i in range(40)), data[40:]],
    ):
        _LOOP.run_until_complete(_connect([p for p in pieces if p]))


_GET = b"GET /api/v1/runs/run_1?limit=5&cursor=MTpydW5fMQ HTTP/1.1\r\nHost: a\r\n\r\n"
_POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
_CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
_AM = b'{"version":"4","alerts":[{"status":"firing","labels":{"alertname":"A"},"startsAt":"2026-03-04T10:00:00Z"}]}'
_ORDER = b'{"remediation":"high-error-rate","reason":"r","target":{"namespace":"a","kind":"Pod","name":"b"}}'
_API = (
    b"incidents",
    b"runs",
    b"runs/run_1/explain",
    b"audit?cursor=MTox",
    b"budgets",
    b"trust",
    b"scorecard?days=7",
)

TARGETS = (
    FuzzTarget(
        "proofs",
        _proofs,
        (b"Bearer x\0127.0.0.1:8080\0http://127.0.0.1:8080", b"Basic YTpi\0[::1]:1\0http://[", b"\0\0\0v0=00\0001772619360\0x"),
        (b"Bearer ", b"Basic ", b"\0", b"v0=", b"v1=", b"[::1]", b"://", b"localhost", b"\xb2", b"%"),
    ),
    FuzzTarget(
        "cookies",
        _cookies,
        (b"\\", b"a=b; remediator_visit=visit_1", b'remediator_session=a.b; remediator_session="c"', b"=;", b'"\\"', b"\\342"),
        (b"remediator_session=", b"remediator_times=utc", b";", b"=", b'"', b"\\", b'\\"', b" ", b"\t", b"\xe9"),
    ),
    FuzzTarget("cursors", _cursors, (b"MTpydW5fMQ", b"MTox", b"====", b"MTo5OTk5OTk5OTk5OTk5OTk5"), (b"MTo", b"=", b"-", b"_", b"\xc2\xb2")),
    FuzzTarget(
        "requests",
        _request,
        (
            *(b"GET /api/v1/" + path + b"\0\0" for path in _API), b"GET /%ff%00/../\xe9\0\0",
            b"POST /webhooks/alertmanager\0\0" + _AM, b"POST /webhooks/pagerduty\0\0{}",
            b"POST /webhooks/pagerduty/orchestration\0\0{}", b"POST /webhooks/slack/interactions\0a:b\0payload=",
            b"POST /api/v1/remediations\0origin:http://x\0" + _ORDER, b"POST /api/v1/runs/run_1/approve\0\0{}",
            b'POST /api/v1/pause\0\0{"scope":"namespace:a","reason":"r","until":"2026-03-04T11:00:00Z"}',
            b'POST /api/v1/trust/promote\0\0{"key":"k","reason":"r"}',
        ),
        (b"GET ", b"POST ", b"/api/v1/", b"%00", b"%ff", b"..", b"?cursor=", b"&limit=-1", b"\0", b"origin:http://[", b"content-length:-1",
         b"content-type:", b"content-encoding:gzip", b"days=", b"state=open", *JSON_WORDS),
        pumped=4_096,
    ),
    FuzzTarget(
        "connection",
        _connection,
        (_GET, _POST, _CHUNKED, _CHUNKED[:-2] + b"Authorization: a\r\n\r\n", _GET * 3, b"\x16\x03\x01\x02\x00\x01", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
         b"GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n",
         b"GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc"),
        (b"\r\n", b"\r\n\r\n", b": ", b"HTTP/1.1", b"HTTP/1.0", b"Content-Length: 1", b"Transfer-Encoding: chunked", b"0\r\n\r\n",
         b"\n", b"\0", b"Host: ", b"Connection: close", b"ffffffffffffffff\r\n", b"GET ", b"HEAD ", b"CONNECT "),
    ),
)  # fmt: skip
