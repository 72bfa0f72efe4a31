"""What the pod of a backup is told: which database, which form, where to, how many to keep. It holds no secret value.

Made by the handler, carried in the Job's manifest, read by `app.backup.upload`. Pure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from app.domain.database import DatabaseAddress
from app.domain.json import JsonValue, digest

ORDER: Final = "REMEDIATOR_BACKUP"
"""The variable that holds the order, as JSON."""
ASKED_BY: Final = "REMEDIATOR_ACTION"
"""The variable that holds the id of our action, which the audit trail knows."""
LOGIN, LAST_WORDS = "BACKUP_LOGIN", "BACKUP_LAST_WORDS"
"""The variables that name the folder of the login, and the file of the termination message."""
URL, USER, PASSWORD, AUTHORITY = "LOGIN_URL", "LOGIN_USER", "LOGIN_PASSWORD", "LOGIN_AUTHORITY"
"""The variables that the login comes in, each from a key of the existing Secret."""
STORE_KEYS: Final = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "GOOGLE_SERVICE_ACCOUNT_KEY",
    "AZURE_STORAGE_ACCOUNT_NAME",
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_SAS_KEY",
)
"""Keys of the Secret with the store's login; those that are there are given to the pod under the same names."""
KIND: Final = "alert-remediator/database-backup"
"""How a manifest says what it is."""
SAFETY: Final = "-safety"
"""The end of the folder of a database's safety backups; no database's own folder has a `-` in its name."""
_STAMP: Final = "%Y%m%dT%H%M%SZ"
_NAME: Final = re.compile(r"(?P<database>.+)-(?P<stamp>\d{8}T\d{6}Z)-(?P<id>[0-9a-f]{6})\Z")
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_]+")


class Form(StrEnum):
    """How the dump is written: pg_dump's custom format packed with zstd, or SQL compressed with gzip."""

    CUSTOM = "custom"
    PLAIN = "plain"

    @property
    def suffix(self) -> str:
        """The end of the object's name."""
        return ".dump.zst" if self is Form.CUSTOM else ".sql.gz"


@dataclass(frozen=True, slots=True)
class Keep:
    """How many backups are kept: one each of so many days, weeks and months, and every one of the last `recent` hours. The first three 0
    keep everything."""

    daily: int = 7
    weekly: int = 4
    monthly: int = 12
    recent: int = 48

    @property
    def everything(self) -> bool:
        """Nothing is ever surplus."""
        return not any((self.daily, self.weekly, self.monthly))


@dataclass(frozen=True, slots=True)
class Place:
    """Where backups go: `url` of the bucket and folder (s3, gs, az, file); `endpoint` and `region` of a store of one's own."""

    url: str
    endpoint: str = ""
    region: str = ""


@dataclass(frozen=True, slots=True)
class Order:
    """One backup. `name` is of this backup alone; `scratch`: restore it into a database of its own before it counts as done.
    `safety`: it is of the state before a restore, which nobody wants back unasked: it has a folder of its own."""

    name: str
    database: DatabaseAddress
    form: Form
    place: Place
    keep: Keep
    scratch: bool = False
    safety: bool = False

    @property
    def folder(self) -> str:
        """The folder of all backups of this database, under the place. A database of the same name on another server may share it: the
        manifests tell them apart. Safety backups are beside it, so that they count neither as the newest nor as one of those that are kept."""
        return f"{self.database.namespace}/{database_of(self.name)}{SAFETY if self.safety else ''}"

    @property
    def key(self) -> str:
        """The final key, by the day of the backup."""
        return f"{self.folder}/{stamp_of(self.name):%Y/%m/%d}/{self.name}{self.form.suffix}"

    @property
    def incomplete(self) -> str:
        """The key under which it is until it is complete and verified."""
        return f"{self.incomplete_folder}/{self.name}{self.form.suffix}"

    @property
    def incomplete_folder(self) -> str:
        """The folder of those."""
        return f"{self.folder}/incomplete"

    def to_text(self) -> str:
        """JSON for the variable."""
        data: dict[str, JsonValue] = {
            "name": self.name,
            "database": self.database.to_json(),
            "form": self.form.value,
            "place": {f.name: getattr(self.place, f.name) for f in fields(self.place)},
            "keep": {f.name: getattr(self.keep, f.name) for f in fields(self.keep)},
            "scratch": self.scratch,
            "safety": self.safety,
        }
        return json.dumps(data, separators=(",", ":"))

    @classmethod
    def from_text(cls, text: str) -> Order:
        """Rebuild from `to_text`."""
        data: Mapping[str, Any] = json.loads(text)
        return cls(
            data["name"],
            DatabaseAddress.from_json(data["database"]),
            Form(data["form"]),
            Place(**data["place"]),
            Keep(**data["keep"]),
            data["scratch"],
            data.get("safety", False),
        )


def new_name(database: str, at: datetime, of: str) -> str:
    """The name of a backup: database, moment (UTC), and six digits that tell backups of one second apart, from the text `of`."""
    return f"{safe_name(database)}-{at.astimezone(UTC).strftime(_STAMP)}-{digest([of, at.isoformat()])[:6]}"


def safe_name(database: str) -> str:
    """The database's part of a backup's name."""
    safe = _UNSAFE.sub("_", database)[:56]
    if safe != database:  # a name of which something had to go must not meet another one in a folder
        safe += f"_{digest([database])[:6]}"
    return safe


def database_of(name: str) -> str:
    """The part that `safe_name` gave, of a backup's name. Raises ValueError for another name."""
    return _read(name)["database"]


def folder_of(namespace: str, database: str) -> str:
    """The folder of all backups of a database, under the place."""
    return f"{namespace}/{safe_name(database)}"


def stamp_of(name: str) -> datetime:
    """The moment in a backup's name. Raises ValueError for another name."""
    return datetime.strptime(_read(name)["stamp"], _STAMP).replace(tzinfo=UTC)


def _read(name: str) -> re.Match[str]:
    found = _NAME.match(name)
    if found is None:
        raise ValueError(f"no backup's name: {name!r}")
    return found
