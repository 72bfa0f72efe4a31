"""One write transaction as the store's functions see it.

Made by the writer, handed to every function given to `Store.write`. Collects the audit records of the function; the
writer appends them to the chain just before the commit, so a function that fails leaves none. Never commits itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection

from app.domain.events import EventKind
from app.domain.ports import Ids
from app.store.encoding import micros, storable, to_text
from app.store.pre_images import Vault


class AuditRecord(NamedTuple):
    """One audit event before it has its place in the chain. `at` in microseconds, `data` as canonical JSON text."""

    at: int
    kind: str
    incident_id: str
    run_id: str
    actor: str
    data: str


@dataclass(slots=True)
class Tx:
    """An open transaction. `now` is the moment of the whole transaction; `conn` must not be kept beyond it.

    A function may run more than once (Postgres undoes a transaction that collided with another), so it must have no
    effect outside of `conn`.
    """

    conn: Connection
    now: datetime
    ids: Ids
    vault: Vault
    records: list[AuditRecord] = field(default_factory=list)
    stamp: int = field(init=False)
    """`now` in microseconds, as the tables hold it."""

    def __post_init__(self) -> None:
        self.stamp = micros(self.now)

    @property
    def postgres(self) -> bool:
        """True where other writers exist and rows must be locked; SQLite has one writer."""
        return self.conn.dialect.name == "postgresql"

    def audit(
        self,
        kind: EventKind,
        *,
        incident_id: str = "",
        run_id: str = "",
        actor: str = "service",
        data: Mapping[str, Any] | None = None,
    ) -> None:
        """Append one event to the audit trail with this transaction. `data` must be JSON and free of secrets.

        Give the incident whenever there is one: a record lives at least as long as its incident.
        """
        text = to_text(data) if data else "{}"
        self.record(AuditRecord(self.stamp, kind.value, incident_id, run_id, storable(actor), text))

    def record(self, record: AuditRecord) -> None:
        """Append one event whose data is canonical JSON text already."""
        self.records.append(record)
