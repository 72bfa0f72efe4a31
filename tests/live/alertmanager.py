"""Owns real Alertmanagers on loopback: one, or several that gossip, sending webhooks to a receiver."""

from __future__ import annotations

import datetime as dt
import json
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import httpx

from tests.live.build import binary
from tests.live.process import Process, free_ports, stop_all, wait_until


@dataclass(frozen=True)
class Timing:
    """How alerts are grouped, and when groups are sent."""

    group_by: Sequence[str] = ("alertname", "namespace")
    group_wait: str = "0s"
    group_interval: str = "1s"
    repeat_interval: str = "1h"
    # How long a member waits for each member before it to send first.
    peer_timeout: str = "5s"
    # The members know one another but hear nothing of each other's notifications, so that each sends.
    # A peer_timeout of 0s alone would leave that to chance: gossip is quick.
    partitioned: bool = False


class Alertmanager:
    """A cluster of one or more Alertmanagers with one webhook receiver."""

    def __init__(
        self,
        receiver_url: str,
        bearer_token: str = "",
        *,
        count: int = 1,
        timing: Timing | None = None,
        folder: Path | None = None,
    ) -> None:
        self._data = Path(tempfile.mkdtemp(prefix="live-alertmanager-"))
        self.folder = folder or self._data
        self.folder.mkdir(parents=True, exist_ok=True)
        self.timing = timing or Timing()
        self._receiver = (receiver_url, bearer_token)
        ports = free_ports(2 * count)
        self._ports, self._cluster_ports = ports[:count], ports[count:]
        self._starts: dict[frozenset[tuple[str, str]], str] = {}
        self.processes: list[Process] = []
        # trust_env off: a proxy of the environment has no business with loopback.
        self._client = httpx.Client(timeout=10.0, trust_env=False)

    @property
    def urls(self) -> list[str]:
        """The address of each member."""
        return [f"http://127.0.0.1:{port}" for port in self._ports]

    @property
    def url(self) -> str:
        """The address of the first member."""
        return self.urls[0]

    def start(self) -> Self:
        """Starts the members; returns when each is ready and all know one another."""
        try:
            self._write_config()
            self.processes = [self._start_member(number) for number in range(len(self._ports))]
            wait_until(self._ready, what="the Alertmanagers", ignoring=(httpx.TransportError,))
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Ends the members and removes their data."""
        self._client.close()
        # A member takes seconds to say goodbye to its peers; nobody here needs that.
        stop_all(self.processes, grace=0.5 if len(self.processes) > 1 else 5.0)
        shutil.rmtree(self._data, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def fire(
        self,
        labels: Mapping[str, str],
        annotations: Mapping[str, str] | None = None,
        starts_at: dt.datetime | None = None,
    ) -> None:
        """Tells every member of a firing alert, as Prometheus does; again keeps the first start."""
        start = _stamp(starts_at) if starts_at else self._starts.get(_key(labels), _stamp(_now()))
        self._starts[_key(labels)] = start
        self._post({"labels": dict(labels), "annotations": dict(annotations or {}), "startsAt": start})

    def resolve(self, labels: Mapping[str, str], annotations: Mapping[str, str] | None = None) -> None:
        """Tells every member that the alert has ended now."""
        alert = {"labels": dict(labels), "annotations": dict(annotations or {}), "endsAt": _stamp(_now())}
        start = self._starts.pop(_key(labels), None)
        self._post(alert if start is None else {**alert, "startsAt": start})

    def alerts(self, member: int = 0) -> list[dict[str, Any]]:
        """The alerts that a member holds."""
        answer = self._client.get(f"{self.urls[member]}/api/v2/alerts").raise_for_status()
        found: list[dict[str, Any]] = answer.json()
        return found

    def amtool(self, *arguments: str) -> str:
        """Runs a command of amtool (silence add ...) against the first member and returns what it prints."""
        command = [str(binary("amtool")), f"--alertmanager.url={self.url}", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def _post(self, alert: Mapping[str, Any]) -> None:
        for process, url in zip(self.processes, self.urls, strict=True):
            # A member that a test has ended misses the alert, as it would from Prometheus.
            if process.running:
                self._client.post(f"{url}/api/v2/alerts", json=[alert]).raise_for_status()

    def _write_config(self) -> None:
        url, token = self._receiver
        webhook: dict[str, Any] = {"url": url, "send_resolved": True, "max_alerts": 0}
        if token:
            webhook["http_config"] = {"authorization": {"type": "Bearer", "credentials": token}}
        route = {
            "receiver": "remediator",
            "group_by": list(self.timing.group_by),
            "group_wait": self.timing.group_wait,
            "group_interval": self.timing.group_interval,
            "repeat_interval": self.timing.repeat_interval,
        }
        config = {"route": route, "receivers": [{"name": "remediator", "webhook_configs": [webhook]}]}
        (self._data / "alertmanager.yml").write_text(json.dumps(config, indent=1), "utf-8")

    def _start_member(self, number: int) -> Process:
        address = f"127.0.0.1:{self._cluster_ports[number]}"
        flags = [
            f"--config.file={self._data / 'alertmanager.yml'}",
            f"--storage.path={self._data / f'member-{number}'}",
            f"--web.listen-address=127.0.0.1:{self._ports[number]}",
            f"--cluster.peer-timeout={'0s' if self.timing.partitioned else self.timing.peer_timeout}",
        ]
        if len(self._ports) == 1:
            flags.append("--cluster.listen-address=")
        else:
            # Probes carry gossip too. The default intervals would make the start slow.
            gossip, exchange = ("1h", "1h") if self.timing.partitioned else ("50ms", "1s")
            flags += [
                f"--cluster.listen-address={address}",
                f"--cluster.advertise-address={address}",
                f"--cluster.gossip-interval={gossip}",
                f"--cluster.pushpull-interval={exchange}",
                f"--cluster.probe-interval={exchange}",
                "--cluster.settle-timeout=1s",
            ]
            others = [port for port in self._cluster_ports if port != self._cluster_ports[number]]
            flags += [f"--cluster.peer=127.0.0.1:{port}" for port in others]
        return Process([binary("alertmanager"), *flags], self.folder / f"alertmanager-{number}.log").start()

    def _ready(self) -> bool:
        for process, url in zip(self.processes, self.urls, strict=True):
            process.check()
            if not self._client.get(f"{url}/-/ready").is_success:
                return False
            if len(self._ports) > 1:
                cluster = self._client.get(f"{url}/api/v2/status").json()["cluster"]
                if cluster["status"] != "ready" or len(cluster["peers"]) != len(self._ports):
                    return False
        return True


def _key(labels: Mapping[str, str]) -> frozenset[tuple[str, str]]:
    return frozenset(labels.items())


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def _stamp(time: dt.datetime) -> str:
    return time.astimezone(dt.UTC).isoformat(timespec="milliseconds")


class AlertmanagerFactory(Protocol):
    """Starts an Alertmanager that ends with the tests at the latest."""

    def __call__(
        self, receiver_url: str, bearer_token: str = "", *, count: int = 1, timing: Timing | None = None
    ) -> Alertmanager: ...
