"""Which backups a bucket has, for the service: manifests and sizes are read, never a dump.

Implements the port `app.domain.backups`. The store's login is read from its Secret for one look, and goes into no variable and no error. The
library's calls block, so each look is a thread of its own, for half a minute at most.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from app.backup.bucket import Bucket, Listed
from app.backup.failure import BackupFailed
from app.backup.order import STORE_KEYS, Form, Place
from app.domain.backups import LATER, UNSEEN, Shelf, Stored, is_later
from app.domain.cluster import Cluster
from app.domain.errors import ProbeUnavailable, RemediatorError
from app.domain.secret import text_of
from app.domain.target import Kind

_WITHIN: Final = 30.0
_LOOKED_AT: Final = 50  # newest backups whose manifests are read for one that is no copy of a restore
_ALSO_LOOKED_AT: Final = 10  # of those that are only told


class Shelves:
    """See the port."""

    async def find(self, cluster: Cluster, shelf: Shelf, key: str, now: datetime) -> Stored | None:
        """See the port."""
        login = await _login(cluster, shelf)
        try:
            async with asyncio.timeout(_WITHIN):
                return await asyncio.to_thread(_find, shelf, login, key, now)
        except TimeoutError:
            text = f"the store gave no answer within {_WITHIN:g} s"
            raise ProbeUnavailable(text, code="store_failed", where=shelf.url) from None
        except BackupFailed as error:
            raise ProbeUnavailable(error.message, code=error.code, where=shelf.url) from None


async def _login(cluster: Cluster, shelf: Shelf) -> dict[str, str]:
    where = f"Secret {shelf.namespace}/{shelf.secret}"
    try:
        secret = await cluster.get(Kind.SECRET, shelf.namespace, shelf.secret)
    except RemediatorError as error:
        raise ProbeUnavailable(
            f"{where} cannot be read ({error.code})", code="no_login", where=shelf.url
        ) from error
    found = {key: value.strip() for key in STORE_KEYS if (value := text_of(secret, key))}
    if not found:
        raise ProbeUnavailable(f"{where} has no login of a store", code="no_login", where=shelf.url)
    return found


def _find(shelf: Shelf, login: Mapping[str, str], key: str, now: datetime) -> Stored | None:
    bucket = Bucket(Place(shelf.url, shelf.endpoint, shelf.region), login)
    if key:
        return Stored(key, bucket.manifest(key), bucket.size(key))
    listed = bucket.backups(shelf.folder)
    there = {key: one for key, one in listed.items() if not is_later(one.at, now)}
    later = {key: one for key, one in listed.items() if key not in there}
    _refuse_behind(later, there, now)
    ordered = sorted(there, key=lambda k: (there[k].at, k), reverse=True)
    # A plain one is restored by hand alone: it is found only where nothing else is, to be told so.
    restored = [key for key in ordered if not key.endswith(Form.PLAIN.suffix)] or ordered
    newest = _newest(bucket, shelf, restored[:_LOOKED_AT])
    if len(restored) > _LOOKED_AT and not (newest and shelf.holds(newest[1])):
        text = f"of {len(restored)} only the newest {_LOOKED_AT} were looked at, and none of them is to be taken for {shelf.server or 'this'}"
        raise BackupFailed(text, code=UNSEEN)
    if newest is None:
        return None
    place = ordered.index(newest[0])
    plain = _first(bucket, shelf, [key for key in ordered[:place] if key not in restored])
    behind = _first(bucket, shelf, _written_after(there, ordered[place:]))
    told = (
        plain and f"a newer one is plain, which is restored by hand alone: {plain}",
        behind
        and f"the store wrote one later that is stamped earlier, as by a clock that was behind (backup={behind} takes it)",
    )
    return Stored(*newest, bucket.size(newest[0]), len(later), tuple(one for one in told if one))


def _written_after(there: Mapping[str, Listed], newest_first: Sequence[str]) -> list[str]:
    """Of the others those whose manifest the store wrote after the first one's, by more than clocks may be off: the clock was behind when they
    were made, or they were at work for long. The last written first."""
    newest = there[newest_first[0]]
    found = [
        key
        for key in newest_first[1:]
        if is_later(there[key].written, newest.written)
        and is_later(newest.at, there[key].at)
        and not key.endswith(Form.PLAIN.suffix)
    ]
    return sorted(found, key=lambda key: (there[key].written, key), reverse=True)


def _first(bucket: Bucket, shelf: Shelf, keys: Sequence[str]) -> str:
    """The first of these that is of the shelf's server and no safety backup; empty for none among the first few."""
    for key in keys[:_ALSO_LOOKED_AT]:
        try:
            manifest = bucket.manifest(key)
        except BackupFailed as error:
            if error.code not in ("altered", "store_missing"):
                raise
            continue
        if shelf.holds(manifest) and not manifest.get("safety"):
            return key
    return ""


def _newest(
    bucket: Bucket, shelf: Shelf, newest_first: Sequence[str]
) -> tuple[str, Mapping[str, Any]] | None:
    """Key and manifest of the first of the shelf's server, else of the first of another one."""
    other, broken = None, ""
    for key in newest_first:
        try:
            manifest = bucket.manifest(key)
        except BackupFailed as error:
            if error.code != "altered":
                raise
            broken = broken or key
            continue
        if manifest.get("safety"):  # of the state that a restore was to get rid of
            continue
        if shelf.holds(manifest):
            _refuse_broken(broken, key)
            return key, manifest
        other = other or (key, manifest)
    _refuse_broken(broken, other[0] if other else "")
    return other


def _refuse_behind(later: Mapping[str, Listed], there: Mapping[str, Listed], now: datetime) -> None:
    """Where the store wrote one of those later than now too, it is the clock here that is behind, and the newest may be any of them."""
    behind = any(is_later(one.written, now) for one in later.values())
    if later and (behind or not there):
        last = max(later, key=lambda key: (later[key].at, key))
        why = (
            "by the store's clock too: the clock here is behind"
            if behind
            else "and there is no other one: the clock here is behind, or was ahead"
        )
        text = f"{len(later)} stamped later than now, {why}. The last one is {last}: backup={last} takes it"
        raise BackupFailed(text, code=LATER)


def _refuse_broken(broken: str, good: str) -> None:
    """A manifest that cannot be read may be that of the newest backup: an older one is taken by name alone."""
    if broken:
        way = (
            f"the newest one whose manifest is whole is {good}: backup={good} takes it"
            if good
            else "no other one has a whole manifest"
        )
        raise BackupFailed(f"the manifest of {broken} is none of ours; {way}", code="altered")
