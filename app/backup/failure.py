"""Why a backup failed, in words of ours: no text of libpq or of the object store is passed on, for both repeat logins."""

from __future__ import annotations

from app.domain.errors import RemediatorError


class BackupFailed(RemediatorError):
    """Nothing was published and nothing was removed."""

    code = "backup_failed"


class MayPass(BackupFailed):
    """A failure of the store that may be over by the next try."""
