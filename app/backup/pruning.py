"""After a backup: what is surplus goes, and what killed uploads have left.

Called at the end of every backup. What counts is of the same form and origin by its manifest, and its object is there whole: two servers may share a
folder, and a plain dump replaces no archive. Whatever else bears our kind of name stays and is told. Never removes the one just made nor the
newest one, nor what is not ours by its name and place; what has no manifest counts for nothing and goes after a day.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

from app.backup.bucket import Bucket
from app.backup.failure import BackupFailed
from app.backup.order import Keep
from app.backup.retention import Known, lost, surplus, tables_of
from app.domain.backups import SKEW, is_later

_LEFT_OVER: Final = timedelta(days=2)
"""Longer than any Job of ours may run."""
_UNFINISHED: Final = timedelta(days=1)
"""Between an object's last byte and its manifest lie one read of it and two requests."""
_TOLD_ALWAYS: Final = ("kind", "database", "namespace")
_TOLD_SINCE: Final = ("system", "name_digest", "account")
"""What of a manifest says whose it is; the second ones are not in older manifests, nor where the login may not see them."""


class Kept(Protocol):
    """The part of an order that says where its backups are and how many stay."""

    @property
    def key(self) -> str:
        """The key of the backup that was just made."""
        ...

    @property
    def folder(self) -> str:
        """All backups of the same thing."""
        ...

    @property
    def incomplete_folder(self) -> str:
        """What is not complete."""
        ...

    @property
    def keep(self) -> Keep:
        """How many are kept."""
        ...


@dataclass
class _Sorted:
    """The backups of a folder: those that count, and how many do not, by reason. `before` is the newest that counts and is older than the one
    just made, with its manifest; `ahead` by how much the stamp of that one is later than the clock here."""

    known: dict[str, Known] = field(default_factory=dict)
    before: tuple[datetime, Mapping[str, Any]] | None = None
    foreign: int = 0
    broken: int = 0
    later: int = 0
    ahead: timedelta = timedelta(0)

    @property
    def words(self) -> list[str]:
        """What stays although nobody counts with it."""
        told = {
            "of another origin left alone": self.foreign,
            "without their whole object, which count for nothing": self.broken,
            "stamped later than now, which count for nothing yet": self.later,
        }
        return [f"{number} {what}" for what, number in told.items() if number]


def prune(bucket: Bucket, order: Kept, now: datetime, own: Mapping[str, Any]) -> str:
    """Remove what is surplus; `own` is the manifest of the backup just made. Where rows are gone since the one before, nothing is removed, as
    the older ones may be wanted soon. That it could not be done does not make the backup a bad one, and is told."""
    try:
        found = _Sorted() if order.keep.everything else _sorted(bucket, order, now, own)
        if fewer := lost(found.before[1], own) if found.before else "":
            words = f"fewer rows than in the backup before: {fewer}. Older ones were left alone for that"
            return "; ".join([words, *found.words])
        if found.ahead > SKEW:
            minutes = round(found.ahead.total_seconds() / 60)
            words = f"its stamp is {minutes} minutes ahead of the clock here, so that nobody knows how old the others are: they were left alone"
            return "; ".join([words, *found.words])
        too_many = surplus(found.known, order.keep, order.key)
        for key in too_many:
            bucket.remove(key)
        now -= max(-found.ahead, timedelta(0))  # of two clocks the one that is ahead is not believed
        unfinished = bucket.unfinished(order.key, order.folder, now - _UNFINISHED)
        for key in unfinished:
            bucket.discard(key)
        bucket.sweep(order.incomplete_folder, now - _LEFT_OVER)
    except BackupFailed as error:
        return f"older ones could not be removed: {error.message}"
    told = [f"{len(too_many)} older removed"] if too_many else []
    if unfinished:
        told.append(f"{len(unfinished)} without a manifest removed, which never counted")
    return ", ".join([*told, *found.words])


def _sorted(bucket: Bucket, order: Kept, now: datetime, own: Mapping[str, Any]) -> _Sorted:
    found, form, there = _Sorted(), _form(order.key), bucket.backups(order.folder)
    made = there.get(order.key)
    found.ahead = made.at - now if made else found.ahead
    # The stamps are of the service's clock, and either may be ahead.
    latest = min(now, made.at + _LEFT_OVER) if made else now
    for key, listed in there.items():
        if _form(key) != form:
            continue
        if key == order.key:
            found.known[key] = Known(listed.at, tables_of(own), own.get("restored") is True)
        elif listed.bytes is None:
            found.broken += 1
        elif is_later(listed.at, latest):
            found.later += 1
        elif (told := _manifest(bucket, key)) is None or not _of_one_origin(own, told):
            found.foreign += 1
        elif told.get("bytes") != listed.bytes:
            found.broken += 1
        else:
            found.known[key] = Known(listed.at, tables_of(told), told.get("restored") is True)
            older = made is None or listed.at < made.at
            if older and (found.before is None or found.before[0] < listed.at):
                found.before = (listed.at, told)
    return found


def _form(key: str) -> str:
    return key.rpartition("/")[2].partition(".")[2]


def _manifest(bucket: Bucket, key: str) -> Mapping[str, Any] | None:
    """None for one that is none of ours, or that another run has removed meanwhile."""
    try:
        return bucket.manifest(key)
    except BackupFailed as error:
        if error.code not in ("altered", "store_missing"):
            raise
        return None


def _of_one_origin(own: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whatever both tell is the same. A doubt leaves one too many."""
    if any(own.get(name) != other.get(name) for name in _TOLD_ALWAYS):
        return False
    return all(own[name] == other[name] for name in _TOLD_SINCE if own.get(name) and other.get(name))
