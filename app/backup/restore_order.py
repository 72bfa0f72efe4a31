"""What the pod of a restore is told: which backup, which copy to make of it, and what has to be true of it. It holds no secret value.

Made by the handler, carried in the Job's manifest, read by `app.backup.restore`. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from app.backup.order import Place
from app.domain.database import DatabaseAddress


class Phase(StrEnum):
    """`rehearse` reads all of the backup and changes nothing; `restore` makes the validated copy."""

    REHEARSE = "rehearse"
    RESTORE = "restore"


@dataclass(frozen=True, slots=True)
class RestoreOrder:
    """One restore. `key`, `sha256` and `bytes` are the backup's, as they were approved. `entry` is the database to connect to, `live` the
    name of the one that is replaced, `copy` that of the copy beside it, which gets the comment `mark` once it is
    validated: nobody can guess it, so that nothing that is restored can write it itself. `checks` are queries of the rule that have to answer true; `privileges`: grants are restored too; `seconds` are for
    one check; `superuser`: the login may be one, or be able to do as much."""

    phase: Phase
    key: str
    sha256: str
    bytes: int
    database: DatabaseAddress
    place: Place
    entry: str
    live: str
    copy: str
    mark: str
    checks: tuple[str, ...] = ()
    privileges: bool = True
    seconds: int = 60
    superuser: bool = False

    def to_text(self) -> str:
        """JSON for the variable."""
        data = {**asdict(self), "phase": self.phase.value, "database": self.database.to_json()}
        return json.dumps(data, separators=(",", ":"))

    @classmethod
    def from_text(cls, text: str) -> RestoreOrder:
        """Rebuild from `to_text`."""
        data: Mapping[str, Any] = json.loads(text)
        return cls(
            **{
                **data,
                "phase": Phase(data["phase"]),
                "database": DatabaseAddress.from_json(data["database"]),
                "place": Place(**data["place"]),
                "checks": tuple(data["checks"]),
            }
        )
