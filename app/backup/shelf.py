"""Which backups a bucket has, for the service: manifests and sizes are read, never a dump.

Implements the port `app.domain.backups`. The store's login is read from its Secret for one look, and goes into no variable and no error. The
library's calls block, so each look is a thread of its own, for half a minute at most.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from app.backup.bucket import Bucket
from app.backup.failure import BackupFailed
from app.backup.order import STORE_KEYS, Place
from app.domain.backups import Shelf, Stored
from app.domain.cluster import Cluster
from app.domain.errors import ProbeUnavailable, RemediatorError
from app.domain.secret import text_of
from app.domain.target import Kind

_WITHIN: Final = 30.0
_LOOKED_AT: Final = 50  # newest backups whose manifests are read for one that is no copy of a restore


class Shelves:
    """See the port."""

    async def find(self, cluster: Cluster, shelf: Shelf, key: str) -> Stored | None:
        """See the port."""
        login = await _login(cluster, shelf)
        try:
            async with asyncio.timeout(_WITHIN):
                return await asyncio.to_thread(_find, shelf, login, key)
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


def _find(shelf: Shelf, login: Mapping[str, str], key: str) -> Stored | None:
    bucket = Bucket(Place(shelf.url, shelf.endpoint, shelf.region), login)
    if not key:
        there = bucket.backups(shelf.folder)
        other, broken = None, ""
        for newest in sorted(there, key=lambda k: (there[k].at, k), reverse=True)[:_LOOKED_AT]:
            try:
                manifest = bucket.manifest(newest)
            except BackupFailed as error:
                if error.code != "altered":
                    raise
                broken = broken or newest
                continue
            if manifest.get("safety"):  # of the state that a restore was to get rid of
                continue
            if shelf.holds(manifest):
                _refuse_broken(broken, newest)
                return Stored(newest, manifest, bucket.size(newest))
            other = other or (newest, manifest)
        _refuse_broken(broken, other[0] if other else "")
        return Stored(*other, bucket.size(other[0])) if other else None
    return Stored(key, bucket.manifest(key), bucket.size(key))


def _refuse_broken(broken: str, good: str) -> None:
    """A manifest that cannot be read may be that of the newest backup: an older one is taken by name alone."""
    if broken:
        way = (
            f"the newest one whose manifest is whole is {good}: backup={good} takes it"
            if good
            else "no other one has a whole manifest"
        )
        raise BackupFailed(f"the manifest of {broken} is none of ours; {way}", code="altered")
