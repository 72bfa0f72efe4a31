"""The cluster of `tests.unit.causes.world`: manifests, logs with and without times, and what may not be read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from app.domain.cluster import LogQuery, PodUsage
from app.domain.errors import AccessDenied, ProbeUnavailable
from app.domain.json import Obj
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
