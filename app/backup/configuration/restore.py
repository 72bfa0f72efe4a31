"""Putting a configuration back, by a person on their own machine: what would change, and then the change, object by object in the backup's order.

Called by the command `configuration`, with the person's kubeconfig and identity; the service never runs this. An object is compared as the API
server would store it (server-side apply as a dry run), so that defaults and admission are no differences. Values of Secrets are never
shown. Nothing is deleted: objects and fields that the backup does not know stay, and the fields are told.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from app.backup.configuration.cleaning import SECRETS, cleaned
from app.backup.configuration.lines import Entry, Reader, Unpacker
from app.backup.configuration.sealed import Identity, unseal
from app.backup.failure import BackupFailed
from app.domain.errors import ClusterRefused, ObjectInvalid, ObjectMissing, OutcomeUnclear, TryLater
from app.domain.json import Obj
from app.domain.text import visible
from app.kube.everything import Raw, kinds_of
from app.kube.paths import Resource
from app.kube.wire import How

MANAGER: Final = "alert-remediator-restore"
"""The field manager of what a restore writes."""
_BLOCK: Final = 1 << 20
_SHOWN: Final = 20
_SILENT: Final = 3


class Word(StrEnum):
    """How an object of the backup stands against the cluster."""

    SAME = "same"
    CREATE = "create"
    CHANGE = "change"
    REFUSED = "refused"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Difference:
    """One object: `paths` are what a restore would change, with values unless it is a Secret; `stays` are fields that the backup does not
    know and a restore leaves; `why` is the API server's refusal, or why there was no answer."""

    entry: Entry
    word: Word
    paths: tuple[str, ...] = ()
    stays: tuple[str, ...] = ()
    why: str = ""

    @property
    def name(self) -> str:
        """`deployments.apps langgraph`."""
        return f"{_resource(self.entry).full_name} {self.entry.object['metadata']['name']}"


def read_backup(file: Path, identities: Iterable[Identity], entry: Callable[[Entry], object]) -> Reader:
    """Decrypt a backup and hand on each object, in order; all of it is read before anybody may rely on it. Raises BackupFailed."""
    reader = Reader(entry)
    unpacker = Unpacker(reader.take)
    try:
        with file.open("rb") as opened:
            unseal(iter(lambda: opened.read(_BLOCK), b""), unpacker.take, identities)
    except OSError as error:
        raise BackupFailed(f"{file} cannot be read ({type(error).__name__})", code="unreadable") from None
    unpacker.end()
    reader.end()
    return reader


class Restorer:
    """Puts objects of a backup into one namespace. Each one stands for itself: what is refused or gets no answer is told, and the next one
    has its turn. After some in a row to which the API server gave no answer the rest is not tried: a webhook that is not back yet is none of that."""

    def __init__(self, cluster: Raw, namespace: str) -> None:
        self._cluster, self._namespace = cluster, namespace
        self._kinds: dict[tuple[str, str], Mapping[str, str]] = {}

    async def compare(self, entries: Iterable[Entry]) -> list[Difference]:
        """Each object against the cluster; nothing is changed. Raises nothing of ours."""
        return await self._each(entries, self._difference)

    async def put_back(self, entries: Iterable[Entry]) -> list[Difference]:
        """Write each object, unless it is the same already: what was done. Safe to repeat. Raises nothing of ours."""
        return await self._each(entries, self._written)

    async def _each(
        self, entries: Iterable[Entry], do: Callable[[Entry], Awaitable[Difference]]
    ) -> list[Difference]:
        found, silent = list[Difference](), 0
        for entry in entries:
            if silent >= _SILENT:
                why = "not tried, as the API server gave no answer before"
                found.append(Difference(entry, Word.FAILED, why=why))
                continue
            try:
                found.append(await do(entry))
                silent = 0
            except ClusterRefused as error:
                found.append(Difference(entry, Word.REFUSED, why=error.message))
                silent = 0
            except (TryLater, OutcomeUnclear) as error:
                found.append(Difference(entry, Word.FAILED, why=error.message))
                silent += error.code != "webhook_unavailable"
        return found

    async def _difference(self, entry: Entry) -> Difference:
        if why := await self._unfit(entry):
            return Difference(entry, Word.REFUSED, why=why)
        resource, wanted = _resource(entry), _placed(entry, self._namespace)
        try:
            live = await self._cluster.read(resource, self._namespace, wanted["metadata"]["name"], [])
        except ObjectMissing:
            live = None
        after = await self._put(entry, there=live is not None, dry_run=True)
        if live is None:
            return Difference(entry, Word.CREATE)
        secret = resource.full_name == SECRETS
        would = cleaned(resource.full_name, after)
        changed = tuple(_paths(cleaned(resource.full_name, live), would, secret=secret))
        stays = tuple(p for p in _paths(wanted, would, secret=True))
        return Difference(entry, Word.CHANGE if changed else Word.SAME, changed[:_SHOWN], stays[:_SHOWN])

    async def _written(self, entry: Entry) -> Difference:
        found = await self._difference(entry)
        if found.word not in (Word.CREATE, Word.CHANGE):
            return found
        try:
            await self._put(entry, there=found.word is Word.CHANGE, dry_run=False)
        except OutcomeUnclear as lost:
            if (await self._difference(entry)).word is not Word.SAME:
                raise lost from None
        return found

    async def _unfit(self, entry: Entry) -> str:
        """Why this is no object of a namespace here: discovery decides, not the backup."""
        at = (entry.group, entry.version)
        if at not in self._kinds:
            self._kinds[at] = await kinds_of(self._cluster, *at)
        kind = self._kinds[at].get(entry.plural)
        if kind is None:
            return f"the cluster has no {_resource(entry).full_name} in namespaces"
        told = entry.object["kind"]
        return "" if kind == told else f"{_resource(entry).full_name} are of kind {kind}, not {told}"

    async def _put(self, entry: Entry, *, there: bool, dry_run: bool) -> Obj:
        """By apply; what that cannot express, though the API server takes it, as a whole."""
        at, body = (_resource(entry), self._namespace), _placed(entry, self._namespace)
        try:
            return await self._cluster.put_as(at, body, manager=MANAGER, dry_run=dry_run)
        except ObjectInvalid as error:
            if error.code != "not_appliable":
                raise
        how = How.MERGED if there else How.MADE
        return await self._cluster.put_as(at, body, how, manager=MANAGER, dry_run=dry_run)


def left_behind(entries: Iterable[Entry], origin: str, namespace: str) -> list[str]:
    """Names of RoleBindings that give rights to accounts of the namespace of the backup, when it is put into another one."""
    if origin == namespace:
        return []
    return [
        entry.object["metadata"]["name"]
        for entry in entries
        if (entry.group, entry.plural) == ("rbac.authorization.k8s.io", "rolebindings")
        and any(s.get("namespace") == origin for s in entry.object.get("subjects") or ())
    ]


def _resource(entry: Entry) -> Resource:
    return Resource(entry.group, entry.version, entry.plural)


def _placed(entry: Entry, namespace: str) -> Obj:
    """In this namespace, which may be another one than at the time of the backup."""
    return {**entry.object, "metadata": {**entry.object["metadata"], "namespace": namespace}}


def _paths(before: Any, after: Any, at: str = "", *, secret: bool) -> Iterator[str]:
    """Where two values differ, as `/spec/replicas: 2 -> 3`."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted({*before, *after}):
            place = f"{at}/{str(key).replace('~', '~0').replace('/', '~1')}"
            yield from _paths(before.get(key), after.get(key), place, secret=secret)
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for number, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from _paths(one, other, f"{at}/{number}", secret=secret)
    elif before != after and not (_empty(before) and _empty(after)):
        yield at if secret else f"{at}: {_shown(before)} -> {_shown(after)}"


def _empty(value: Any) -> bool:
    return value is None or value in ({}, [], "")


def _shown(value: Any) -> str:
    if value is None:
        return "absent"
    text = str(value) if not isinstance(value, dict | list) else f"{len(value)} entries"
    text = visible(text[:1_000]).replace("\n", "\\n").replace("\t", "\\t")
    return text if len(text) <= 80 else f"{text[:79]}…"
