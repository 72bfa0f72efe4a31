"""The port to the backups of a database that stand in an object store: which there are, and what the manifest of one says.

Reads manifests and sizes, never a dump. Implemented by `app.backup.shelf` (real) and `app.sim`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from app.domain.cluster import Cluster


@dataclass(frozen=True, slots=True)
class Shelf:
    """Where backups stand: `url` of the bucket and folder, `endpoint` and `region` of a store of one's own, the Secret of `namespace`
    with the store's login, and the `folder` of one database."""

    url: str
    endpoint: str
    region: str
    namespace: str
    secret: str
    folder: str


@dataclass(frozen=True, slots=True)
class Stored:
    """One backup: its key, what its manifest says, and the bytes that stand under its key; None when nothing does."""

    key: str
    manifest: Mapping[str, Any]
    bytes: int | None


class Backups(Protocol):
    """All object stores that rules name."""

    async def find(self, cluster: Cluster, shelf: Shelf, key: str) -> Stored | None:
        """The backup under this key, or with an empty key the newest of the folder that has a manifest; None when there is none.
        Raises ProbeUnavailable (`no_login`, or a code of the store), without anything of a login."""
        ...
