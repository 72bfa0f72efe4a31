"""What the pod of a configuration backup is told. It holds no secret value: recipients are public keys.

Made by the handler, carried in the Job's manifest, read by `app.backup.configuration.upload`. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from app.backup.order import Keep, Place, stamp_of

ORDER: Final = "REMEDIATOR_CONFIGURATION_BACKUP"
"""The variable that holds the order, as JSON."""
NAMED: Final = "cluster_configuration"
RECIPIENT: Final = r"^age1[02-9ac-hj-np-z]{58}$"
"""The form of a recipient: a public key of age."""
SUFFIX: Final = ".jsonl.gz.age"


@dataclass(frozen=True, slots=True)
class Order:
    """One backup of a namespace. `secrets`: with Secrets; `recipients`: who can read it."""

    name: str
    namespace: str
    place: Place
    keep: Keep
    recipients: tuple[str, ...]
    secrets: bool = False

    @property
    def folder(self) -> str:
        """The folder of all backups of this namespace's configuration; no database's has a hyphen."""
        return f"{self.namespace}/cluster-configuration"

    @property
    def key(self) -> str:
        """The final key, by the day of the backup."""
        return f"{self.folder}/{stamp_of(self.name):%Y/%m/%d}/{self.name}{SUFFIX}"

    @property
    def incomplete_folder(self) -> str:
        """The folder of what is not complete and verified yet."""
        return f"{self.folder}/incomplete"

    @property
    def incomplete(self) -> str:
        """The key until then."""
        return f"{self.incomplete_folder}/{self.name}{SUFFIX}"

    def to_text(self) -> str:
        """JSON for the variable."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_text(cls, text: str) -> Order:
        """Rebuild from `to_text`."""
        data: Mapping[str, Any] = json.loads(text)
        return cls(
            data["name"],
            data["namespace"],
            Place(**data["place"]),
            Keep(**data["keep"]),
            tuple(data["recipients"]),
            data["secrets"],
        )
