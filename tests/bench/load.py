"""Owns the load generator: a process of its own that posts prepared requests over kept connections.

Raw sockets on asyncio protocols, because on two cores a general HTTP client would be what is measured. Everything is
prepared before the clock starts. Closed loop: each connection sends its next request when the answer to the last is
complete. `run` starts the process and returns its report.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import uvloop

from tests.bench import bodies

_TIMEOUT = 600.0


@dataclass(frozen=True)
class Report:
    """What one run of the generator measured. `statuses` counts answers by HTTP status; latencies in seconds."""

    posts: int
    alerts: int
    seconds: float
    statuses: dict[str, int]
    latencies: list[float]

    @property
    def rate(self) -> float:
        """Posts answered in a second."""
        return self.posts / self.seconds

    @property
    def accepted(self) -> bool:
        """Every post was answered with 2xx."""
        return all(status.startswith("2") for status in self.statuses)


@dataclass(frozen=True)
class Load:
    """What to send: `posts` of `per_post` alerts numbered from `first` over `connections`; `distinct` of them, 0 for all;
    with `wave` 1, each on a new target that a rule matches."""

    posts: int
    per_post: int = 1
    first: int = 0
    distinct: int = 0
    connections: int = 64
    wave: int = 0

    @property
    def after(self) -> int:
        """The first number that this load does not use."""
        return self.first + (self.distinct or self.posts * self.per_post)


def run(url: str, token: str, load: Load) -> Report:
    """Send the load to a server from a process of its own. Raises RuntimeError when the generator fails."""
    host = url.removeprefix("http://")
    options = [f"--{name}={value}" for name, value in vars(load).items()]
    argv = [sys.executable, "-m", "tests.bench.load", f"--host={host}", *options]
    done = subprocess.run(argv, input=token.encode(), capture_output=True, timeout=_TIMEOUT, check=False)
    if done.returncode:
        raise RuntimeError(f"the load generator failed: {done.stderr.decode()[-2000:]}")
    return Report(**json.loads(done.stdout))


class _Connection(asyncio.Protocol):
    """Sends from the common queue until it is empty."""

    def __init__(self, queue: deque[bytes], report: _Tally) -> None:
        self._queue = queue
        self._tally = report
        self._received = b""
        self._sent_at = 0.0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def begin(self) -> None:
        """Send the next request, or close."""
        if not self._queue:
            self._transport.close()
            return
        self._sent_at = time.perf_counter()
        self._transport.write(self._queue.popleft())

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, rest = self._received.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        if len(rest) < length:
            return
        self._received = b""
        self._tally.statuses[head[9:12].decode()] += 1
        self._tally.latencies.append(time.perf_counter() - self._sent_at)
        self.begin()

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None or self._queue:
            self.done.set_exception(exc or ConnectionError("the server closed the connection"))
        elif not self.done.done():
            self.done.set_result(None)


class _Tally:
    def __init__(self) -> None:
        self.statuses: Counter[str] = Counter()
        self.latencies: list[float] = []


async def _send(host: str, requests: deque[bytes], connections: int) -> tuple[_Tally, float]:
    loop = asyncio.get_running_loop()
    name, _, port = host.partition(":")
    tally = _Tally()
    open_ = [
        (await loop.create_connection(lambda: _Connection(requests, tally), name, int(port)))[1]
        for _ in range(connections)
    ]
    began = time.perf_counter()
    for connection in open_:
        connection.begin()
    await asyncio.gather(*(connection.done for connection in open_))
    return tally, time.perf_counter() - began


def main(argv: Sequence[str] | None = None) -> None:
    """Read the token from stdin, send, print the report as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", required=True)
    for name, value in vars(Load(1)).items():
        parser.add_argument(f"--{name}", type=int, default=value)
    options: Any = parser.parse_args(argv)
    token = sys.stdin.read().strip()
    sent = bodies.storm(
        options.posts, options.per_post, options.first, options.distinct, wave=bool(options.wave)
    )
    requests = deque(
        bodies.request(body, options.host, token) for body in itertools.islice(sent, options.posts)
    )
    tally, seconds = uvloop.run(_send(options.host, requests, min(options.connections, options.posts)))
    report = Report(
        posts=len(tally.latencies),
        alerts=options.posts * options.per_post,
        seconds=seconds,
        statuses=dict(tally.statuses),
        latencies=tally.latencies,
    )
    json.dump(vars(report), sys.stdout)


if __name__ == "__main__":
    main()
