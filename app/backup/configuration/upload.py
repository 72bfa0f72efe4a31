"""The way of a configuration backup, in the Job's pod: read, clean, encrypt, upload, read back, decrypt and count, publish, keep the newest.

Called by `app.backup.configuration.__main__`. Nothing leaves the process unencrypted, and of an object no more than a page is held at a time. The
backup is encrypted to the recipients and to a key of this process alone, by which it is read back; that key is gone with the process. A
failure publishes nothing and removes nothing.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Protocol

from app.backup.bucket import Bucket, Counted, written
from app.backup.configuration.cleaning import (
    KINDS_LEFT_OUT,
    NO_SECRETS,
    ORDERED,
    ORDERED_GROUPS,
    SECRETS,
    cleaned,
    left_out,
    rank,
)
from app.backup.configuration.lines import Entry, Reader, Unpacker, head, line_of, packed, tail
from app.backup.configuration.order import Order
from app.backup.configuration.sealed import Identity, fresh, seal, unseal
from app.backup.failure import BackupFailed
from app.backup.order import ASKED_BY
from app.backup.pruning import prune
from app.domain.errors import AccessDenied, ClusterRefused, RemediatorError, TryLater
from app.domain.json import Obj
from app.domain.ports import Clock
from app.domain.redact import in_one_line
from app.domain.units import counted as counted_of
from app.kube.everything import Raw, Served, pages, served

KIND: Final = "alert-remediator/configuration-backup"
_BLOCK: Final = 1 << 20
_LONGEST: Final = 200
_ACCOUNTS: Final = "serviceaccounts"


class Connection(Raw, Protocol):
    """A cluster that can be left."""

    async def close(self) -> None:
        """Close it."""
        ...


@dataclass(frozen=True, slots=True)
class Parts:
    """What one backup is made with. `connect` reaches the cluster with the pod's own account."""

    order: Order
    environment: Mapping[str, str]
    clock: Clock
    connect: Callable[[], Awaitable[Connection]]


@dataclass
class _Told:
    """What was read, by kind; what was left out, by reason; kinds that could not be read; and the id of the namespace's default account,
    which no other namespace of whatever cluster has."""

    objects: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    unread: list[str] = field(default_factory=list)
    account: str = ""


def back_up(parts: Parts) -> str:
    """Make one backup; the sentence that says where it is and what was verified. Raises BackupFailed."""
    order, started, told = parts.order, parts.clock.now(), _Told()
    bucket, (identity, own) = Bucket(order.place), fresh()
    try:
        with tempfile.TemporaryFile() as file:
            lines = _Lines(parts, told, started.isoformat())
            seal(packed(lines.all()), file, [*order.recipients, own])
            size = file.tell()
            file.seek(0)
            counted = bucket.put(order.incomplete, iter(lambda: file.read(_BLOCK), b""), size)
        _verify(bucket, order, counted, identity, sum(told.objects.values()))
        manifest = {
            "kind": KIND,
            "version": 1,
            "name": order.name,
            "namespace": order.namespace,
            "account": told.account,
            "sha256": counted.sha256,
            "bytes": counted.size,
            "objects": dict(told.objects),
            "left_out": dict(told.left_out),
            "unread": told.unread,
            "secrets": order.secrets,
            "recipients": list(order.recipients),
            "started": started.isoformat(),
            "ended": parts.clock.now().isoformat(),
            "asked_by": in_one_line(parts.environment.get(ASKED_BY, ""), _LONGEST),
        }
        written(manifest)  # refused before anything stands under its final key
        bucket.publish(order.incomplete, order.key, counted)
        bucket.tell(order.key, manifest)
    finally:
        with suppress(BackupFailed):
            bucket.discard(order.incomplete)
    return _words(order, told, counted, prune(bucket, order, parts.clock.now(), manifest))


class _Lines:
    """The lines of the backup, as the API server gives the objects."""

    def __init__(self, parts: Parts, told: _Told, started: str) -> None:
        self._parts, self._told, self._started = parts, told, started

    def all(self) -> Iterator[bytes]:
        """One after the other; the API server is asked when the next page is wanted. Raises BackupFailed."""
        with asyncio.Runner() as runner:
            try:
                cluster = runner.run(_awaited(self._parts.connect()))
                try:
                    yield from self._from(runner, cluster)
                finally:
                    runner.run(cluster.close())
            except ClusterRefused as error:
                raise BackupFailed(f"the API server refuses: {error.message}", code=error.code) from None
            except RemediatorError as error:
                if isinstance(error, BackupFailed):
                    raise
                raise BackupFailed(
                    f"the API server cannot be read: {error.message}", code=error.code
                ) from None

    def _from(self, runner: asyncio.Runner, cluster: Connection) -> Iterator[bytes]:
        order, told = self._parts.order, self._told
        yield head(order.namespace, self._started)
        kinds, silent = runner.run(served(cluster))
        if lost := sorted(ORDERED_GROUPS & set(silent)):
            text = f"the API group {lost[0]} does not answer, without which no backup is whole"
            raise BackupFailed(text, code="unreadable")
        told.unread += [f"group {name}" for name in silent]
        for kind in sorted(kinds, key=lambda k: rank(k.name)):
            why = KINDS_LEFT_OUT.get(kind.name, "")
            if kind.name == SECRETS and not order.secrets:
                why = NO_SECRETS
            if why:
                told.left_out[f"{kind.name}: {why}"] = 0
                continue
            for page in self._pages(runner, cluster, kind):
                yield from self._page(kind, page)
        yield tail(sum(told.objects.values()))

    def _pages(self, runner: asyncio.Runner, cluster: Connection, kind: Served) -> Iterator[list[Obj]]:
        source = pages(cluster, kind, self._parts.order.namespace)
        try:
            while (page := runner.run(_next(source))) is not None:
                yield page
        except AccessDenied as error:
            if kind.name in ORDERED:
                text = f"the pod's account may not list {kind.name}, without which no backup is whole"
                raise BackupFailed(text, code="not_allowed") from error
            self._told.unread.append(kind.name)
        except (ClusterRefused, TryLater) as error:
            if kind.name in ORDERED or error.code == "list_expired":
                raise
            self._told.unread.append(kind.name)

    def _page(self, kind: Served, page: Iterable[Obj]) -> Iterator[bytes]:
        for found in page:
            if kind.name == _ACCOUNTS and found["metadata"]["name"] == "default":
                self._told.account = str(found["metadata"].get("uid", ""))
            if why := left_out(kind.name, found):
                self._told.left_out[f"{kind.name}: {why}"] += 1
                continue
            self._told.objects[kind.name] += 1
            at = kind.resource
            yield line_of(Entry(at.group, at.version, at.plural, cleaned(kind.name, found)))


async def _awaited(coming: Awaitable[Connection]) -> Connection:
    return await coming


async def _next(source: AsyncIterator[list[Obj]]) -> list[Obj] | None:
    return await anext(source, None)


def _verify(bucket: Bucket, order: Order, counted: Counted, identity: Identity, objects: int) -> None:
    """What was stored is what was sent, can be decrypted, and is whole."""
    back, reader = Counted(), Reader(lambda _entry: None)
    unpacker = Unpacker(reader.take)
    unseal(back.through(bucket.read(order.incomplete)), unpacker.take, [identity])
    unpacker.end()
    reader.end()
    if back != counted or reader.objects != objects or reader.namespace != order.namespace:
        raise BackupFailed("what was read back is not what was uploaded", code="altered")


def _words(order: Order, told: _Told, counted: Counted, removed: str) -> str:
    parts = [
        f"{counted_of(sum(told.objects.values()), 'object')} of {counted_of(len(told.objects), 'kind')} as {order.key}",
        "with Secrets" if order.secrets else "without Secrets",
        f"{counted.size / 1024:.1f} KiB for {counted_of(len(order.recipients), 'recipient')}",
        f"read back, decrypted and whole, sha256 {counted.sha256[:16]}",
        *([f"not readable: {', '.join(sorted(told.unread))}"] if told.unread else []),
        *([removed] if removed else []),
    ]
    return "; ".join(parts)
