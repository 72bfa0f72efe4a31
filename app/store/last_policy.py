"""The texts of the policy that was brought into force last, by whichever replica: for the other replicas, and for a start with files that are refused.

Each replica also says here which files of its own it told last: files that it still has after a restart are no change. Called by the keeper
of the policy. Owns the rows `policy` and `policy of NAME` of `installation`; never reads a file and never judges a text.
The row carries a keyed digest: who can write the database and has not the key of this installation plants no policy here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, delete, insert, select, update

from app.domain.change import DigestKey
from app.store.connection import micros, moment, to_json, to_text
from app.store.schema import installation
from app.store.tx import Tx

_POLICY: Final = "policy"
_OF: Final = "policy of "
MAX_REPLICAS: Final = 100
"""Names of replicas whose last word is kept, the newest: a process that is no replica of a set has a new name at each start."""


@dataclass(frozen=True, slots=True)
class LastPolicy:
    """The `texts` of the files by name, and since when (UTC) they are kept. `braked`: files that were refused since say `mode: observe`."""

    texts: Mapping[str, str]
    at: datetime
    braked: bool = False


@dataclass(frozen=True, slots=True)
class Own:
    """What the files of one replica say: the digest of those that are valid, and whether any of them, refused ones too, says `mode: observe`."""

    files: str
    braked: bool = False


@dataclass(frozen=True, slots=True)
class Before:
    """What the store has at a start: what was in force last, what this replica, by its name, told of its own files, and which others' files
    said `mode: observe`."""

    replica: str = ""
    last: LastPolicy | None = None
    own: Own | None = None
    braked_by: tuple[str, ...] = ()


def before(conn: Connection, key: DigestKey, replica: str, *, several: bool) -> Before:
    """What a start of this replica finds; of others nothing where there are not `several`."""
    others = braked_by(conn, replica) if several else ()
    return Before(replica, find(conn, key), told_by(conn, replica), others)


def told_by(conn: Connection, replica: str) -> Own | None:
    """What this replica told last; None before the first."""
    name = f"{_OF}{replica}"
    return _told(conn.execute(select(installation.c.value).where(installation.c.name == name)).scalar())


def braked_by(conn: Connection, but: str) -> tuple[str, ...]:
    """The other replicas whose own files said `mode: observe` when they told of them last."""
    names = (str(row.name).removeprefix(_OF) for row in _every(conn) if _brakes(row.value))
    return tuple(sorted(name for name in names if name != but))


def _every(conn: Connection) -> Sequence[Any]:
    return conn.execute(
        select(installation).where(installation.c.name.startswith(_OF, autoescape=True))
    ).all()


def _told(text: str | None) -> Own | None:
    try:
        body: Any = to_json(text or "")
        return Own(str(body["files"]), bool(body["braked"]))
    except (ValueError, TypeError, LookupError):
        return None


def _brakes(text: str) -> bool:
    own = _told(text)
    return own is not None and own.braked


def tell(tx: Tx, replica: str, own: Own) -> None:
    """The files of this replica changed to these."""
    name = f"{_OF}{replica}"
    value = to_text({"at": micros(tx.now), "files": own.files, "braked": own.braked})
    tx.conn.execute(delete(installation).where(installation.c.name == name))
    tx.conn.execute(insert(installation).values(name=name, value=value))
    # A brake is never forgotten for the number of names.
    free = [row for row in _every(tx.conn) if not _brakes(row.value)]
    newest = sorted(free, key=lambda row: str(row.value)[:40], reverse=True)
    gone = [row.name for row in newest[MAX_REPLICAS:]]
    if gone:
        tx.conn.execute(delete(installation).where(installation.c.name.in_(gone)))


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
