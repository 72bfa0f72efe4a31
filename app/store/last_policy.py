"""The texts of the policy that was brought into force last, by whichever replica: for the other replicas, and for a start with files that are refused.

Called by the keeper of the policy. Owns the row `policy` of `installation`; never reads a file and never judges a text.
The row carries a keyed digest: who can write the database and has not the key of this installation plants no policy here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, insert, select, update

from app.domain.change import DigestKey
from app.store.connection import micros, moment, to_json, to_text
from app.store.schema import installation
from app.store.tx import Tx

_POLICY: Final = "policy"


@dataclass(frozen=True, slots=True)
class LastPolicy:
    """The `texts` of the files by name, and since when (UTC) they are kept. `braked`: files that were refused since say `mode: observe`."""

    texts: Mapping[str, str]
    at: datetime
    braked: bool = False


def keep(tx: Tx, texts: Mapping[str, str], *, braked: bool = False) -> None:
    """These texts are in force, held back to observing when `braked`. The same again change nothing. Raises StoreUnavailable (`no_digest_key`)."""
    found = row(tx.conn)
    known = read(found, tx.vault.key)
    same = known is not None and known.texts == texts
    if same and known is not None and known.braked == braked:
        return
    at = known.at if same and known is not None else tx.now
    body = {"at": micros(at), "texts": dict(texts), "braked": braked}
    value = to_text({**body, "digest": tx.vault.key.digest(body)})
    if found is None:
        tx.conn.execute(insert(installation).values(name=_POLICY, value=value))
    else:
        tx.conn.execute(update(installation).where(installation.c.name == _POLICY).values(value=value))


def find(conn: Connection, key: DigestKey) -> LastPolicy | None:
    """What was kept last; None before the first, and when the row is not as it was written with this key."""
    return read(row(conn), key)


def row(conn: Connection) -> str | None:
    """The row as it is stored, None before the first: where it is the same, it says the same."""
    return conn.execute(select(installation.c.value).where(installation.c.name == _POLICY)).scalar()


def read(text: str | None, key: DigestKey) -> LastPolicy | None:
    """What such a row says; None when there is none, or it is not as it was written with this key."""
    if text is None:
        return None
    try:
        body: Any = to_json(text)
        digest = body.pop("digest")
        known = key.digest(body) == digest
        return LastPolicy(dict(body["texts"]), moment(body["at"]), bool(body["braked"])) if known else None
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError):
        return None
