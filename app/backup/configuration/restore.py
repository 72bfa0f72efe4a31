"""Putting a configuration back, by a person on their own machine: what would change, and then the change, object by object in the backup's order.

Called by the command `configuration`, with the person's kubeconfig and identity; the service never runs this. An object is compared as the API
server would store it (server-side apply as a dry run), so that defaults and admission are no differences. Values of Secrets are never
shown. Nothing is deleted: objects and fields that the backup does not know stay, and the fields are told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from app.backup.configuration.cleaning import SECRETS, cleaned
from app.backup.configuration.lines import Entry, Reader, Unpacker
from app.backup.configuration.sealed import Identity, unseal
from app.backup.failure import BackupFailed
from app.domain.errors import ClusterRefused, ObjectMissing
from app.domain.json import Obj
from app.kube.everything import Raw
from app.kube.paths import Resource

MANAGER: Final = "alert-remediator-restore"
"""The field manager of what a restore writes."""
_BLOCK: Final = 1 << 20
_SHOWN: Final = 20


class Word(StrEnum):
    """How an object of the backup stands against the cluster."""

    SAME = "same"
    CREATE = "create"
    CHANGE = "change"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Difference:
    """One object: `paths` are what a restore would change, with values unless it is a Secret; `stays` are fields that the backup does not
    know and a restore leaves; `why` is the API server's refusal."""

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


async def difference(cluster: Raw, entry: Entry, namespace: str) -> Difference:
    """One object against the cluster; nothing is changed. Raises what reading raises."""
    resource, wanted = _resource(entry), _placed(entry, namespace)
    name = wanted["metadata"]["name"]
    try:
        live = await cluster.read(resource, namespace, name, [])
    except ObjectMissing:
        live = None
    try:
        after = await cluster.put_as(resource, namespace, wanted, manager=MANAGER, dry_run=True)
    except ClusterRefused as error:
        return Difference(entry, Word.REFUSED, why=error.message)
    if live is None:
        return Difference(entry, Word.CREATE)
    secret = resource.full_name == SECRETS
    would = cleaned(resource.full_name, after)
    changed = tuple(_paths(cleaned(resource.full_name, live), would, secret=secret))
    stays = tuple(p for p in _paths(wanted, would, secret=True))
    return Difference(entry, Word.CHANGE if changed else Word.SAME, changed[:_SHOWN], stays[:_SHOWN])


async def put_back(cluster: Raw, entry: Entry, namespace: str) -> Difference:
    """Write one object, unless it is the same already. Safe to repeat."""
    found = await difference(cluster, entry, namespace)
    if found.word in (Word.CREATE, Word.CHANGE):
        await cluster.put_as(
            _resource(entry), namespace, _placed(entry, namespace), manager=MANAGER, dry_run=False
        )
    return found


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
    return text if len(text) <= 80 else f"{text[:79]}…"
