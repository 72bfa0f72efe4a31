"""The cluster of `tests.unit.causes.world`: manifests, logs with and without times, what may not be read; and a Prometheus beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from app.domain.cluster import LogQuery, PodUsage
from app.domain.errors import AccessDenied, ProbeUnavailable
from app.domain.json import Obj
from app.domain.ports import Sample
from app.domain.target import Kind
from tests.unit.kube.fake import FakeCluster

NOW = datetime(2026, 3, 4, 3, 0, tzinfo=UTC)


class WorldCluster(FakeCluster):
    """Also has logs, and refuses what it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.log: dict[tuple[str, bool], str] = {}
        self.timed: dict[str, list[tuple[datetime, str]]] = {}
        self.own_times = True
        self.unreadable_logs = False
        self.unreadable: set[Kind] = set()
        self.reads = 0

    async def get(self, kind: Kind, namespace: str, name: str) -> Obj:
        self._count(kind)
        return await super().get(kind, namespace, name)

    async def list_objects(
        self, kind: Kind, namespace: str, selector: str = "", fields: str = ""
    ) -> list[Obj]:
        self._count(kind)
        space = "" if kind is Kind.NODE else namespace
        found = await super().list_objects(kind, space, selector, fields)
        wanted = fields.removeprefix("metadata.name=") if kind is Kind.NODE else ""
        return [m for m in found if not wanted or m["metadata"]["name"] == wanted]

    async def logs(self, query: LogQuery) -> str:
        self.reads += 1
        if self.unreadable_logs:
            raise AccessDenied("cannot read logs")
        if not query.previous and (rows := self._rows(query)):
            return rows
        own = self.log.get((query.pod, query.previous))
        return self.log.get((query.container, query.previous), "") if own is None else own

    def _rows(self, query: LogQuery) -> str:
        """What the kubelet gives of a log with times: since a moment, the newest lines or, with `tail_lines` None, the oldest."""
        kept = self.timed.get(query.pod, self.timed.get(f"{query.pod}/{query.container}", []))
        oldest = NOW - timedelta(seconds=query.since_seconds or 10**6)
        rows = [
            f"{f'{at:%Y-%m-%dT%H:%M:%SZ} ' if query.timestamps or self.own_times else ''}{said}\n"
            for at, said in kept
            if at >= oldest
        ]
        return "".join(rows if query.tail_lines is None else rows[-query.tail_lines :])[: query.limit_bytes]

    async def pod_usage(self, namespace: str, selector: str) -> list[PodUsage]:
        raise ProbeUnavailable("no metrics API")

    def _count(self, kind: Kind) -> None:
        self.reads += 1
        if kind in self.unreadable:
            raise AccessDenied(f"cannot read {kind}")


@dataclass
class Requests:
    """A Prometheus: of `rate` requests a second this `share` fails since so many seconds ago, and `before` that share did. Its rates are over five
    minutes, and while nothing fails it has no series of failures. It has values since `known` seconds ago."""

    since: float
    share: float = 0.3
    before: float = 0.0
    rate: float = 5.0
    known: float = 10**6
    away: bool = False
    once: tuple[float, float] = (0.0, 0.0)
    """From when to when, seconds ago, the share failed before."""

    async def instant(self, query: str) -> Sequence[tuple[Mapping[str, str], float]]:
        return [({}, self._at(0))] if "status" in query else []

    async def window(
        self, query: str, start: datetime, end: datetime, step: float
    ) -> Sequence[tuple[Mapping[str, str], Sequence[Sample]]]:
        if self.away:
            raise ProbeUnavailable("Prometheus did not answer within 5 s")
        moments = [
            start + timedelta(seconds=n * step) for n in range(int((end - start).total_seconds() // step) + 1)
        ]
        ago = {at: (NOW - at).total_seconds() for at in moments if (NOW - at).total_seconds() <= self.known}
        values = {at: self._at(one) if "status" in query else self.rate for at, one in ago.items()}
        samples = [Sample(at, value) for at, value in values.items() if value]
        return [({}, samples)] if samples else []

    def _at(self, ago: float) -> float:
        again = min(self.once[0], ago + 300) - max(self.once[1], ago)
        new = min(1.0, max(0.0, (self.since - ago) / 300) + max(0.0, again) / 300)
        return self.before + (self.share - self.before) * new
