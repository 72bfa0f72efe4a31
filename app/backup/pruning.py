"""After a backup: what is surplus goes, and what killed uploads have left.

Called at the end of every backup. Never removes the newest one, nor what is not ours by its name and place; what has no manifest counts for
nothing and goes after a day.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final, Protocol

from app.backup.bucket import Bucket
from app.backup.failure import BackupFailed
from app.backup.order import Keep
from app.backup.retention import surplus

_LEFT_OVER: Final = timedelta(days=2)
"""Longer than any Job of ours may run."""
_UNFINISHED: Final = timedelta(days=1)
"""Between an object's last byte and its manifest lie two requests."""


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


def prune(bucket: Bucket, order: Kept, now: datetime) -> str:
    """Remove what is surplus. That it could not be done does not make the backup a bad one, and is told."""
    try:
        too_many = surplus(bucket.backups(order.folder), order.keep)
        for key in too_many:
            bucket.remove(key)
        unfinished = bucket.unfinished(order.key, order.folder, now - _UNFINISHED)
        for key in unfinished:
            bucket.discard(key)
        bucket.sweep(order.incomplete_folder, now - _LEFT_OVER)
    except BackupFailed as error:
        return f"older ones could not be removed: {error.message}"
    told = [f"{len(too_many)} older removed"] if too_many else []
    if unfinished:
        told.append(f"{len(unfinished)} without a manifest removed, which never counted")
    return ", ".join(told)
