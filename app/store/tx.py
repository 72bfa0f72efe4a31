"""One write transaction as the store's functions see it, and the vault of pre-images: the values that its records show as hidden.

Never commits itself, and never shows a value of the vault."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from sqlalchemy import Connection, Engine, bindparam, insert, select
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from app.domain.change import DigestKey, FieldChange
from app.domain.errors import BadInput, Refused, StoreUnavailable
from app.domain.events import EventKind
from app.domain.plan import Action, Step
from app.domain.ports import Ids
from app.store.connection import micros, storable, to_json, to_text, translate
from app.store.schema import installation, outbox, pre_images

# Pre-images: the real values of the changes that a record shows as hidden, and the keys of this installation.
#
# Owns the tables `pre_images` and `installation`. A run's row, journal, messages and audit records hold sealed steps;
# what carrying out, reading back and undoing need beyond them lives here alone, encrypted when an encryption key is
# set, and is pruned with the run. Called by `app.store.runs` to keep, by the flow's acting and undoing to fetch.
# Never shows a value.

DIGEST_KEY = "digest_key"
"""Name of the row of `installation` with the key of the digests; the migration makes it."""

_PLAIN, _FERNET = "plain", "fernet"
_NO_RIGHT = "42501"  # SQLSTATE insufficient_privilege
_AT = (
    (pre_images.c.run_id == bindparam("run"))
    & (pre_images.c.step_index == bindparam("step"))
    & (pre_images.c.action_index == bindparam("action"))
)
_FIND_IMAGE = select(pre_images.c.coding, pre_images.c.body).where(_AT)
_KEPT = select(pre_images.c.run_id).where(_AT)
_KEEP = insert(pre_images)


# Built once: several messages come with every decision, before its write.
_KNOWN = select(outbox.c.id).where(outbox.c.id == bindparam("message"))
_PUT = insert(outbox)


class MessageState(StrEnum):
    """Where a row stands."""

    PENDING = "pending"
    SENDING = "sending"
    SENT = "sent"
    FAILED = "failed"
    DIGESTED = "digested"


class PreImageUnreadable(Refused):
    """The values of a planned change are not there, or cannot be decrypted with the keys that are set."""

    code = "pre_image_unreadable"


@dataclass(frozen=True, slots=True)
class VaultKeys:
    """What the settings say: `secret` is the key of the digests, empty for the one kept in the database; `encryption` the
    Fernet keys of pre-images, the first of which encrypts, empty for none."""

    secret: str = field(default="", repr=False)
    encryption: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Vault:
    """Seals steps, and keeps and gives back what sealing hid. `digests` is None for a login that may not read the key."""

    digests: DigestKey | None
    cipher: MultiFernet | None = field(default=None, repr=False)

    @property
    def key(self) -> DigestKey:
        """The key of the digests. Raises StoreUnavailable (`no_digest_key`) for a login that may not read it."""
        if self.digests is None:
            raise StoreUnavailable(
                "this login may not read the key of this installation", code="no_digest_key"
            )
        return self.digests

    def keep(self, conn: Connection, run_id: str, step_index: int, step: Step) -> Step:
        """Keep the values of the step's actions that would be hidden, and return the sealed step. The first to be kept
        for an action stand. A step that comes sealed has nothing to keep."""
        sealed = step.seal(self.key)
        for number, (action, shown) in enumerate(zip(step.actions, sealed.actions, strict=True)):
            at = {"run": run_id, "step": step_index, "action": number}
            if not shown.sealed or action.sealed or conn.execute(_KEPT, at).scalar() is not None:
                continue
            coding, body = self._encode(_text(run_id, action))
            row = {"run_id": run_id, "step_index": step_index, "action_index": number}
            conn.execute(_KEEP, {**row, "coding": coding, "body": body})
        return sealed

    def whole(self, conn: Connection, run_id: str, place: tuple[int, int], action: Action) -> Action:
        """The action with its real values. `place` is the index of its step and its index in the step.

        Raises PreImageUnreadable.
        """
        if not action.sealed:
            return action
        at = {"run": run_id, "step": place[0], "action": place[1]}
        row = conn.execute(_FIND_IMAGE, at).one_or_none()
        if row is None:
            raise PreImageUnreadable("the values of this change are not kept any more", where=run_id)
        kept = to_json(self._decode(row.coding, row.body, run_id))
        changes = tuple(FieldChange(path, before, after) for path, before, after in kept["changes"])
        whole = replace(action, changes=changes, params={**action.params, **kept["params"]}, sealed=False)
        # A row that was exchanged must not be carried out under an approval of another plan.
        if kept["run"] != run_id or whole.seal(self.key).identity() != action.identity():
            raise PreImageUnreadable("the kept values are not those of this change", where=run_id)
        return whole

    def _encode(self, text: str) -> tuple[str, str]:
        if self.cipher is None:
            return _PLAIN, text
        return _FERNET, self.cipher.encrypt(text.encode()).decode()

    def _decode(self, coding: str, body: str, run_id: str) -> str:
        if coding == _PLAIN:
            return body
        if self.cipher is None:
            text = "the values of this change are encrypted and no encryption key is set"
            raise PreImageUnreadable(text, where=run_id)
        try:
            return self.cipher.decrypt(body).decode()
        except InvalidToken:
            text = "the values of this change are encrypted with a key that is not set"
            raise PreImageUnreadable(text, where=run_id) from None


def _text(run_id: str, action: Action) -> str:
    changes = [[c.path, c.before, c.after] for c in action.changes]
    return to_text({"run": run_id, "changes": changes, "params": dict(action.params)})


def open_vault(engine: Engine, keys: VaultKeys) -> Vault:
    """The vault of the database behind `engine`. Raises BadInput for keys that are none, StoreUnavailable."""
    return Vault(_digest_key(engine, keys.secret), _cipher(keys.encryption))


def _digest_key(engine: Engine, secret: str) -> DigestKey | None:
    if secret:
        return DigestKey(secret.encode())
    query = select(installation.c.value).where(installation.c.name == DIGEST_KEY)
    try:
        with engine.connect() as conn:
            found = conn.execute(query).scalar()
    except SQLAlchemyError as error:
        if isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", None) == _NO_RIGHT:
            return None  # whoever only reads needs none
        raise translate(error) from error
    if found is None:
        raise StoreUnavailable("the key of this installation is not in the database", code="no_digest_key")
    return DigestKey(found.encode())


def _cipher(encryption: Sequence[str]) -> MultiFernet | None:
    try:
        ciphers = [Fernet(key) for key in encryption]
    except ValueError:
        text = "expected Fernet keys (32 bytes in URL-safe base64), separated by commas"
        raise BadInput(text, code="bad_setting", where="REMEDIATOR_ENCRYPTION_KEY") from None
    return MultiFernet(ciphers) if ciphers else None


# One write transaction as the store's functions see it.
#
# Made by the writer, handed to every function given to `Store.write`. Collects the audit records of the function; the
# writer appends them to the chain just before the commit, so a function that fails leaves none. Never commits itself.


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

    def put(self, message_id: str, incident_id: str, kind: str, payload: Mapping[str, Any]) -> bool:
        """Queue a message; False when this id was queued before. `incident_id` may be empty (not about one incident)."""
        if self.conn.execute(_KNOWN, {"message": message_id}).scalar() is not None:
            return False
        row = {
            "id": message_id,
            "incident_id": incident_id,
            "kind": kind,
            "payload": to_text(dict(payload)),
            "state": MessageState.PENDING.value,
            "attempts": 0,
            "created_at": self.stamp,
            "channel": "",
            "ts": "",
            "error": "",
            "digested_into": "",
        }
        self.conn.execute(_PUT, row)
        return True
