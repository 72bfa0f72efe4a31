"""Owns the servers under measurement: our service and the baseline, each a process of its own with a fresh folder."""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Literal

from tests.bench.report import resident
from tests.live.process import Process, free_ports

ROOT = Path(__file__).resolve().parents[2]
STORE = "remediator.sqlite"
_READY_SECONDS = 180.0
# Compiled modules as an installed package has them, whatever the environment says, and outside of the source tree.
_BYTECODE = {
    "PYTHONDONTWRITEBYTECODE": "",
    "PYTHONPYCACHEPREFIX": f"{gettempdir()}/remediator-bench-bytecode",
}


@dataclass(frozen=True)
class Server:
    """A running server. `ready_after` is the time from its start to its first good answer, in seconds."""

    name: str
    url: str
    token: str
    folder: Path
    process: Process
    ready_after: float

    def resident(self, field: str = "VmRSS") -> float:
        """Resident memory now (VmRSS) or at most so far (VmHWM), in MiB."""
        return resident(self.process.pid, field)

    def forget_peak(self) -> None:
        """From now on VmHWM is the most since now: the start of an interpreter takes more than it keeps."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5", "utf-8")


@contextlib.contextmanager
def baseline(kind: Literal["stack", "bare"]) -> Iterator[Server]:
    """One of the servers without our logic; `tests.bench.baseline` says what they are."""
    with TemporaryDirectory(prefix=f"bench-{kind}-") as folder:
        port = free_ports(1)[0]
        argv = [sys.executable, "-m", "tests.bench.baseline", kind, str(port), f"{folder}/alerts.sqlite"]
        with _running(kind, argv, {}, Path(folder), port) as server:
            yield server


@contextlib.contextmanager
def service(
    env: Mapping[str, str] | None = None, folder: Path | None = None, command: Sequence[str] | None = None
) -> Iterator[Server]:
    """Our service: `remediator serve` (or `command` in its place) with authentication, all loops, and the simulated
    cluster unless `env` says otherwise. A `folder` of the caller's is kept."""
    with contextlib.ExitStack() as stack:
        kept = folder or Path(stack.enter_context(TemporaryDirectory(prefix="bench-service-")))
        port, token = free_ports(1)[0], secrets.token_hex(16)
        settings = {
            "REMEDIATOR_STATE_DIR": str(kept),
            "REMEDIATOR_POLICY_DIR": str(ROOT / "policies"),
            "REMEDIATOR_CLUSTER": "simulated",
            "REMEDIATOR_PORT": str(port),
            "REMEDIATOR_TOKENS": f"bench:ingest+trigger+operate+read:{hashlib.sha256(token.encode()).hexdigest()}",
            **(env or {}),
        }
        argv = [sys.executable, "-c", "from app.cli import main; main()", "serve"]
        yield stack.enter_context(_running("service", list(command or argv), settings, kept, port, token))


@contextlib.contextmanager
def _running(
    name: str, argv: list[str], env: Mapping[str, str], folder: Path, port: int, token: str = ""
) -> Iterator[Server]:
    url = f"http://127.0.0.1:{port}"
    process = Process(argv, folder / f"{name}.log", env={**_BYTECODE, **env})
    began = time.perf_counter()
    process.start()
    try:
        _wait(process, f"{url}/readyz")
        yield Server(name, url, token, folder, process, time.perf_counter() - began)
        process.check()
    finally:
        process.stop()


def _wait(process: Process, url: str) -> None:
    """Until the server answers: with 200, or with 404 when it has no such page."""
    until = time.perf_counter() + _READY_SECONDS
    while time.perf_counter() < until:
        process.check()
        try:
            with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - our own server on loopback
                return
        except urllib.error.HTTPError as answer:
            if answer.code == 404:
                return
        except OSError:
            pass
        time.sleep(0.01)
    raise RuntimeError(f"{url} did not answer in time; its log ends in:\n{process.log_tail()}")
