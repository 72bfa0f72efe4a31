"""Owns the attacks of the abuse bench: what somebody can send who wants the service to stall, with or without a token.

Each runs until it is cancelled, on a few connections, as fast as the service answers. Whatever can be is prepared before.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.bench import bodies
from tests.bench.abuse_world import NAMESPACE, WORKLOADS, policy

_AT_ONCE = 4
_IDLE = 700  # more connections than the service keeps
_SLOW = 200
_CHUNKED = 20  # connections with chunks of one byte
_DEAR = 40  # connections with short bodies of dear texts


@dataclass(frozen=True)
class Victim:
    """Where to send: host and port, a token with the scope `ingest`, and the folder of the policy."""

    host: str
    port: int
    token: str
    policies: Path

    @contextlib.asynccontextmanager
    async def connected(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """A new connection, aborted at the end: what the victim never read would keep it open past the event loop."""
        reader, writer = await asyncio.open_connection(self.host, self.port)
        try:
            yield reader, writer
        finally:
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def post(self, body: bytes, path: str = bodies.PATH) -> bytes:
        """A request."""
        return bodies.request(body, f"{self.host}:{self.port}", self.token, path)


async def _send(victim: Victim, requests: Sequence[bytes]) -> None:
    """The requests over and over, each on a connection of its own: an answer may end it."""
    at = 0
    while True:
        with contextlib.suppress(OSError):
            async with victim.connected() as (reader, writer):
                writer.write(requests[at % len(requests)])
                await writer.drain()
                await reader.read(16)
        at += 1


async def _together(*sending: Awaitable[None]) -> None:
    await asyncio.gather(*sending)


async def long_paths(victim: Victim) -> None:
    """Paths that redaction has to read: just below the limit of a head, and beyond it."""
    words = (b"a://b:", b"password=", b"%1b[", b"/", b"token=a'", b"\xff", b"eyJ-")
    requests = [
        b"GET /" + word * (size // len(word)) + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        for size in (31_000, 60_000)
        for word in words
    ]
    await _together(*(_send(victim, requests[n:] + requests[:n]) for n in range(_AT_ONCE)))


def _alert(number: int, **labels: str) -> dict[str, Any]:
    named = {"alertname": "HighErrorRate", "namespace": NAMESPACE, "deployment": f"app-{number % WORKLOADS}"}
    starts_at = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=number % 1_000_000)
    return {**bodies.alert(number, starts_at.isoformat()), "labels": {**named, **labels}}


async def long_labels(victim: Victim) -> None:
    """Values as long as they may be, names for a matcher to chew on, and values that are too long."""
    wide = {f"label_{n}": "x" * 4_000 for n in range(100)}
    name = "Error" * 818
    alerts = [_alert(n, alertname=name, **wide) for n in range(2)]
    too_long = _alert(3, alertname="Error" * 80_000)
    requests = [victim.post(bodies.message(alerts)), victim.post(bodies.message([too_long]))]
    await _together(*(_send(victim, requests) for _ in range(_AT_ONCE)))


async def long_log_lines(victim: Victim) -> None:
    """Alerts about workloads whose logs are hostile; each is investigated."""
    requests = [victim.post(bodies.message([_alert(n)])) for n in range(WORKLOADS)]
    await _send(victim, requests)


async def quoted_cookies(victim: Victim) -> None:
    """Cookies of backslashes in quotes, as long as a head may be, on routes that want none and on pages, without a token and with one."""
    cookies = (b'a="%b"', b'remediator_session="%b"', b"%b=a; " * 2_000)
    proofs = (b"", b"Authorization: Bearer x\r\n", b"Authorization: Bearer %b\r\n" % victim.token.encode())
    requests = [
        b"GET %b HTTP/1.1\r\nHost: x\r\n%bCookie: %b\r\nConnection: close\r\n\r\n"
        % (path, proof, cookie.replace(b"%b", b"\\" * (28_000 // cookie.count(b"%b"))))
        for path in (b"/healthz", b"/login", b"/static/x", b"/api/v1/runs")
        for proof in proofs
        for cookie in cookies
    ]
    await _together(*(_send(victim, requests[n:] + requests[:n]) for n in range(_AT_ONCE)))


async def long_queries(victim: Victim) -> None:
    """Queries as long as a head may be, of many fields and of escapes, on routes that look at none and on pages."""
    queries = (b"a&" * 15_000, b"next=" + b"%41" * 9_000, b"x" * 30_000, b"labels=" + b"+" * 30_000)
    requests = [
        b"GET %b?%b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % (path, query)
        for path in (b"/healthz", b"/login", b"/docs", b"/api/v1/runs")
        for query in queries
    ]
    await _together(*(_send(victim, requests[n:] + requests[:n]) for n in range(_AT_ONCE)))


async def many_connections(victim: Victim) -> None:
    """More connections than are kept, held; and new ones as fast as they are taken."""

    async def hold() -> None:
        while True:
            with contextlib.suppress(OSError):
                async with victim.connected() as (reader, _):
                    await reader.read(1)
            await asyncio.sleep(0.5)

    await _together(*(hold() for _ in range(_IDLE)))


async def slow_headers(victim: Victim) -> None:
    """A byte of a head now and then."""

    async def drip() -> None:
        while True:
            with contextlib.suppress(OSError):
                async with victim.connected() as (_, writer):
                    for byte in b"GET / HTTP/1.1\r\nX-Slow: " + b"a" * 10_000:
                        writer.write(bytes((byte,)))
                        await writer.drain()
                        await asyncio.sleep(0.1)

    await _together(*(drip() for _ in range(_SLOW)))


async def one_byte_chunks(victim: Victim) -> None:
    """Bodies in chunks of one byte, without a token: the head proves nothing, and the body is to be read before its signature is."""
    head = (
        b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    paths = (b"/webhooks/pagerduty", b"/webhooks/slack/interactions", b"/webhooks/alertmanager")
    requests = [head % path + b"1\r\nx\r\n" * 250_000 for path in paths]
    await _together(*(_send(victim, requests[n % 3 :]) for n in range(_CHUNKED)))


async def sent_ahead(victim: Victim) -> None:
    """Requests that wait for no answer, without a token: pages and texts, and bodies in pieces of one byte, none of them over a limit."""
    chunked = b"POST /webhooks/pagerduty HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    requests = [b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % path * 15 for path in (b"/login", b"/openapi.json")]
    requests.append((chunked + b"1\r\nx\r\n" * 990 + b"0\r\n\r\n") * 15)
    await _together(*(_send(victim, requests[n % 3 :] + requests[: n % 3]) for n in range(_CHUNKED)))


async def deep_and_wide_bodies(victim: Victim) -> None:
    """A mebibyte of brackets, of keys, of numbers, of half characters, and of alerts in one body."""
    size = 1_000_000
    many = bodies.message([bodies.alert(n, "2026-03-04T10:00:00Z") for n in range(1_150)])
    requests = [
        victim.post(body)
        for body in (
            b"[" * size,
            b'{"alerts":[' + b'{"a":' * 160_000 + b"1" + b"}" * 160_000 + b"]}",
            b'{"alerts":[' + b",".join([b"0"] * 500_000) + b"]}",
            json.dumps({"alerts": [{f"k{n}": n for n in range(70_000)}]}).encode(),
            b'{"alerts":[{"labels":{"a":"' + b"\\ud800" * 160_000 + b'"}}]}',
            b'{"version":"4","alerts":[],"x":' + b"1" * 4_000 + b',"y":"' + b"e" * 900_000 + b'"}',
            many[:1_040_000] if len(many) > 1_040_000 else many,
        )
    ]
    await _together(*(_send(victim, requests[n:] + requests[:n]) for n in range(_AT_ONCE)))


_LARGE = 16 * 1024 * 1024 - 4_096


def _filled(before: bytes, unit: bytes, after: bytes) -> bytes:
    return before + unit * ((_LARGE - len(before) - len(after)) // len(unit)) + after


async def largest_bodies(victim: Victim) -> None:
    """As many bytes as a body may have: of structure nobody asked for, of one text full of escapes, of ten thousand labels."""
    head = b'{"version":"4","alerts":[{"status":"firing","labels":{"alertname":"q"}}],'
    bodies_ = (
        _filled(head + b'"x":[', b"[" * 28 + b"]" * 28 + b",", b"0]}"),
        _filled(head + b'"x":[', b"[],", b"0]}"),
        head + b'"x":{' + b",".join(b'"%d":0' % n for n in range(1_300_000)) + b"}}",
        _filled(head + b'"receiver":"', rb"\\.", b'"}'),
        _filled(head + b'"receiver":"', rb"\ud800", b'"}'),
        _filled(b'{"alerts":[{"q":[', b"[],", b"0]}]}"),
        _filled(b'{"alerts":[{"status":"firing","labels":{"a":"b"},"annotations":{"a":[', b"[],", b"0]}}]}"),
        _filled(b'{"alerts":[{"status":"firing","labels":{"alertname":"', rb"\u0301", b'"}}]}'),
    )
    requests = [victim.post(body) for body in bodies_]
    await _together(*(_send(victim, requests[n::2]) for n in range(2)))


async def texts_full_of_secrets(victim: Victim) -> None:
    """Annotations in which every word looks like a secret, as many as a body may have."""
    texts = (
        "a://b:@c password is x ",
        "mysql -pa'b'\\''c' ",
        'curl -u "a:b" ',
        "token='a'\"b\" value: a, ",
        "AUTH a b\npassword: |\n  x\n",
    )
    alerts = [
        {
            "status": "firing",
            "labels": {"alertname": f"c{n}"},
            "annotations": {f"k{m}": texts[m % len(texts)] * 5 for m in range(128)},
        }
        for n in range(800)
    ]
    request = victim.post(json.dumps({"version": "4", "alerts": alerts}).encode())
    await _together(*(_send(victim, [request]) for _ in range(_AT_ONCE)))


async def dear_texts(victim: Victim) -> None:
    """Short bodies on many connections, each with texts that take far longer to look through than others of their length."""
    text = "passw\u200bord=a <password>failed to verify token 'a' curl -u \"a:b\" "
    rejected = json.dumps({"version": "4", "alerts": [text * 2] * 150}).encode()
    notes = [{**_alert(n), "annotations": {"a": text * 2}} for n in range(30)]
    requests = [victim.post(rejected), victim.post(bodies.message(notes))]
    await _together(*(_send(victim, requests[n % 2 :]) for n in range(_DEAR)))


async def rejected_items(victim: Victim) -> None:
    """A mebibyte of alerts none of which can be understood, as many as a body may have."""
    item = {"status": "odd", "labels": {"a": "password=x"}, "pad": "token=" * 22}
    request = victim.post(json.dumps({"alerts": [item] * 5_000}).encode()[:1_048_576])
    await _together(*(_send(victim, [request]) for _ in range(_AT_ONCE)))


async def large_policies(victim: Victim) -> None:
    """New policies, good and bad, as long as one may be: the good ones come into force."""
    texts = [
        policy(2_000),
        policy(2_000) + "x: " + "[" * 900 + "\n",
        policy(2_000) + "y: &a [" + "b, " * 18_000 + "]\nz: [*a, *a, *a]\n",
        policy() + "# " + "x" * 300_000,
    ]
    file = victim.policies / "policy.yaml"
    try:
        while True:
            for number, text in enumerate(texts):
                await asyncio.to_thread(file.write_text, f"{text}# {number}\n", "utf-8")
                await asyncio.sleep(2.1)
    finally:
        file.write_text(policy(), "utf-8")


ATTACKS: Mapping[str, Callable[[Victim], Awaitable[None]]] = {
    "long paths": long_paths,
    "long labels": long_labels,
    "long log lines": long_log_lines,
    "cookies in quotes": quoted_cookies,
    "long queries": long_queries,
    "many connections": many_connections,
    "slow headers": slow_headers,
    "chunks of one byte": one_byte_chunks,
    "requests sent ahead": sent_ahead,
    "deep and wide bodies": deep_and_wide_bodies,
    "short bodies of dear texts": dear_texts,
    "1 MiB of rejected items": rejected_items,
    "16 MiB of structure": largest_bodies,
    "16 MiB of secrets": texts_full_of_secrets,
    "large policies": large_policies,
}
