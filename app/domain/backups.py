"""The port to the backups of a database that stand in an object store: which there are, and what the manifest of one says.

Reads manifests and sizes, never a dump. Implemented by `app.backup.shelf` (real) and `app.sim`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

from app.domain.cluster import Cluster
from app.domain.json import decoded
from app.domain.pieces import Bounds
from app.domain.text import CONTROL

LONGEST_MANIFEST: Final = 4 * 1024 * 1024
"""Bytes: some ten thousand tables with long names."""
_BOUNDS: Final = Bounds(values=200_000, containers=1_000)
SKEW: Final = timedelta(minutes=10)
"""So far a stamp, of the service's clock of then, may be ahead of a clock that reads it."""
LATER: Final = "stamped_later"
"""Code of the error that nothing is the newest, as clocks disagree."""
UNSEEN: Final = "unseen"
"""Code of the error that none was found among those that were looked at, and that there are more."""
_MAX_BIGINT: Final = 2**63 - 1  # what a database counts with
_LONGEST_TEXT: Final = 1_000
_DEEPEST: Final = 3


@dataclass(frozen=True, slots=True)
class Shelf:
    """Where backups stand: `url` of the bucket and folder, `endpoint` and `region` of a store of one's own, the Secret of `namespace`
    with the store's login, and the `folder` of one database. Databases of that name on several servers may share it: `server` is the one
    whose newest is wanted, as manifests tell it."""

    url: str
    endpoint: str
    region: str
    namespace: str
    secret: str
    folder: str
    server: str = ""

    def holds(self, manifest: Mapping[str, Any]) -> bool:
        """Whether a backup with this manifest is of that server."""
        return not self.server or server_of(manifest) == self.server


@dataclass(frozen=True, slots=True)
class Stored:
    """One backup: its key, what its manifest says, and the bytes that stand under its key; None when nothing does. `later` are the others of
    its folder that were not looked at for the newest, as their stamps are later than now; `instead` are sentences about others that may be
    what is wanted, and are not taken by themselves."""

    key: str
    manifest: Mapping[str, Any]
    bytes: int | None
    later: int = 0
    instead: tuple[str, ...] = ()


def is_later(at: datetime, now: datetime) -> bool:
    """Whether a stamp is later than now: a clock was ahead once, so nobody knows of when it is. It counts for nothing until then: neither as
    the newest, nor as one that replaces another."""
    return at > now + SKEW


def server_of(manifest: Mapping[str, Any]) -> str:
    """The server that a manifest tells of, as its rule named it."""
    return str(manifest.get("database", "")).partition("/")[0]


def manifest_of(data: bytes) -> dict[str, Any]:
    """What a manifest in a bucket says. Whoever may write there writes what they like, so it holds only what ours hold: an object of
    texts of one line and 1,000 characters, of whole numbers of 63 bits, and of lists and objects of such. Raises ValueError."""
    if len(data) > LONGEST_MANIFEST:
        raise ValueError("longer than a manifest is")
    found = decoded(data, _BOUNDS)
    if not isinstance(found, dict) or not _plain(found, _DEEPEST):
        raise ValueError("not what a manifest holds")
    return found


def _plain(value: Any, deep: int) -> bool:
    if isinstance(value, str):
        return len(value) <= _LONGEST_TEXT and "\n" not in value and CONTROL.search(value) is None
    if value is None or isinstance(value, bool):
        return True
    if isinstance(value, int):
        return 0 <= value <= _MAX_BIGINT
    if isinstance(value, dict) and deep:
        return all(_plain(name, 0) and _plain(item, deep - 1) for name, item in value.items())
    return isinstance(value, list) and deep > 0 and all(_plain(item, deep - 1) for item in value)


class Backups(Protocol):
    """All object stores that rules name."""

    async def find(self, cluster: Cluster, shelf: Shelf, key: str, now: datetime) -> Stored | None:
        """The backup under this key, or with an empty key the newest of the folder that has a manifest and is not stamped later than `now`, of the
        shelf's server if there is one of it; None when there is none.
        Raises ProbeUnavailable (`no_login`, `stamped_later`, `unseen`, or a code of the store), without anything of a login."""
        ...
