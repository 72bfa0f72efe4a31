"""The chain of the audit trail: how a record's hash follows from the one before it, with or without a key.

Without a key a hash is SHA-256, which shows every change that did not recompute all later hashes. With a key it is
HMAC-SHA256, which nobody without the key can recompute; such a hash begins with the first digits of the key's own hash, so
that a trail may go over to a new key. A trail that is keyed once stays keyed: `verify` takes a plain record after a keyed one
for tampering. Used by `audit`, `trail` and `retention`. Never touches the database.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import Self

from app.domain.errors import BadInput
from app.store.encoding import plain_text
from app.store.tx import AuditRecord

GENESIS = "0" * 64
"""The hash before the first record."""

_SHORTEST_KEY = 32
_ID_DIGITS = 8


@dataclass(frozen=True, slots=True)
class AuditKeys:
    """The keys of the trail by their ids, none for a plain one. New records are made with the one named `current`."""

    current: str = ""
    _secrets: dict[str, bytes] = field(default_factory=dict, repr=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Comma-separated keys: the first for new records, all of them to verify. Raises BadInput for a short one."""
        secrets: dict[str, bytes] = {}
        for word in (word.strip() for word in text.split(",")):
            if len(word) < _SHORTEST_KEY:
                raise BadInput(
                    f"a key of at least {_SHORTEST_KEY} characters is expected, several with commas between",
                    code="bad_setting",
                    where="REMEDIATOR_AUDIT_KEY",
                )
            secret = word.encode()
            secrets[hashlib.sha256(b"audit key " + secret).hexdigest()[:_ID_DIGITS]] = secret
        return cls(next(iter(secrets)), secrets)

    def link(self, before: str, seq: int, record: AuditRecord, key: str | None = None) -> str:
        """The hash of a record over the hash before it and the canonical JSON array of its fields, hex.

        `data` goes in as its canonical text, so that anyone with the key can recompute it from an export. `key` None: the
        current one. Raises KeyError when the key is not here.
        """
        key = self.current if key is None else key
        text = (before + plain_text([seq, *record])).encode()
        if not key:
            return hashlib.sha256(text).hexdigest()
        return f"{key}:{hmac.new(self._secrets[key], text, hashlib.sha256).hexdigest()}"

    def has(self, key: str) -> bool:
        """A record made with this key can be verified; a plain one always."""
        return not key or key in self._secrets


NO_KEYS = AuditKeys()


def key_of(stored: str) -> str:
    """The id of the key a stored hash was made with, empty for a plain one."""
    return stored.rpartition(":")[0]


@dataclass(frozen=True, slots=True)
class Head:
    """The newest record of a trail: written down elsewhere, it shows later that nothing before it was cut or rewritten."""

    seq: int
    hash: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """`SEQ:HASH` as `audit head` prints it. Raises BadInput."""
        seq, _, digest = text.strip().partition(":")
        if not seq.isascii() or not seq.isdigit() or not digest:
            raise BadInput("expected SEQ:HASH as `audit head` prints it", code="bad_head", where="--head")
        return cls(int(seq), digest)

    def __str__(self) -> str:
        """As `parse` reads it."""
        return f"{self.seq}:{self.hash}"
