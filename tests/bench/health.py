"""Owns the probe of the abuse bench: a process of its own that asks /healthz again and again, on a new connection each time,
as a kubelet does, and tells how long each answer took."""

from __future__ import annotations

import argparse
import json
import socket
import subprocess
import sys
import time
from dataclasses import dataclass

_EVERY = 0.004  # seconds between two questions
_PATIENCE = 60.0


@dataclass(frozen=True)
class Probe:
    """A running probe."""

    process: subprocess.Popen[str]

    def latencies(self) -> list[float]:
        """Seconds until each answer, once the probe has ended. Raises RuntimeError when an answer was none."""
        out, _ = self.process.communicate(timeout=_PATIENCE)
        if self.process.returncode:
            raise RuntimeError(f"the probe got no good answer: {out}")
        found: list[float] = json.loads(out)
        return found


def start(url: str, seconds: float) -> Probe:
    """Begin to ask, for so many seconds."""
    command = [sys.executable, "-m", "tests.bench.health", url, str(seconds)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return Probe(process)


def _ask(host: str, port: int) -> None:
    with socket.create_connection((host, port), timeout=_PATIENCE) as conn:
        conn.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        answer = b""
        while part := conn.recv(4_096):
            answer += part
    if not answer.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(answer[:100].decode("latin-1"))


def main() -> None:
    """Ask, and print the seconds as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("seconds", type=float)
    options = parser.parse_args()
    host, _, port = options.url.removeprefix("http://").partition(":")
    found = []
    until = time.perf_counter() + options.seconds
    while (began := time.perf_counter()) < until:
        _ask(host, int(port))
        found.append(time.perf_counter() - began)
        time.sleep(_EVERY)
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
